"""What the use cases need of a store for the uplink: part of `ports.Tx`."""

from __future__ import annotations

from typing import Protocol


class UplinkTx(Protocol):
    """Keys and signed orders within one transaction."""
