"""Where the central system's log goes."""

from __future__ import annotations

from gateway.adapters import quiet_log


def log_to_stderr(level: str = "info") -> None:
    """Logs of this process from `level` on: one JSON object a line, on stderr, few of each kind a minute."""
    quiet_log.configure(level)
