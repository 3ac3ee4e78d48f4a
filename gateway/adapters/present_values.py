"""What a meter is read of the present moment, by its profile."""

from __future__ import annotations

from protocols.dlt645.identifiers import describe
from protocols.profiles import MeterProfile


def read_now(device: MeterProfile) -> frozenset[str]:
    """The quantities of its instantaneous values."""
    if device.dlt645 is None:
        return frozenset(device.quantities)
    items = (describe(di) for di in device.dlt645.instant)
    return frozenset(field.quantity for item in items if item is not None for field in item.fields)
