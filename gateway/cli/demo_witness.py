"""What the demo believes: only what was seen at the simulated meters themselves."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

Json = Mapping[str, object]

MWS_PER_WH = 3_600_000
SLACK_US = 1_500_000
"""Between a contact's move and the times that the gateway wrote down for its command: settling and reading back lie between."""


MOST_LOOKS = 600
"""Looks kept of each meter: five minutes, far longer than a command or a reading is under way."""

JUDGE_AFTER_US = 3_000_000
"""A reading is held against the meter when looks from before and after it are there."""

MOST_FALSE = 20
"""False readings kept in words; one is enough to fail."""


@dataclass(slots=True)
class Seen:
    """One meter as it was looked at. energies: (unix us, mWs) of every look. dark: looks at which it was open without power."""

    energies: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=MOST_LOOKS))
    dark: deque[int] = field(default_factory=lambda: deque(maxlen=MOST_LOOKS))
    moves: dict[int, tuple[str, int]] = field(default_factory=dict)
    truth: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge of the gateway's ledger: meter, billed registers in Wh, amount in currency."""

    meter: str
    from_wh: int
    to_wh: int
    amount: Decimal


class Witness:
    """Collects looks at the meters and holds what the gateway says against them."""

    def __init__(self) -> None:
        self.meters: dict[str, Seen] = {}
        self.charges: dict[int, Charge] = {}
        self.true_readings = 0
        self.false_readings: list[str] = []
        self.heard: dict[str, str] = {}
        self._unjudged: deque[tuple[str, str, int]] = deque()

    def look(self, truths: Sequence[Json]) -> None:
        """One look at every meter, from the simulator's handle."""
        for truth in truths:
            seen = self.meters.setdefault(str(truth["id"]), Seen())
            at_us, energy = _int(truth["at_us"]), _int(truth["energy_mws"])
            seen.energies.append((at_us, energy))
            seen.truth = truth
            if truth["contact"] == "open" and truth["power_w"] == 0:
                seen.dark.append(at_us)
            moves = truth["contact_moves"]
            assert isinstance(moves, list)
            for move in moves:
                seen.moves[_int(move["at_us"])] = (str(move["contact"]), _int(move["energy_mws"]))
        self._judge(max(_int(truth["at_us"]) for truth in truths))

    def hear_reading(self, meter: str, answered: str, kwh: str) -> None:
        """What the gateway says that a meter answered, in the order in which it did."""
        if answered > self.heard.get(meter, ""):
            self.heard[meter] = answered
            self._unjudged.append((meter, answered, int(Decimal(kwh) * 1000)))

    def _judge(self, now_us: int) -> None:
        """Hold readings against what the meter truly had before and after them."""
        while self._unjudged and _us(self._unjudged[0][1]) <= now_us - JUDGE_AFTER_US:
            meter, answered, wh = self._unjudged.popleft()
            if self._holds(meter, answered, wh):
                self.true_readings += 1
            elif len(self.false_readings) < MOST_FALSE:
                self.false_readings.append(f"{meter} at {answered}: {wh} Wh")

    def _holds(self, meter: str, answered: str, wh: int) -> bool:
        """A register is truncated to 10 Wh, and was taken up to a second before its last byte arrived."""
        seen, at_us = self.meters.get(meter), _us(answered)
        if seen is None:
            return False
        before = [mws for us, mws in seen.energies if us <= at_us - 1_000_000]
        after = [mws for us, mws in seen.energies if us >= at_us]
        lowest = before[-1] // MWS_PER_WH - 10 if before else 0
        highest = after[0] // MWS_PER_WH if after else seen.energies[-1][1] // MWS_PER_WH + 1000
        return lowest <= wh <= highest

    def cut(self, meter: str, command: Json) -> bool:
        """Whether a verified cut was real: the contact opened in its time, no power flowed, and the energy stood still."""
        seen = self.meters.get(meter)
        move_us = self._moved(meter, "open", command)
        if seen is None or move_us is None:
            return False
        end_us = min((us for us, (contact, _) in seen.moves.items() if contact == "closed" and us > move_us), default=None)
        if end_us is not None and seen.moves[end_us][1] != seen.moves[move_us][1]:
            return False
        return any(move_us <= us and (end_us is None or us <= end_us) for us in seen.dark)

    def restored(self, meter: str, command: Json) -> bool:
        """Whether a verified restore was real: the contact closed in its time."""
        return self._moved(meter, "closed", command) is not None

    def _moved(self, meter: str, contact: str, command: Json) -> int | None:
        seen = self.meters.get(meter, Seen())
        first, last = _us(str(command["created"])) - SLACK_US, _us(str(command["changed"])) + SLACK_US
        return max((us for us, (to, _) in seen.moves.items() if to == contact and first <= us <= last), default=None)

    def hear_charge(self, number: int, ref: Mapping[str, str], amount: Decimal) -> None:
        """A charge of the gateway's ledger."""
        start, end = ref["energy_import"].split("-")
        self.charges.setdefault(number, Charge(ref["meter"], int(start), int(end), amount))

    def false_charges(self) -> list[str]:
        """Charges for energy that the meter had not drawn."""
        return [
            f"{charge.meter} was billed to {charge.to_wh} Wh"
            for charge in self.charges.values()
            if charge.meter not in self.meters or charge.to_wh > self.meters[charge.meter].energies[-1][1] // MWS_PER_WH
        ]


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _us(moment: str) -> int:
    return int(datetime.fromisoformat(moment).timestamp() * 1_000_000)
