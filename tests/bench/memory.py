"""How much memory this process has."""

from __future__ import annotations

from pathlib import Path


def resident_mb() -> float:
    """Resident now, in MB of 2^20 bytes."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 1024
