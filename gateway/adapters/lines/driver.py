"""The one driver: moves any exchange over any transport; owns time-outs, silence, late answers and echo (dlt645.md 2, 10)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, cast, runtime_checkable

from gateway.adapters.lines.gap import TIGHT_MS, Gap
from gateway.adapters.lines.late import Late, Speaker
from gateway.adapters.lines.punctual import Punctual
from gateway.adapters.lines.talk import Talk
from gateway.adapters.lines.timing import BYTE_GAP_MS as BYTE_GAP_MS
from gateway.adapters.lines.timing import FIRST_BYTE_MS as FIRST_BYTE_MS
from gateway.adapters.lines.timing import GAP_MS as GAP_MS
from gateway.adapters.lines.timing import LATE_MS as LATE_MS
from gateway.adapters.lines.timing import LATEST_MS as LATEST_MS
from gateway.adapters.lines.timing import LONGEST_ANSWER, TALK_MS
from gateway.adapters.lines.transport import LineDown, Transport
from protocols.errors import Malformed, ProtocolError, Refused
from protocols.exchange import Done, Exchange, NeedMore, Send, Step

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

READ_TRIES = 3
"""Reads are asked so often in all (dlt645.md 10); orders are never repeated blindly."""

DOUBTFUL = "an answer came that an earlier question may have caused"

ECHO_GONE = 3
"""Answers in a row without the echo that was found before: then there is none any more. Fewer may be an adapter's whim."""

REOPEN_S = (0.1, 0.25, 0.5, 1.0)
"""Pauses between attempts to open a line; with 2 s for a TCP connection it is back within 3 s of the device's return."""


class NoAnswer(Exception):
    """Nothing came. late_ms: when something came all the same, after the time-out; None when nothing did."""

    def __init__(self, text: str, late_ms: int | None = None) -> None:
        super().__init__(text)
        self.late_ms = late_ms


class Garbled(NoAnswer):
    """Bytes came, but no frame that answers the question."""


class _Doubtful(Garbled):
    """A frame came that an earlier question, which nobody had answered, takes for its answer too."""


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


class TooLate(Exception):
    """The question was not sent: its time was over before its first byte could leave."""

    def __init__(self) -> None:
        super().__init__("its expiry passed before it could be sent")


class Way(Protocol):
    """Whoever may go first: asked before each question of what can be interrupted."""

    def waits(self) -> bool:
        """Whether somebody is more urgent than the question that comes next."""

    async def serve(self) -> None:
        """Let him ask."""


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """A result with the UTC times of its first byte out and its last byte in.

    delay_ms: from the last byte out to the first byte in; None where echo or noise hid that.
    """

    value: T
    asked_ms: int
    answered_ms: int
    delay_ms: int | None = None


@dataclass(slots=True)
class Counters:
    """What a line has done since it was made. busy_ms: asking, waiting and listening. errors: by kind. opened: how often."""

    since_ms: int
    busy_ms: int = 0
    exchanges: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    stray_bytes: int = 0
    opened: int = 0
    errors: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Asked(Generic[T]):
    """One question on its way. end_s: when its last byte has left; delay_s: how long the answer took to begin. until_ms: UTC, after
    which it must not leave."""

    exchange: Exchange[T]
    question: bytes
    who: Speaker | None
    patience_s: float
    gap_ms: int
    lead_s: float
    tight: bool = False
    end_s: float = 0.0
    delay_s: float | None = None
    doubt: bool = False
    until_ms: int | None = None


@runtime_checkable
class _Flushable(Protocol[T_co]):
    """An exchange that can look behind false starts once the line has fallen silent."""

    def silence(self) -> Step[T_co]: ...


@runtime_checkable
class _Called(Protocol):
    """A transport that waits for a device to call."""

    @property
    def turned_away(self) -> Mapping[str, int]: ...


