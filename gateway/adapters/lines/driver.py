"""The one driver: moves any exchange over any transport; owns time-outs, silence, late answers and echo (dlt645.md 2, 10)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, cast, runtime_checkable

from gateway.adapters.lines.transport import LineDown, Transport
from protocols.errors import Malformed, Refused
from protocols.exchange import Done, Exchange, NeedMore, Send, Step

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

FIRST_BYTE_MS = 600
"""Waited for the first byte of an answer: 500 ms by the standard; 400 ms shows losses on real buses, 600 none."""

BYTE_GAP_MS = 500
"""Pause within an answer after which it is over: the standard's own limit, and TCP converters use it."""

GAP_MS = 20
"""Silence between an answer and the next question, for meters that turn around slowly."""

LATE_MS = 500
"""How long a line is listened to after a time-out, at least: a late answer must not meet the next question."""

LATEST_MS = 6_000
"""The latest answer that is waited for: what transparent concentrators add. Later ones never occur in practice."""

FORGET = 0.9
"""What a time-out without a late answer leaves of the waiting: one stray late byte must not slow a line for ever."""

READ_TRIES = 3
"""Reads are asked so often in all (dlt645.md 10); orders are never repeated blindly."""

TALK_MS = 5_000
"""Beyond its line time an answer may take this long in all; who talks longer is babbling and holds up the whole line."""

LONGEST_ANSWER = 300
"""Bytes: a 255-byte frame with everything around it."""

REOPEN_S = (0.1, 0.25, 0.5, 1.0)
"""Pauses between attempts to open a line; with 2 s for a TCP connection it is back within 3 s of the device's return."""


class NoAnswer(Exception):
    """Nothing came. late_ms: when something came all the same, after the time-out; None when nothing did."""

    def __init__(self, text: str, late_ms: int | None = None) -> None:
        super().__init__(text)
        self.late_ms = late_ms


class Garbled(NoAnswer):
    """Bytes came, but no frame that answers the question."""


