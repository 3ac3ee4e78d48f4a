"""What one meter has shown of itself: how fast it answers, whether it must be woken, which blocks it gives and how long.

Nothing of it is kept over a restart: a few answers bring it back, and a meter that was replaced is met without prejudice.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from gateway.adapters.lines.timing import FIRST_BYTE_MS, LATEST_MS

BUCKETS_MS: Final = (20, 50, 100, 200, 500, 1_000, 2_000, 6_000)
"""Upper bounds of the latency histogram; one more counts what was later still."""

RECENT = 32
"""Answers whose slowest sets the time-out: more than a meter's groups have different questions."""

SURE = 5
"""Answers in a row after which a meter's own time-out holds instead of the standard's."""

MARGIN_MS = 50
"""Beyond half as long again as the slowest recent answer: the computer's and a USB adapter's own pauses."""

MANY_FE = 4
"""What the standard says a question should begin with (dlt645.md 2)."""

BARE_TRIAL = 8
BARE_TRIAL_LONGEST = 2_048
"""Answers after which a question is tried without FE; four times as many after every trial that failed, up to the second."""

BARE_ENOUGH = 3
"""Answers without FE in a row after which a meter needs none."""

BARE_MISSED = 2
"""Silences without FE, each followed by an answer with them, after which a meter needs them after all."""

NO_BLOCK = 3
"""Refusals of a block after which a meter has none: one may be a busy moment, and would hold the bill until a restart."""

GARBLED_BLOCKS = 2
"""Blocks in a row that came garbled, after which a shorter question is asked."""

BACK_TO_BLOCK = 4
BACK_LONGEST = 64
"""Short answers in a row after which the block is tried again; twice as many after every trial that failed, up to the second."""


@dataclass(frozen=True, slots=True)
class MannerState:
    """A meter's manner at a moment, for people and metrics.

    delay_ms: slowest recent answer, None before the first. timeout_ms: waited for the next routine answer.
    preamble: FE before the next question, None where the protocol has none. blocks: how each block is asked for at present
    (whole, parts, refused). longest: bytes of data in the longest answer that came. latency: answers within each of BUCKETS_MS,
    and one more for the rest.
    """

    delay_ms: int | None
    timeout_ms: int
    preamble: int | None
    blocks: tuple[tuple[str, str], ...]
    longest: int
    answered: int
    failed: int
    latency: tuple[int, ...]


class Manner:
    """One meter's. first_byte_timeout_ms: the time-out while it is not known. preamble: its profile's, None where there is none."""

    def __init__(self, *, first_byte_timeout_ms: int = FIRST_BYTE_MS, preamble: int | None = None) -> None:
        self.wake_up = None if preamble is None else WakeUp(preamble)
        self._blocks: dict[str, Block] = {}  # as many as the profile has
        self._standard_ms = first_byte_timeout_ms
        self._delays: deque[int] = deque(maxlen=RECENT)
        self._sure = 0
        self._longest = self._answered = self._failed = 0
        self._latency = [0] * (len(BUCKETS_MS) + 1)

    @property
    def known(self) -> bool:
        """Enough answers in a row have come."""
        return self._sure >= SURE

    def timeout_ms(self, routine: bool = True) -> int:
        """How long to wait for the first byte. Shorter than the standard's only for routine reads of a known meter:

        an order or a rare question may take a meter longer than anything it was asked before.
        """
        learned = max(self._delays, default=0) * 3 // 2 + MARGIN_MS
        return min(learned if routine and self.known else max(self._standard_ms, learned), LATEST_MS)

    def answered(self, delay_ms: int | None, size: int = 0) -> None:
        """It answered, be it no. delay_ms: None where it could not be measured. size: bytes of data."""
        self._answered += 1
        self._sure += 1
        self._longest = max(self._longest, size)
        if delay_ms is not None:
            self._count(delay_ms)

    def unanswered(self, late_ms: int | None = None) -> None:
        """Nothing usable came in time; late_ms: when it came after all. What never came lets the slowest answer be forgotten."""
        self._failed += 1
        self._sure = 0
        if late_ms is not None:
            self.late(late_ms)
        elif self._delays:
            self._delays.remove(max(self._delays))

    def late(self, delay_ms: int) -> None:
        """An answer came after its time-out."""
        self._count(min(delay_ms, LATEST_MS))

    def block(self, name: str) -> Block:
        """What is known of asking for this block."""
        return self._blocks.setdefault(name, Block())

    def state(self) -> MannerState:
        """As it is now."""
        return MannerState(
            max(self._delays, default=None),
            self.timeout_ms(),
            None if self.wake_up is None else self.wake_up.count,
            tuple((name, block.state) for name, block in self._blocks.items()),
            self._longest,
            self._answered,
            self._failed,
            tuple(self._latency),
        )

    def _count(self, delay_ms: int) -> None:
        self._delays.append(delay_ms)
        self._latency[sum(delay_ms > bound for bound in BUCKETS_MS)] += 1


