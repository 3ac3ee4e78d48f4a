"""Plain parameters of a meter (04): what each is when it leaves the factory, and what has been written since."""

from __future__ import annotations

from functools import lru_cache

from protocols.bcd import decode_bcd
from protocols.dlt645.identifiers import write_fields
from protocols.dlt645.values import Value

_UNSET_MINUTE = "0000000000"
_FACTORY: dict[str, Value] = {
    "04000103": 15, "04000104": 1, "04000105": 80,
    "04000106": _UNSET_MINUTE, "04000107": _UNSET_MINUTE, "04000108": _UNSET_MINUTE, "04000109": _UNSET_MINUTE,
    "04000206": 21, "04000208": 0,
    "04000301": 5, "04000302": 5, "04000303": 2, "04000304": 4, "04000305": 5, "04000306": 1, "04000307": 1,
    "04000403": "WATTGATE-SIM", "04000404": "220V", "04000405": "5A", "04000406": "60A", "04000407": "1.0", "04000408": "2.0",
    "04000409": 1200, "0400040A": 1200, "0400040B": "SIMULATED", "0400040C": "2026-01-01", "0400040D": "DL/T645-2007",
    "04000508": 0, "04000601": 0x05, "04000602": 0x41, "04000603": 0x14,
    **{f"0400070{n}": 0x08 for n in range(1, 6)},
    "04000801": 0x7F, "04000802": 1, "04000901": 0x0B, "04000902": 0xFF, "04000A01": "01010000",
    **{f"04000A0{n}": 15 for n in range(2, 8)},
    "04000B01": "0100", "04000B02": "9999", "04000B03": "9999",
    **{f"04000D{n:02X}": 0 for n in range(1, 13)},
    "04000E01": "13.2000", "04000E02": "13.2000", "04000E03": "264.0", "04000E04": "176.0",
    **{f"04000F0{n}": 0 for n in range(1, 5)},
    **{f"0400100{n}": 0 for n in range(1, 7)},
    "04001101": 0, "04001104": 0, "04001201": "2601010000", "04001202": 60, "04001203": "0000", "04001301": 31,
    "04001401": 0, "04001402": "0", "04001403": 0, "04001404": 30, "04001405": 30,
    "04040101": "00010000", "04040102": "04000102", "04040201": "00010000", "04040202": "04000401",
    "04800001": "wattgate simulator", "04800002": "none, simulated", "04800003": "wattgate", "04800004": "0000000000000000",
}  # fmt: skip
"""DI -> value; only what is a value by itself. Tables, clock, money and status have their own places."""
_BLOCKS: dict[str, tuple[Value, ...]] = {"04001501": (0,)}


@lru_cache(maxsize=1)
def factory() -> dict[str, bytes]:
    """The same for every meter, in wire order."""
    singles = {di: write_fields(di, [value]) for di, value in _FACTORY.items()}
    return singles | {di: write_fields(di, list(values)) for di, values in _BLOCKS.items()}


class Parameters:
    """Values by identifier, in wire order. own: what differs from the factory's in this meter."""

    def __init__(self, own: dict[str, bytes]) -> None:
        self._own = own
        self.written: dict[str, bytes] = {}

    def get(self, di: str) -> bytes | None:
        """None: not kept here."""
        value = self.written.get(di) or self._own.get(di)
        return factory().get(di) if value is None else value

    def set(self, di: str, data: bytes) -> None:
        """Keep another value."""
        self.written[di] = data

    def number(self, di: str) -> int:
        """A BCD number without its decimal point; 0 for one that is none."""
        return decode_bcd(self.get(di) or b"\0") or 0

    def word(self, di: str) -> int:
        """A word of bits."""
        return int.from_bytes(self.get(di) or b"\0", "little")

    def save(self) -> dict[str, str]:
        """What has been written, for the history file."""
        return {di: data.hex() for di, data in self.written.items()}

    def restore(self, saved: dict[str, str]) -> None:
        """Continue from what was written."""
        self.written = {di: bytes.fromhex(data) for di, data in saved.items()}
