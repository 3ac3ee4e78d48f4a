"""The uplink's share of the store in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class MemoryUplink:
    """`uplink_ports.UplinkTx` on dictionaries."""