class WakeUp:
    """How many FE a meter's questions begin with. start: as its profile says."""

    def __init__(self, start: int) -> None:
        self._start = start
        self._bare = start == 0
        self._last: int | None = None  # what the last question, which stayed silent, began with
        self._answers = self._bare_answers = self._missed = 0
        self._trial_after = BARE_TRIAL

    @property
    def count(self) -> int:
        """For the next routine read. After silence the other way: a sleepy meter may only have missed the beginning."""
        full = max(self._start, MANY_FE)
        if self._last is not None:
            return self._start if self._last == full else full
        return 0 if self._bare or self._answers >= self._trial_after else self._start

    def answered(self, used: int) -> None:
        """The question that began with `used` FE was answered."""
        self._last = None
        if used:
            self._answers += 1
            self._bare_answers = 0
            if self._missed >= (BARE_MISSED if self._bare else 1):
                self._needed()
        else:
            self._bare_answers += 1
            self._missed = 0
            self._bare = self._bare or self._bare_answers >= BARE_ENOUGH

    def silent(self, used: int) -> None:
        """It was not."""
        self._missed += used == 0
        self._last = used

    def _needed(self) -> None:
        """It answers with FE and not without."""
        self._bare = False
        self._start = self._start or MANY_FE
        self._answers = self._missed = 0
        self._trial_after = min(4 * self._trial_after, BARE_TRIAL_LONGEST)


class Block:
    """Whether several values are asked for at once, or in shorter questions."""

    def __init__(self) -> None:
        self._refused = self._garbled = self._good_parts = 0
        self._never = self._bad = False
        self._back_after = BACK_TO_BLOCK

    @property
    def whole(self) -> bool:
        """Ask for all of it at once."""
        return not self._never and (not self._bad or self._good_parts >= self._back_after)

    @property
    def state(self) -> str:
        """In a word."""
        return "refused" if self._never else "whole" if self.whole else "parts"

    def came(self, whole: bool) -> None:
        """An answer came, to the whole or to a part."""
        if whole:
            self._refused = self._garbled = 0
            self._bad, self._back_after = False, BACK_TO_BLOCK
        else:
            self._good_parts += 1

    def garbled(self, whole: bool) -> None:
        """What came was no answer, or the meter had no time for it."""
        self._good_parts = 0
        if not whole:
            return
        self._garbled += 1
        if self._bad:
            self._back_after = min(2 * self._back_after, BACK_LONGEST)
        self._bad = self._bad or self._garbled >= GARBLED_BLOCKS

    def refused(self, for_good: bool = False) -> None:
        """The meter says that there is no such block. for_good: beyond doubt, else when it has said so NO_BLOCK times in a row."""
        self._refused += 1
        self._never = self._never or for_good or self._refused >= NO_BLOCK
