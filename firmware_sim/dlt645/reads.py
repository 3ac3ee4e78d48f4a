"""What each family of identifiers reads out of one meter (11)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from firmware_sim.dlt645 import event_reads, instants, parameter_io, readings
from firmware_sim.dlt645.readings import ALL, Reading
from protocols.bcd import encode_bcd
from protocols.dlt645.items import Item
from protocols.dlt645.load_profile import GROUPS, CurveItem

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

CREDIT, CONSUMPTION = 0x90, (0x0B, 0x0C, 0x0D)
UNLISTED = frozenset({"02810001"})
"""Read although no document in our hands says how its parts are divided; so are the blocks of freezes (05 kk FF nn)."""
_CURVES_FROM_TOTAL = (3, 4, 5)
DEFAULT_RECORDS = 1


def read(device: Device, di: str, count: int | None = None, when: datetime | None = None) -> bytes | None:
    """The payload of 8 hex digits; count and when: for load records alone. None: no such data."""
    item = device.options.profile.describe(di)
    if item is None:
        unlisted = di in UNLISTED or (di.startswith("05") and di[4:6] == "FF")
        if not unlisted or count is not None:
            return None
        item = Item(di, ())
    if count is not None and not di.startswith("06"):
        return None
    di3, di2, di1, di0 = bytes.fromhex(di)
    families: dict[int, Callable[[], bytes | None]] = {
        0x00: lambda: _energy(device, di, di2, di1, di0),
        0x01: lambda: _periods(device, di0, lambda reading: readings.peaks(reading, di2, di1)),
        0x02: lambda: _instant(device, di, item),
        0x03: lambda: event_reads.read(device, di, item),
        0x04: lambda: parameter_io.read(device, di),
        0x05: lambda: device.freezes.read(di2, di1, di0),
        0x06: lambda: _load(device, item, (di2, di1, di0), DEFAULT_RECORDS if count is None else count, when),
        0x1D: lambda: event_reads.read(device, di, item),
        0x1E: lambda: event_reads.read(device, di, item),
    }
    return families[di3]() if di3 in families else None


def _energy(device: Device, di: str, di2: int, di1: int, di0: int) -> bytes | None:
    if di2 == CREDIT:
        return _credit(device, di)
    if di2 in CONSUMPTION:
        used = device.settlement.used(di2, di0) if not di1 else None
        return None if used is None else encode_bcd(used % 10**8, 4)
    words = device.words
    return _periods(device, di0, lambda reading: readings.energies(reading, words, di2, di1))


def _periods(device: Device, period: int, of: Callable[[Reading], bytes | None]) -> bytes | None:
    return readings.of_periods(device.reading(), list(device.settlement.settled), period, of)


def _credit(device: Device, di: str) -> bytes | None:
    """What remains and what is overdrawn, of money or of energy, as the wallet holds."""
    places = {"00900100": 0, "00900101": 1} if device.in_kwh else {"00900200": 0, "00900201": 1}
    if device.wallet is None or di not in places:
        return None
    return encode_bcd(device.wallet.shown_fen[places[di]], 4)


def _instant(device: Device, di: str, item: Item) -> bytes | None:
    if di.startswith(("0280", "0281")):
        data = instants.single(device, di)
        length = sum(field.length for field in item.fields) or None
        return data if data is None or length is None else _fitted(data, length)
    _, di2, di1, di0 = bytes.fromhex(di)
    return instants.read(device, di2, di1, di0)


def _fitted(data: bytes, length: int) -> bytes:
    """Some makers give a value with fewer bytes, without its last digits, or with more."""
    return data[len(data) - length :] if length < len(data) else data.ljust(length, b"\0")


def _load(device: Device, item: Item, place: tuple[int, int, int], count: int, when: datetime | None) -> bytes | None:
    di2, di1, di0 = place
    if not isinstance(item, CurveItem):
        return device.curves.blocks(di2, di0, count, when)
    group, places = _curve_places(di1, di0)
    return device.curves.curve(item, group, places, count, when)


def _curve_places(di1: int, di0: int) -> tuple[int, tuple[int, ...]]:
    """(class of the load record, which of its values) of curve 0610 DI1 DI0."""
    size = {1: 3, 2: 3, 3: 4, 4: 4, 5: 4, 6: 4, 7: 4, 8: 2}[di1]
    group = {1: 0, 2: 0, 3: 1, 4: 1, 5: 2, 6: 3, 7: 4, 8: 5}[di1]
    offset = {2: 3, 4: 4}.get(di1, 0)
    assert offset + size <= len(GROUPS[group])
    if di0 == ALL:
        return group, tuple(range(offset, offset + size))
    return group, (offset + (di0 if di1 in _CURVES_FROM_TOTAL else di0 - 1),)
