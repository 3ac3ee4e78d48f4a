"""What every meter link does alike: errors to outcomes, measurements to readings, a turn for each of several questions."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from decimal import Decimal
from typing import Generic, ParamSpec, TypeVar

from gateway.adapters.lines.driver import FIRST_BYTE_MS, GAP_MS, READ_TRIES, Driver, Garbled, NoAnswer, Timed, TooLate
from gateway.adapters.lines.manner import Manner
from gateway.adapters.lines.transport import LineDown
from gateway.domain.jobs import Answered, Failed, Fault, Outcome
from gateway.domain.readings import Item, Reading
from gateway.domain.units import kw_to_w
from protocols.errors import Malformed, ProtocolError, Refused, RequestError
from protocols.exchange import Exchange
from protocols.quantities import Measurement, quantity

P = ParamSpec("P")
T = TypeVar("T")

LOAD_TRIES = 2
"""Of the load beside an order or a look: one that a noisy line swallows would leave a cut without its only proof, for good."""


class NotSent(Exception):
    """Something failed before the order could be sent; the cause says what."""


class Unfit(Exception):
    """The order cannot be carried out by this switch at all, and was not sent; the text is one sentence."""


ERRORS = (LineDown, NoAnswer, ProtocolError, NotSent, Unfit, TooLate)


def failed(error: BaseException) -> Failed:
    """The outcome that this error means."""
    if isinstance(error, NotSent):
        before = failed(error.__cause__ or error)
        fault = Fault.SILENT if before.fault is Fault.REFUSED else before.fault  # it refused our question, not the order
        return Failed(fault, f"{error}: {before.text}", certain=True)
    text = str(error)
    match error:
        case LineDown():
            return Failed(Fault.LINE_DOWN, text, certain=not error.sent)
        case Garbled() | Malformed():
            return Failed(Fault.GARBLED, text)
        case NoAnswer():
            return Failed(Fault.SILENT, text)
        case Refused():
            return Failed(Fault.REFUSED, text)
        case Unfit():
            return Failed(Fault.REFUSED, text, certain=True)
        case TooLate():
            return Failed(Fault.LATE, text, certain=True)
        case _:
            return Failed(Fault.REQUEST, text, certain=isinstance(error, RequestError))


def never_raises(perform: Callable[P, Awaitable[Answered]]) -> Callable[P, Coroutine[object, object, Outcome]]:
    """Errors of line, wire, meter and request become outcomes; others are faults of the program and pass."""

    @functools.wraps(perform)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> Outcome:
        try:
            return await perform(*args, **kwargs)
        except ERRORS as error:
            return failed(error)

    return wrapped


class Asker:
    """Asks one device on a line, in the manner that it has shown to need.

    preamble: FE of its profile, None where the protocol has none. lead_chars: silence in front of a question, in characters.
    """

    def __init__(
        self,
        driver: Driver,
        *,
        gap_ms: int = GAP_MS,
        first_byte_timeout_ms: int = FIRST_BYTE_MS,
        preamble: int | None = None,
        lead_chars: float = 0.0,
    ) -> None:
        self.driver = driver
        self.manner = Manner(first_byte_timeout_ms=first_byte_timeout_ms, preamble=preamble)
        self._gap_ms, self._lead_chars = gap_ms, lead_chars

    async def once(self, exchange: Exchange[T], until_ms: int | None = None) -> Timed[T]:
        """One try of an order or a rare question, with at least the standard's patience. Raises what the driver raises."""
        return await self._run(exchange, self.manner.timeout_ms(routine=False), until_ms=until_ms)

    async def poll(self, question: Callable[[int], Exchange[T]], size: Callable[[T], int], *, routine: bool = True) -> Timed[T]:
        """One try of a read, as short as the device allows. question: made for so many FE; size: bytes of an answer's data.

        routine: not so for what takes a device longer to find than its present values. Raises what the driver raises.
        """
        wake_up = self.manner.wake_up
        used = 0 if wake_up is None else wake_up.count
        try:
            answer = await self._run(question(used), self.manner.timeout_ms(routine), size)
        except NoAnswer as error:
            if wake_up is not None and type(error) is NoAnswer and error.late_ms is None:
                wake_up.silent(used)
            raise
        if wake_up is not None:
            wake_up.answered(used)
        return answer

    async def read(self, question: Callable[[], Exchange[T]]) -> Timed[T]:
        """A read with new tries. Raises what the driver raises."""
        for _ in range(READ_TRIES - 1):
            with contextlib.suppress(NoAnswer, Malformed):
                return await self.once(question())
        return await self.once(question())

    async def _run(
        self, exchange: Exchange[T], timeout_ms: int, size: Callable[[T], int] | None = None, *, until_ms: int | None = None
    ) -> Timed[T]:
        manner, lead = self.manner, self._lead_chars
        try:
            answer = await self.driver.run(
                exchange, first_byte_timeout_ms=timeout_ms, gap_ms=self._gap_ms, lead_chars=lead, who=manner, until_ms=until_ms
            )
        except Refused:
            manner.answered(None)
            raise
        except Malformed:
            manner.unanswered()
            raise
        except NoAnswer as error:
            manner.unanswered(error.late_ms)
            raise
        manner.answered(answer.delay_ms, size(answer.value) if size else 0)
        return answer


class Turns(Generic[T]):
    """Questions that take turns, the favoured one every second time; all of them when there is no favourite."""

    def __init__(self, questions: Sequence[T], favourite: Callable[[T], bool]) -> None:
        chosen = [q for q in questions if favourite(q)][:1]
        others = [q for q in questions if q not in chosen]
        self._order = [q for other in others for q in (*chosen, other)] or chosen
        self._at = 0

    def __bool__(self) -> bool:
        return bool(self._order)

    @property
    def current(self) -> T:
        """Whose turn it is."""
        return self._order[self._at]

    def advance(self) -> None:
        """It has had its turn."""
        self._at = (self._at + 1) % len(self._order)


def reading(meter: str, answers: Sequence[Timed[Sequence[Measurement]]]) -> Reading:
    """One reading out of the answers of one job."""
    items = tuple(_item(m) for answer in answers for m in answer.value)
    return Reading(meter, items, answers[0].asked_ms, answers[-1].answered_ms)


def _item(measurement: Measurement) -> Item:
    obis = quantity(measurement.quantity).obis
    return Item(measurement.quantity, measurement.value, measurement.unit, obis, measurement.coarse)


def power_w(measurements: Sequence[Measurement]) -> int | None:
    """The load in W, whichever way it flows; None when it is not among them."""
    value: Decimal | None = next((m.value for m in measurements if m.quantity == "power"), None)
    return None if value is None else abs(kw_to_w(value))
