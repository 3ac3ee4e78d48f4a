"""Questions that stayed unanswered, and answers that come after all: none of them may be taken for the answer to another question.

Neither Modbus RTU nor DL/T 645 numbers its questions. So a question whose time is over is kept for as long as its answer could
still come, and hears everything that the line says: what it would take for its answer is taken from whoever asks now. A question
that the same answer would fit is not asked before then, for nobody could tell which of the two was answered.

How long that is, a line shows. At the start it is LATEST_MS; every question that was kept in vain shortens it, down to the
standard's time, and PROMPT answers in time do so at once. One answer that came late brings it back, and then it is shortened
slowly. To notice that, questions are listened for up to LATEST_MS in any case, when they no longer hold up anybody.
"""

from __future__ import annotations

import contextlib
import copy
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from gateway.adapters.lines.timing import FIRST_BYTE_MS, LATE_MS, LATEST_MS, LONGEST_ANSWER
from protocols.errors import ProtocolError
from protocols.exchange import Exchange, NeedMore
from protocols.modbus.frames import rtu_intact

MOST_KEPT = 32
"""Questions kept at once: more than time out within LATEST_MS on any line."""

MOST_HEARD = 2 * LONGEST_ANSWER
"""Bytes of one lump that are looked at: what idle babble has left behind costs no more than two frames."""

FORGET = 0.9
"""What a time-out leaves of the worst known answer time when nothing comes: one stray late byte must not slow a line for ever."""

DOUBT, SEEN_DOUBT = 0.6, 0.98
"""What a question that was kept in vain leaves of the time to keep others. Five show a line on which nothing was ever late for what
it is; on one where something was, a hundred must, for noise too leaves questions without answers."""

CALM = 20
"""Answers in a row, none late, after which the whole line need not be quiet beyond the worst known answer time."""

PROMPT = 100
"""The same, after which a line on which nothing was ever late has no late answers: a dead meter then holds up nobody."""

_WAKE_UP = b"\xfe"
_READS = range(1, 5)


class Speaker(Protocol):
    """Whoever asks: it is told of its own answers that came late."""

    def late(self, delay_ms: int) -> None: ...


@dataclass(slots=True, eq=False)
class Unanswered:
    """A question whose time is over. asked_s: when its last byte had left; came_s: when its answer came all the same.

    until_s: until when it claims its answer; gone_s: until when it would still notice it. silent: nothing at all was heard.
    """

    exchange: Exchange[object]
    shape: bytes
    asked_s: float
    until_s: float
    gone_s: float
    who: Speaker | None
    silent: bool
    came_s: float | None = None
    _ear: Exchange[object] | None = None

    def hears(self, data: bytes | None, now_s: float) -> bool:
        """Whether these bytes are its answer. None: the line fell silent."""
        self._ear = ear = self._ear or copy.deepcopy(self.exchange)
        try:
            step = ear.silence() if data is None else ear.feed(data)
        except ProtocolError:
            step = None  # refused or malformed, but its answer
        if isinstance(step, NeedMore):
            return False
        self.came_s = now_s
        return True

    def forget(self) -> None:
        """What it heard was another's."""
        self.came_s = self._ear = None

    @property
    def late_ms(self) -> int:
        """How late its answer came; 0 while it has not."""
        return 0 if self.came_s is None else max(0, round((self.came_s - self.asked_s) * 1000))


