"""The meter on the bench: asked through a raw probe, with every answer's time and length kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from gateway.adapters.crypto_service import Crypto
from gateway.adapters.line_tools.acceptance.case import Broken, NotRun
from gateway.adapters.line_tools.acceptance.precision import Precision
from gateway.adapters.line_tools.probe import Heard, Probe, one_answer
from gateway.adapters.line_tools.refusals import NoRecord, Refusals
from gateway.adapters.lines.driver import WallClock
from gateway.adapters.meter_links.dlt645_link import Password
from protocols.bcd import encode_digits
from protocols.dlt645.codes import CONTROL, READ_NEXT_1997
from protocols.dlt645.frames import Dialect, Frame, encode
from protocols.dlt645.master import Action, Control, ControlAnswer, Read, ReadAnswer, RelayState, order_bytes, relay_state
from protocols.dlt645.question import credentials
from protocols.dlt645.values import decode_clock
from protocols.errors import Malformed, Refused
from protocols.exchange import Done, Exchange, Send

T = TypeVar("T")

READ_TRIES = 3
SILENT_MS = 1_200
"""A meter that may answer must do so within 500 ms; twice that and it stays silent."""

VALID_MIN = 10
"""Minutes that an order may be obeyed, by the meter's own clock."""

ENERGY = {Dialect.V2007: "00010000", Dialect.V1997: "9010"}
CLOCK = {Dialect.V2007: ("04000101", "04000102"), Dialect.V1997: ("C010", "C011")}
STATUS_3 = "04000503"
PASSWORD = "password"


@dataclass(frozen=True, slots=True)
class Options:
    """What the tester allows. customer: 12 digits, for the wallet; wait_s: for what a meter does later."""

    lockout: bool = False
    wallet: bool = False
    long: bool = False
    customer: str | None = None
    operator: str = "00000000"
    wait_s: float = 15.0

    def allows(self, opt_in: str | None) -> bool:
        """Whether a case of this opt-in may run."""
        return opt_in is None or {"lockout": self.lockout, "wallet": self.wallet, "long": self.long}[opt_in]


