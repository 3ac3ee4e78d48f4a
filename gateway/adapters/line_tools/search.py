"""Finds the meters of a shared line that nobody has written down (`wattgate scan`).

A meter may be read by an abbreviated address: its low pairs, and AA for all others (dlt645.md 2). Who asks AA x 6 is answered by
everybody at once. One clean answer is one meter; bytes that are no frame are several who talk into each other, and the question
is asked again for each of the hundred values of the next pair. Reading changes nothing in any meter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from gateway.adapters.line_tools.probe import FIRST_BYTE_MS, Heard, Probe, one_answer
from protocols.bcd import decode_digits
from protocols.dlt645 import codes
from protocols.dlt645.codes import dialect_of
from protocols.dlt645.frames import ANY, BROADCAST, Dialect, Frame, covers
from protocols.dlt645.master import Read, ReadAddress

PAIRS = 6
FIRST_LOOKS = 3
"""Asking everybody is repeated so often before "one" or "nobody" is believed: an answer can be lost, two can coincide."""

MOST_QUESTIONS = 4_000
"""Three quarters of an hour at 0.7 s a question: forty collisions of a hundred questions each."""

ADDRESS, ENERGY = "04000401", {Dialect.V2007: "00010000", Dialect.V1997: "9010"}
_ASKED = {Dialect.V2007: ADDRESS, Dialect.V1997: ENERGY[Dialect.V1997]}
"""What is asked of a pattern. Some meters answer AA with AA in the address field; in 2007 the payload then tells who it was."""

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Found:
    """A meter that answered. delay_ms: from the question to its answer; confirmed: it also answered to its own address."""

    address: str
    dialect: Dialect
    delay_ms: int | None
    confirmed: bool


@dataclass(slots=True)
class Result:
    """What a search of one line at one setting gave.

    unresolved: low pairs (all six: a whole address) under which more answers than could be told apart: twins, or noise.
    """

    found: list[Found] = field(default_factory=list)
    unresolved: list[str] = field(default_factory=list)
    questions: int = 0
    complete: bool = True

    @property
    def anything(self) -> bool:
        """Whether anybody was heard at all."""
        return bool(self.found or self.unresolved)


@dataclass(frozen=True, slots=True)
class _Look:
    addresses: frozenset[str]
    collided: bool


class Search:
    """One search over an open probe. tell: what is going on, for people. thorough: ask all endings where AA x 6 is silent.

    patience_ms: waited for the first byte of an answer; less is quicker and misses slow meters.
    """

    def __init__(
        self, probe: Probe, tell: Tell = lambda text: None, *, thorough: bool = False, patience_ms: int = FIRST_BYTE_MS
    ) -> None:
        self.result = Result()
        self._probe, self._tell, self._thorough, self._patience_ms = probe, tell, thorough, patience_ms
        self._seen: dict[str, None] = {}

    async def run(self, dialects: tuple[Dialect, ...] = tuple(Dialect)) -> Result:
        """Ask in each dialect. Raises LineDown."""
        for dialect in dialects:
            self._seen = {}
            await self._from_everybody(dialect)
            known = {found.address for found in self.result.found}
            for address in sorted(self._seen.keys() - known):
                self.result.found.append(await self._confirm(address, dialect))
        return self.result

    async def _from_everybody(self, dialect: Dialect) -> None:
        looks = [await self._look("", dialect) for _ in range(FIRST_LOOKS)]
        heard = frozenset().union(*(look.addresses for look in looks))
        if not heard and not any(look.collided for look in looks):
            heard = await self._otherwise(dialect)
        self._seen |= dict.fromkeys(heard)
        if any(look.collided for look in looks) or len(heard) > 1 or (not heard and self._thorough):
            self._tell("several meters answer: looking for each")
            await self._split("", dialect)

    async def _otherwise(self, dialect: Dialect) -> frozenset[str]:
        """Meters that do not know AA: 13 (2007), or a read of 99 x 6, which many 1997 meters answer."""
        question = ReadAddress() if dialect is Dialect.V2007 else Read(BROADCAST, ENERGY[Dialect.V1997])
        heard = await self._ask(question.start())
        return frozenset(frame.address for frame in heard.answers() if _is_meter(frame.address))

    async def _split(self, suffix: str, dialect: Dialect) -> None:
        """Ask each value of the next pair; where fewer than two were found, once more: a collision means two at least."""
        for _ in range(2):
            for pair in range(100):
                if self.result.questions >= MOST_QUESTIONS:
                    self.result.complete = False
                    return
                await self._below(f"{pair:02d}{suffix}", dialect)
            if sum(address.endswith(suffix) for address in self._seen) > 1:
                return
        if not any(unresolved.endswith(suffix) for unresolved in self.result.unresolved):
            self.result.unresolved.append(suffix)

    async def _below(self, suffix: str, dialect: Dialect) -> None:
        look = await self._look(suffix, dialect)
        self._seen |= dict.fromkeys(look.addresses)
        if not look.collided:
            return
        if len(suffix) == 2 * PAIRS:
            self.result.unresolved.append(suffix)
            return
        self._tell(f"several addresses end in {suffix}")
        await self._split(suffix, dialect)

    async def _look(self, suffix: str, dialect: Dialect) -> _Look:
        pattern = suffix.rjust(2 * PAIRS, "A")
        heard = await self._ask(Read(pattern, _ASKED[dialect]).start())
        addresses: set[str] = set()
        wrong = 0
        for frame in heard.answers():
            address = _who(frame)
            if dialect_of(frame) in (dialect, None) and address is not None and covers(pattern, address):
                if address in addresses and address not in self.result.unresolved:
                    self.result.unresolved.append(address)  # it has a twin
                addresses.add(address)
            else:
                wrong += 1
        return _Look(frozenset(addresses), heard.garbled or bool(wrong))

    async def _confirm(self, address: str, dialect: Dialect) -> Found:
        """Ask this address alone: eight bits of checksum let one collision in 256 look like a meter that is not there."""
        for _ in range(2):
            heard = await self._ask(Read(address, ENERGY[dialect]).start(), alone=True)
            own = [frame for frame in heard.answers() if frame.address == address]
            if own and heard.first is not None:
                delay_us = heard.first.at_us - heard.left_us - round(len(heard.first.data) * self._probe.byte_us)
                return Found(address, dialect, max(0, delay_us // 1000), True)
        return Found(address, dialect, None, False)

    async def _ask(self, question: bytes, alone: bool = False) -> Heard:
        self.result.questions += 1
        return await self._probe.ask(question, first_ms=self._patience_ms, until=one_answer if alone else None)


def _who(frame: Frame) -> str | None:
    """Whose answer this is; None when it does not say."""
    if _is_meter(frame.address):
        return frame.address
    if frame.control == codes.READ | 0x80 and decode_digits(frame.data[:4]) == ADDRESS and len(frame.data) == 10:
        told = decode_digits(frame.data[4:])
        return told if covers(frame.address, told) and _is_meter(told) else None
    return None


def _is_meter(address: str) -> bool:
    return address.isdecimal() and address != BROADCAST and address != ANY