class Late:
    """What one line knows of late answers. byte_s: line time of a byte."""

    def __init__(self, byte_s: float) -> None:
        self.worst_s = LATE_MS / 1000
        """The worst known answer time, to the last byte."""
        self._beyond_s = LATE_MS / 1000 + LONGEST_ANSWER * byte_s  # the meter's own time, and its answer's
        self._kept: deque[Unanswered] = deque(maxlen=MOST_KEPT)
        self._noticed: list[Unanswered] = []
        self._latest_s = LATEST_MS / 1000
        self._ever = False
        self._calm = 0

    def until(self, asked_s: float, now_s: float) -> float:
        """Until when the whole line stays quiet after a time-out: the worst known answer time, and longer while little is known."""
        return max(asked_s + self.worst_s, now_s + (0 if self._known else LATE_MS / 1000))

    def at_latest(self, asked_s: float) -> float:
        """Until when an answer to a question asked then may still come."""
        standard_s = FIRST_BYTE_MS / 1000
        late_s = self._latest_s + self._beyond_s if self._latest_s > standard_s else standard_s
        return asked_s + max(late_s, self.worst_s)

    def hold(self, question: bytes, now_s: float) -> float:
        """Until when this question must wait for the answer to a question like it; now when there is none."""
        self._expire(now_s)
        if not self._kept:
            return now_s
        shape = _shape(question)
        return max([now_s, *(kept.until_s for kept in self._kept if kept.shape == shape)])

    def keep(self, exchange: Exchange[object], question: bytes, asked_s: float, who: Speaker | None, *, silent: bool) -> Unanswered:
        """A question whose time is over; it hears on with a copy, so that whoever asked is not surprised."""
        until_s, gone_s = self.at_latest(asked_s), asked_s + LATEST_MS / 1000 + self._beyond_s
        kept = Unanswered(copy.deepcopy(exchange), _shape(question), asked_s, until_s, max(until_s, gone_s), who, silent)
        self._kept.append(kept)
        return kept

    def hear(self, data: bytes | None, now_s: float, mine: Unanswered | None = None) -> bool:
        """Whether an earlier question claims this as its answer. None: the line fell silent. mine: who tells its speaker itself."""
        if data is not None:
            self._confirm()
        if not self._kept:
            return False
        self._expire(now_s)
        heard = None if data is None else data[-MOST_HEARD:]
        claimed = False
        for kept in [kept for kept in self._kept if kept.hears(heard, now_s)]:
            if now_s <= kept.until_s:
                claimed = True
                self._came(kept, tell=kept is not mine)
            else:
                self._noticed.append(kept)
        return claimed

    def taken(self) -> None:
        """What was heard last is the answer to the present question, and nobody else's."""
        for kept in self._noticed:
            kept.forget()
        self._noticed.clear()

    def answered(self, began_s: float, took_s: float) -> None:
        """An answer came to whoever was patient enough. began_s, took_s: to its first and last byte."""
        self._calm += 1
        self._saw(began_s, took_s)
        if self._calm >= PROMPT and not self._ever:
            self._latest_s = 0.0

    def spoke(self, took_s: float) -> None:
        """Something came after a time-out."""
        self._raise_worst(took_s)

    def silent(self) -> None:
        """Nothing came after a time-out."""
        self.worst_s = max(self.worst_s * FORGET, 0.0 if self._known else LATE_MS / 1000)

    @property
    def _known(self) -> bool:
        return self._calm >= CALM

    def _saw(self, began_s: float, took_s: float) -> None:
        self._raise_worst(took_s)
        if began_s > FIRST_BYTE_MS / 1000:
            self._calm, self._ever, self._latest_s = 0, True, LATEST_MS / 1000

    def _raise_worst(self, took_s: float) -> None:
        self.worst_s = min(max(self.worst_s, took_s), LATEST_MS / 1000)

    def _confirm(self) -> None:
        """What was noticed, and not taken by anybody, had come late."""
        for kept in self._noticed:
            self._came(kept, tell=True)
        self._noticed.clear()

    def _came(self, kept: Unanswered, *, tell: bool) -> None:
        with contextlib.suppress(ValueError):  # displaced by MOST_KEPT newer ones
            self._kept.remove(kept)
        self._saw(kept.late_ms / 1000, kept.late_ms / 1000)
        if tell and kept.who is not None:
            kept.who.late(kept.late_ms)

    def _expire(self, now_s: float) -> None:
        for kept in tuple(self._kept):
            if kept.silent and kept.until_s <= now_s:
                kept.silent = False
                self._latest_s *= SEEN_DOUBT if self._ever else DOUBT
            if kept.gone_s <= now_s:
                self._kept.remove(kept)


def _shape(question: bytes) -> bytes:
    """Equal for questions that the same answer would fit: answers of Modbus RTU tell unit, function and length, but no address."""
    bare = question.lstrip(_WAKE_UP)
    if not rtu_intact(bare):
        return bare
    return bare[:2] + (bare[4:6] if bare[1] in _READS else b"")