class WallClock(Protocol):
    """UTC milliseconds."""

    def now_ms(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Timed(Generic[T]):
    """A result with the UTC times of its first byte out and its last byte in."""

    value: T
    asked_ms: int
    answered_ms: int


@dataclass(slots=True)
class Counters:
    """What a line has done since it was made. busy_ms: asking, waiting and listening. errors: by kind."""

    since_ms: int
    busy_ms: int = 0
    exchanges: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    stray_bytes: int = 0
    errors: dict[str, int] = field(default_factory=dict)


@runtime_checkable
class _Flushable(Protocol[T_co]):
    """An exchange that can look behind false starts once the line has fallen silent."""

    def silence(self) -> Step[T_co]: ...


class Driver:
    """One line and whoever asks on it, one exchange at a time.

    baud: speed of the wire behind the transport, None where bytes take no time. latency_ms: what a converter or radio adds.
    numbered: answers carry the number of their question (Modbus TCP), so late ones harm nobody.
    echo: whether we hear ourselves; None finds out.
    """

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
        self._echo = False if numbered else echo
        self._lock = asyncio.Lock()
        self._failures = 0
        self._free_at = 0.0
        self._latest_s = LATE_MS / 1000
        self._number = 0

    @property
    def name(self) -> str:
        """Where the line leads, for people."""
        return self._transport.name

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
            self._free_at = 0.0
            return None

    async def close(self) -> None:
        """Let go of the device."""
        await self._transport.close()

    async def run(self, exchange: Exchange[T], *, first_byte_timeout_ms: int = FIRST_BYTE_MS, gap_ms: int = GAP_MS) -> Timed[T]:
        """One try. A broadcast is over when it is sent.

        Raises RequestError, NoAnswer, Garbled, Malformed, Refused, or LineDown (then the line is closed).
        """
        question = exchange.start()
        async with self._lock:
            try:
                await self._quiet()
                answer = await self._exchange(exchange, question, first_byte_timeout_ms / 1000, gap_ms / 1000)
                self._failures = 0
                return answer
            except (NoAnswer, Malformed, Refused, LineDown) as error:
                kind = type(error).__name__
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

    async def _exchange(self, exchange: Exchange[T], question: bytes, first_byte_s: float, gap_s: float) -> Timed[T]:
        loop = asyncio.get_running_loop()
        begun, asked_ms = loop.time(), self._clock.now_ms()
        self.counters.exchanges += 1
        sent = False
        talk = _Talk(question, echo=bool(self._echo))
        try:
            await self._send(question)
            sent = True
            if not exchange.answered:
                await asyncio.sleep(len(question) * self._byte_s)
                return Timed(cast(T, None), asked_ms, self._clock.now_ms())
            value = await self._listen(exchange, question, talk, first_byte_s)
        except NoAnswer as error:
            error.late_ms = await self._outwait(begun)
            raise
        except LineDown as down:
            raise LineDown(str(down), sent=sent or down.sent) from down
        finally:
            self._free_at = loop.time() + gap_s
            self.counters.busy_ms += round((loop.time() - begun) * 1000)
        if self._echo is None:
            self._echo = talk.echoed(exchange.skipped)
        return Timed(value, asked_ms, self._clock.now_ms())

    async def _send(self, data: bytes) -> None:
        self.counters.sent_bytes += len(data)
        await self._transport.send(data)

    async def _listen(self, exchange: Exchange[T], question: bytes, talk: _Talk, first_byte_s: float) -> T:
        """Feed the exchange until it is done. Raises NoAnswer, Garbled and what the exchange raises."""
        loop = asyncio.get_running_loop()
        start = self._heard_from(len(question))
        deadline, longest_s = start + first_byte_s, first_byte_s + LONGEST_ANSWER * self._byte_s + TALK_MS / 1000
        while True:
            left_s = min(deadline, start + longest_s) - loop.time()
            data = await self._receive(left_s) if left_s > 0 else b""
            step: Step[T] = NeedMore()
            if not data:
                if isinstance(exchange, _Flushable) and talk.heard:
                    step = exchange.silence()
                if isinstance(step, NeedMore):
                    raise talk.failure()
            elif fresh := talk.hear(data):
                step = exchange.feed(fresh)
            if isinstance(step, Done):
                self._latest_s = min(max(self._latest_s, loop.time() - start), LATEST_MS / 1000)
                return step.result
            if isinstance(step, Send):
                await self._send(step.data)
                talk.ask(step.data)
                start = self._heard_from(len(step.data))
                deadline = start + first_byte_s
            elif step.begun:
                deadline = max(deadline, loop.time() + BYTE_GAP_MS / 1000 + self._latency_s)

    def _heard_from(self, count: int) -> float:
        """When the last of so many bytes, sent now, has reached the meter."""
        return asyncio.get_running_loop().time() + count * self._byte_s + self._latency_s

    async def _receive(self, timeout_s: float) -> bytes:
        data = await self._transport.receive(timeout_s)
        self.counters.received_bytes += len(data)
        return data

    async def _outwait(self, begun: float) -> int | None:
        """After a time-out: listen until the latest known answer would be over. Gives the time of the last byte, in ms."""
        if self._numbered:
            return None
        loop, late_s = asyncio.get_running_loop(), None
        until = max(loop.time() + LATE_MS / 1000, begun + self._latest_s)
        with contextlib.suppress(LineDown):  # the time-out is the answer; the next question finds the line gone
            while (left := min(until, begun + 2 * LATEST_MS / 1000) - loop.time()) > 0:
                if data := await self._receive(left):
                    self.counters.stray_bytes += len(data)
                    late_s = loop.time() - begun
                    self._latest_s = min(max(self._latest_s, late_s), LATEST_MS / 1000)
                    until = max(until, loop.time() + GAP_MS / 1000)
        if late_s is None:
            self._latest_s = max(self._latest_s * FORGET, LATE_MS / 1000)
            return None
        return round(late_s * 1000)

    async def _quiet(self) -> None:
        """Wait out the gap, and a line on which somebody still talks, but not for ever."""
        loop = asyncio.get_running_loop()
        if (wait := self._free_at - loop.time()) > 0:
            await asyncio.sleep(wait)
        stray, until = self._transport.discard(), loop.time() + TALK_MS / 1000
        while stray and not self._numbered and loop.time() < until:
            self.counters.stray_bytes += stray
            stray = len(await self._receive(GAP_MS / 1000))
            stray += self._transport.discard()


class _Talk:
    """What was said and heard in one exchange, so that our own echo is not taken for an answer.

    echo: known to be there, and stripped. Unless known it is left to the exchange, which skips it: an answer may equal its
    question (Modbus function 05), so only what came behind the echo tells that there is one.
    """

    def __init__(self, question: bytes, *, echo: bool) -> None:
        self.heard = 0
        self._own, self._echo = question, echo
        self._first = b""
        self._expected = question if echo else b""

    def echoed(self, skipped: int) -> bool | None:
        """Whether there is an echo, as far as this exchange tells. skipped: how many bytes were no answer."""
        if self._first == self._own:
            return True if self.heard > len(self._own) else None
        return None if skipped else False

    def ask(self, data: bytes) -> None:
        """A further question of the same exchange."""
        self._expected = data if self._echo else b""

    def hear(self, data: bytes) -> bytes:
        """The bytes that may be an answer: all but the echo, and all from where they differ from it."""
        self.heard += len(data)
        self._first += data[: len(self._own) - len(self._first)]
        if not self._expected:
            return data
        pairs = zip(data, self._expected, strict=False)
        same = next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(data), len(self._expected)))
        self._expected = self._expected[same:] if same == len(data) else b""
        return data[same:]

    def failure(self) -> NoAnswer:
        """What to call it that no answer came of this."""
        if self.heard == 0 or (self._first == self._own and self.heard == len(self._own)):
            return NoAnswer("no answer")
        return Garbled(f"{self.heard} bytes came, but no frame that answers")