class Driver:
    """One line and whoever asks on it, one exchange at a time.

    baud: speed of the wire behind the transport, None where bytes take no time. latency_ms: what a converter or radio adds.
    numbered: answers carry the number of their question (Modbus TCP), so late ones harm nobody.
    echo: whether we hear ourselves; None finds out. way: of whoever is let through between two questions.
    """

    way: Way | None = None

    def __init__(
        self,
        transport: Transport,
        *,
        baud: int | None,
        clock: WallClock,
        latency_ms: int = 0,
        numbered: bool = False,
        echo: bool | None = None,
    ) -> None:
        self.counters = Counters(clock.now_ms())
        self._transport, self._clock = transport, clock
        self._byte_s = 11 / baud if baud else 0.0
        self._latency_s = latency_ms / 1000
        self._numbered = numbered
        self._echo, self._finds_echo = (False, False) if numbered else (echo, echo is None)
        self._without_echo = 0
        self._lock = asyncio.Lock()
        self._failures = 0
        self._late = Late(self._byte_s)
        self._gap = Gap()
        self._punctual = Punctual()
        self._gap_ms = 0
        self._spoken_s = 0.0
        self._after_answer = False
        self._number = 0

    @property
    def name(self) -> str:
        """Where the line leads, for people."""
        return self._transport.name

    @property
    def gap_ms(self) -> int:
        """The silence kept at present between an answer and the next question."""
        return max(self._gap_ms, self._gap.learned_ms)

    @property
    def worst_answer_ms(self) -> int:
        """The worst known answer time, for which the line stays quiet after a time-out."""
        return round(self._late.worst_s * 1000)

    @property
    def echo(self) -> bool | None:
        """Whether we hear ourselves; None while nothing has shown it."""
        return self._echo

    @property
    def turned_away(self) -> Mapping[str, int]:
        """Calls to the line's port that were refused, by reason; none where nobody calls."""
        return self._transport.turned_away if isinstance(self._transport, _Called) else {}

    @property
    def reopen_pause_s(self) -> float:
        """How long to leave a line alone that could not be opened."""
        return REOPEN_S[min(max(self._failures, 1), len(REOPEN_S)) - 1]

    def next_number(self) -> int:
        """A transaction number for the next question on this line, 1 to 65535 and round again."""
        self._number = self._number % 0xFFFF + 1
        return self._number

    async def ensure_open(self) -> str | None:
        """Open the line if it is not; None when it carries bytes, else why not, in one sentence."""
        async with self._lock:
            if self._transport.down is None:
                return None
            try:
                await self._transport.open()
            except LineDown as down:
                self._failures += 1
                return str(down)
            self._spoken_s, self._after_answer = 0.0, False
            self.counters.opened += 1
            return None

    async def close(self) -> None:
        """Let go of the device."""
        await self._transport.close()

    async def run(
        self,
        exchange: Exchange[T],
        *,
        first_byte_timeout_ms: int = FIRST_BYTE_MS,
        gap_ms: int = GAP_MS,
        lead_chars: float = 0.0,
        who: Speaker | None = None,
        until_ms: int | None = None,
    ) -> Timed[T]:
        """One try. A broadcast is over when it is sent.

        gap_ms: least silence behind the answer; lead_chars: least silence in front of the question, in characters.
        who: stands for the device, so that the line can learn its gap, and is told of answers that come later still.
        until_ms: UTC; from then on its first byte does not leave. Raises RequestError, NoAnswer, Garbled, Malformed, Refused,
        TooLate, or LineDown (then the line is closed).
        """
        asked = _Asked(exchange, exchange.start(), who, first_byte_timeout_ms / 1000, gap_ms, lead_chars * self._byte_s)
        asked.until_ms = until_ms
        answer = await self._try(asked, last=False)
        return answer or cast(Timed[T], await self._try(asked, last=True))

    async def _try(self, asked: _Asked[T], *, last: bool) -> Timed[T] | None:
        """Ask; None when somebody came in the gap who goes first, but only once."""
        if self.way is not None and self.way.waits():
            await self.way.serve()
        async with self._lock:
            try:
                asked.tight = await self._quiet(asked.question, asked.lead_s)
                if not last and self.way is not None and self.way.waits():
                    return None
                if asked.until_ms is not None and self._clock.now_ms() >= asked.until_ms:
                    raise TooLate
                self._gap_ms = asked.gap_ms
                answer = await self._exchange(asked)
                self._failures = 0
                return answer
            except (NoAnswer, Malformed, Refused, LineDown) as error:
                kind = "Garbled" if isinstance(error, Garbled) else type(error).__name__
                self.counters.errors[kind] = self.counters.errors.get(kind, 0) + 1
                if isinstance(error, LineDown):
                    self._failures += 1
                    await self.close()
                else:
                    self._failures = 0
                raise

    async def ask(
        self,
        question: Callable[[], Exchange[T]],
        *,
        tries: int = READ_TRIES,
        first_byte_timeout_ms: int = FIRST_BYTE_MS,
        gap_ms: int = GAP_MS,
    ) -> Timed[T]:
        """Like `run`, with new tries after silence and garbage. For reads only: an order may have been obeyed unheard."""
        for left in range(tries - 1, -1, -1):
            try:
                return await self.run(question(), first_byte_timeout_ms=first_byte_timeout_ms, gap_ms=gap_ms)
            except (NoAnswer, Malformed):
                if not left:
                    raise
        raise ValueError("a question is asked at least once")

    async def _exchange(self, asked: _Asked[T]) -> Timed[T]:
        begun, asked_ms = self._now(), self._clock.now_ms()
        self.counters.exchanges += 1
        sent, answered = False, cast(bool | None, None)
        talk = Talk(asked.question, echo=bool(self._echo))
        try:
            await self._send(asked.question)
            sent = True
            if not asked.exchange.answered:
                await asyncio.sleep(len(asked.question) * self._byte_s)
                return Timed(cast(T, None), asked_ms, self._clock.now_ms())
            value = await self._listen(asked, talk)
            answered = True
        except NoAnswer as error:
            error.late_ms = await self._outwait(asked, error)
            answered = False if type(error) is NoAnswer and error.late_ms is None else None
            raise
        except (Malformed, Refused):
            answered = True
            raise
        except (LineDown, asyncio.CancelledError) as broken:
            if sent and not self._numbered:
                self._late.keep(asked.exchange, asked.question, asked.end_s, asked.who, silent=False)
            if isinstance(broken, LineDown):
                broken.sent |= sent
            raise
        finally:
            self._after_answer = bool(answered)
            self._learn_gap(asked, answered)
            self.counters.busy_ms += round((self._now() - begun) * 1000)
        skipped = asked.exchange.skipped
        self._learn_echo(talk.echoed(skipped))
        delay_ms = None if skipped or asked.delay_s is None else max(0, round(asked.delay_s * 1000))
        return Timed(value, asked_ms, self._clock.now_ms(), delay_ms)

    async def _send(self, data: bytes) -> None:
        self.counters.sent_bytes += len(data)
        await self._transport.send(data)
        self._spoken_s = self._heard_from(len(data))

    async def _listen(self, asked: _Asked[T], talk: Talk) -> T:
        """Feed the exchange until it is done. Raises NoAnswer, Garbled and what the exchange raises."""
        start = asked.end_s = self._spoken_s
        deadline = start + asked.patience_s
        longest_s = asked.patience_s + LONGEST_ANSWER * self._byte_s + TALK_MS / 1000
        while True:
            left_s = min(deadline, start + longest_s) - self._now()
            data = await self._receive(left_s) if left_s > 0 else b""
            step: Step[T] = NeedMore()
            if not data:
                step = self._feed(asked, talk.held_back() or None, quiet=talk.heard > 0)
                if isinstance(step, NeedMore):
                    raise self._failure(talk)
            elif fresh := talk.hear(data):
                step = self._feed(asked, fresh)
            if asked.delay_s is None and not (isinstance(step, NeedMore) and not step.begun):
                asked.delay_s = self._now() - start
            if isinstance(step, Done):
                self._late.answered(asked.delay_s or 0.0, self._now() - start)
                return step.result
            if isinstance(step, Send):
                await self._send(step.data)
                talk.ask(step.data)
                start = asked.end_s = self._spoken_s
                deadline = start + asked.patience_s
            elif step.begun:
                deadline = max(deadline, self._now() + BYTE_GAP_MS / 1000 + self._latency_s)

    def _feed(self, asked: _Asked[T], data: bytes | None, quiet: bool = False) -> Step[T]:
        """The exchange's next step. quiet: nothing more came. Raises _Doubtful where an earlier question claims the answer."""
        exchange, step, now_s = asked.exchange, cast(Step[T], NeedMore()), self._now()
        if data is not None:
            asked.doubt |= self._late.hear(data, now_s)
        try:
            if data is not None:
                step = exchange.feed(data)
            if quiet and isinstance(step, NeedMore) and isinstance(exchange, _Flushable):
                step = exchange.silence()
        except ProtocolError:
            if asked.doubt or self._late.hear(None, now_s):
                raise _Doubtful(DOUBTFUL) from None
            self._late.taken()
            raise
        if isinstance(step, NeedMore):
            asked.doubt &= step.begun  # what the earlier question claimed is, for us, no answer
        elif asked.doubt or self._late.hear(None, now_s):
            raise _Doubtful(DOUBTFUL)
        else:
            self._late.taken()
        return step

    def _failure(self, talk: Talk) -> NoAnswer:
        """What to call it that no answer came of this."""
        return NoAnswer("no answer") if talk.only_echo else Garbled(f"{talk.heard} bytes came, but no frame that answers")

    def _heard_from(self, count: int) -> float:
        """When the last of so many bytes, sent now, has reached the meter."""
        return self._now() + count * self._byte_s + self._latency_s

    def _now(self) -> float:
        return self._punctual.now()

    async def _receive(self, timeout_s: float) -> bytes:
        data = await self._transport.receive(timeout_s)
        if data:
            self.counters.received_bytes += len(data)
            self._spoken_s = self._now()
        return data

    async def _outwait(self, asked: _Asked[T], error: NoAnswer) -> int | None:
        """After a time-out: listen until the worst known answer would be over, or ours has come. How late it came, in ms."""
        if self._numbered:
            return None
        mine = None
        if isinstance(error, _Doubtful):  # its exchange is over, so nothing more is asked before all answers must be
            until = self._late.at_latest(asked.end_s)
        else:
            silent = not isinstance(error, Garbled)
            mine = self._late.keep(asked.exchange, asked.question, asked.end_s, asked.who, silent=silent)
            until = self._late.until(asked.end_s, self._now())
        limit, spoke = max(until, asked.end_s + 2 * LATEST_MS / 1000), False
        with contextlib.suppress(LineDown):  # the time-out is the answer; the next question finds the line gone
            while (left := min(until, limit) - self._now()) > 0:
                if data := await self._receive(left):
                    self.counters.stray_bytes += len(data)
                    self._late.hear(data, self._now(), mine)
                    if mine and mine.came_s is not None:
                        return mine.late_ms
                    spoke = True
                    self._late.spoke(self._now() - asked.end_s)
                    until = max(until, self._now() + GAP_MS / 1000)
        if not spoke:
            self._late.silent()
        return None

    async def _quiet(self, question: bytes, lead_s: float) -> bool:
        """Wait out the gap, a line on which somebody still talks (but not for ever), and the answer to an equal question.

        True when the question then follows an answer as closely as the gap allows.
        """
        gap_s, begun = max(self.gap_ms / 1000, lead_s), self._now()
        if self._numbered:
            await asyncio.sleep(max(0.0, self._spoken_s + gap_s - begun))
            self._transport.discard()
            return False
        patience_s = 0.0  # what has come while nobody listened is taken first
        while True:
            if data := await self._receive(patience_s):
                self.counters.stray_bytes += len(data)
                self._late.hear(data, self._now())
            now = self._now()
            free_at = self._spoken_s + gap_s if now < begun + TALK_MS / 1000 else now
            until = max(free_at, self._late.hold(question, now))
            if until <= now:
                return self._after_answer and now - self._spoken_s <= gap_s + TIGHT_MS / 1000
            if not (patience_s := self._punctual.nap_s(until - now)):
                await self._punctual.finish(until)

    def _learn_gap(self, asked: _Asked[T], answered: bool | None) -> None:
        if not self._numbered and asked.exchange.answered:
            self._gap.note(asked.who, tight=asked.tight, answered=answered, gap_ms=self.gap_ms, now_s=self._now())

    def _learn_echo(self, echoed: bool | None) -> None:
        if not self._finds_echo or echoed is None:
            return
        self._without_echo = 0 if echoed else self._without_echo + 1
        if echoed or self._echo is None or self._without_echo >= ECHO_GONE:
            self._echo = echoed
