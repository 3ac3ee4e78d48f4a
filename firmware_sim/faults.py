"""What goes wrong at one meter on demand: each fault is on until it is cleared, or for a number of times."""

from __future__ import annotations

from dataclasses import dataclass

OF_EXCHANGES = ("silent", "lost_answer", "late_answer", "nak_write", "half_write", "bad_checksum")
OF_PARTS = ("welded", "stuck", "jump", "rollover", "no_feedback", "bypass", "reverse")
KINDS = ("welded", "silent", "lost_answer", "late_answer", "nak_write", "half_write", "bad_checksum", *OF_PARTS[1:])
DEFAULT_LATE_US = 900_000  # beyond the 500 ms in which a meter has to answer
MAX_LATE_US = 60_000_000


@dataclass(slots=True)
class _Fault:
    left: int | None
    commands_only: bool
    delay_us: int


class Faults:
    """The faults of one meter.

    welded: the contact stays whatever is ordered. silent: hears nothing. lost_answer: acts, and the answer never leaves.
    late_answer: the answer leaves `delay_us` later than it should. nak_write: writes, and says no. half_write: writes the first
    half of a value, and says no. bad_checksum: the answer's last byte but one is wrong. The others are of the meter's parts: stuck,
    jump, rollover (registers), no_feedback (status bit), bypass, reverse (wiring).
    """

    def __init__(self) -> None:
        self._active: dict[str, _Fault] = {}

    def set(self, kind: str, count: int | None = None, commands_only: bool = False, delay_us: int = DEFAULT_LATE_US) -> None:
        """Switch a fault on, for `count` exchanges or until cleared; `commands_only` leaves reads alone."""
        self._active[kind] = _Fault(count, commands_only, delay_us)

    def clear(self, kind: str) -> None:
        """Switch a fault off; one that is not on is fine."""
        self._active.pop(kind, None)

    @property
    def active(self) -> list[str]:
        """The kinds that are on."""
        return sorted(self._active)

    @property
    def welded(self) -> bool:
        """The contact does not move."""
        return "welded" in self._active

    def strikes(self, kind: str, command: bool) -> int | None:
        """Use this fault once: its delay in us when it applies to this exchange, else None."""
        fault = self._active.get(kind)
        if fault is None or (fault.commands_only and not command):
            return None
        if fault.left is not None:
            fault.left -= 1
            if fault.left <= 0:
                del self._active[kind]
        return fault.delay_us