@dataclass(slots=True)
class Subject:
    """One meter, its line and what is known of it. password: None where none was given.

    module: makes the MACs of the wallet. refusals: the record that keeps us below a lock.
    """

    probe: Probe
    address: str
    dialect: Dialect
    precision: Precision
    clock: WallClock
    refusals: Refusals
    options: Options = field(default_factory=Options)
    password: Password | None = None
    module: Crypto | None = None
    heard: list[Heard] = field(default_factory=list)
    longest: int = 0
    proven: bool = False
    """The meter has taken the password."""

    distrusted: bool = False
    """It refused the password before it ever took it."""

    sealed_only: bool = False
    """It took the password, but not for what State Grid's meters want sealed."""

    @property
    def energy(self) -> str:
        """The identifier that every meter of this dialect can tell."""
        return ENERGY[self.dialect]

    def question(self, address: str | None = None, preamble: int = 4) -> bytes:
        """A right question to this meter, or to another address."""
        return Read(address or self.address, self.energy, preamble).start()

    def follow_up_97(self, di: str) -> bytes:
        """1997's question for what follows."""
        return encode(Frame(self.address, READ_NEXT_1997, encode_digits(di)))

    async def ask(self, question: bytes, *, alone: bool = True, first_ms: int = 600) -> Heard:
        """Say these bytes. alone: no more than one answer is awaited."""
        heard = await self.probe.ask(question, first_ms=first_ms, until=one_answer if alone else None)
        self.keep(heard)
        return heard

    def keep(self, heard: Heard) -> None:
        """Remember an answer's time and length."""
        own = [frame for frame in heard.answers() if frame.address == self.address]
        self.longest = max([self.longest, *(len(frame.data) for frame in own)])
        if own:
            self.heard.append(heard)

    async def silence(self, question: bytes, what: str) -> None:
        """Nothing may come back, and a right question is answered afterwards: a dead meter is silent too. Raises Broken."""
        heard = await self.ask(question, alone=False, first_ms=SILENT_MS)
        if not heard.silent:
            raise Broken(f"{len(heard.data)} bytes came back to {what}: {heard.data.hex().upper()}")
        await self.alive()

    async def alive(self) -> ReadAnswer:
        """A right question is answered as ever. Raises Broken."""
        return await self.read(self.energy)

    async def read(self, di: str) -> ReadAnswer:
        """Raises Refused, and Broken when no right answer comes."""
        return await self.run(lambda: Read(self.address, di), READ_TRIES)

    async def known(self, di: str) -> ReadAnswer | None:
        """None where the meter does not have it."""
        try:
            return await self.read(di)
        except Refused:
            return None

    async def run(self, make: Callable[[], Exchange[T]], tries: int = 1) -> T:
        """An exchange to its end. Raises Refused, and Broken when no right answer comes."""
        for left in range(tries - 1, -1, -1):
            try:
                return await self._once(make())
            except (Malformed, Broken) as error:
                if not left:
                    raise Broken(str(error)) from None
        raise ValueError("an exchange is tried at least once")

    async def _once(self, exchange: Exchange[T]) -> T:
        question = exchange.start()
        while True:
            heard = await self.ask(question)
            step = exchange.feed(heard.data)
            if isinstance(step, Done):
                return step.result
            if not isinstance(step, Send):
                raise Broken(f"no answer to {question.lstrip(bytes([0xFE])).hex().upper()}" if heard.silent else "a garbled answer")
            question = step.data

    # -- orders

    async def control(self, action: Action, expiry: datetime | None = None, n2: int = 0) -> ControlAnswer:
        """An order with the right password, valid for ten minutes unless told. Raises Refused, Broken, NotRun."""
        password = self.right_password()
        until = expiry if expiry is not None else await self.meter_time() + timedelta(minutes=VALID_MIN)
        order = order_bytes(action, until, n2)
        return await self.ordered(self.order_frame(password.digits, order))

    async def ordered(self, frame: bytes, deliberate: bool = False) -> ControlAnswer:
        """The answer to an order. Raises Refused, Broken, NotRun.

        deliberate: its password is wrong, which is counted before the meter hears it; an unawaited refusal when it is heard.
        """
        if deliberate or not self.proven:
            self.may_be_refused()
        if deliberate:
            self.refused_once()
        elif self.distrusted:
            raise NotRun("the meter has refused the password that was given")
        heard = await self.ask(frame)
        for answer in heard.answers():
            if answer.address == self.address and answer.function == CONTROL:
                return self._judged(answer, counted=deliberate)
        raise Broken("no answer to the order" if heard.silent else "a garbled answer to the order")

    def order_frame(self, digits: str, order: bytes) -> bytes:
        """1C in plain text with these N1 to N8."""
        password = self.right_password()
        level = 2 if password.level is None else password.level
        return encode(Frame(self.address, CONTROL, credentials(level, digits, self.options.operator) + order))

    def right_password(self) -> Password:
        """Raises NotRun where none was given."""
        if self.password is None:
            raise NotRun("no password was given (--passwords FILE)")
        return self.password

    def left(self) -> int:
        """How many refused passwords the meter may still see today. Raises NotRun where that cannot be known."""
        try:
            return self.refusals.left(self.address, self.clock.now_ms())
        except NoRecord as error:
            raise NotRun(str(error)) from None

    def may_be_refused(self) -> None:
        """Raises NotRun where one more refusal could lock the meter, unless the tester wants that."""
        if self.left() == 0 and not self.options.lockout:
            raise NotRun("this meter refused two passwords or MACs within a day; a third could lock it")

    def refused_once(self) -> None:
        """Raises NotRun where it cannot be recorded."""
        try:
            self.refusals.note(self.address, self.clock.now_ms())
        except NoRecord as error:
            raise NotRun(str(error)) from None

    def _judged(self, answer: Frame, counted: bool) -> ControlAnswer:
        exchange = Control(self.address, Action.ALARM_OFF, None)
        try:
            step = exchange.feed(encode(answer, 0))
        except Refused as refused:
            if not counted and any(PASSWORD in flag for flag in refused.flags):
                self.distrusted = not self.proven
                self.refused_once()
            raise
        except Malformed as error:
            raise Broken(str(error)) from None
        if not isinstance(step, Done):
            raise Broken("a garbled answer to the order")
        self.proven = self.proven or not counted
        return step.result

    # -- state

    async def relay(self) -> RelayState:
        """Status word 3. Raises NotRun where the meter does not have it."""
        answer = await self.known(STATUS_3)
        if answer is None:
            raise NotRun("the meter has no status word 3 (04000503)")
        try:
            return relay_state(answer.data)
        except Malformed as error:
            raise Broken(str(error)) from None

    async def relay_becomes(self, wanted: Callable[[RelayState], bool], what: str, wait_s: float | None = None) -> float:
        """How many seconds until status word 3 shows it. Raises Broken."""
        loop = asyncio.get_running_loop()
        begun, wait_s = loop.time(), self.options.wait_s if wait_s is None else wait_s
        while not wanted(await self.relay()):
            if loop.time() - begun > wait_s:
                raise Broken(f"{what} is not seen in status word 3 within {wait_s:g} s")
            await asyncio.sleep(0.2)
        return loop.time() - begun

    async def meter_time(self) -> datetime:
        """The meter's own clock. Raises NotRun where it has none that can be read."""
        items = CLOCK[self.dialect]
        for _ in range(2):  # between date and time midnight may pass
            date, time = await self.known(items[0]), await self.known(items[1])
            if date is None or time is None:
                raise NotRun(f"the meter's clock cannot be read ({items[0]}, {items[1]})")
            local = decode_clock(date.data, time.data)
            if local is not None and (local.hour, local.minute) != (0, 0):
                break
        if local is None:
            raise NotRun("the meter's clock holds no date")
        return local
