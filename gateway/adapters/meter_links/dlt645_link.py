"""A DL/T 645 meter behind a driver: reads by identifier, switches by control 1C, reads the relay back in status word 3."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from gateway.adapters.crypto_service import Crypto
from gateway.adapters.lines.driver import FIRST_BYTE_MS, GAP_MS, Driver, Garbled, NoAnswer, Timed, WallClock
from gateway.adapters.lines.manner import MannerState
from gateway.adapters.meter_links.dlt645_clock import Dlt645Clock
from gateway.adapters.meter_links.dlt645_control import ACTIONS, look_at_signs
from gateway.adapters.meter_links.dlt645_guard import TripGuard
from gateway.adapters.meter_links.dlt645_history import Dlt645History
from gateway.adapters.meter_links.dlt645_parameters import read_parameters, write_parameter
from gateway.adapters.meter_links.dlt645_wallet import Dlt645Wallet
from gateway.adapters.meter_links.outcomes import LOAD_TRIES, Asker, Turns, Unfit, never_raises, power_w, reading
from gateway.domain.jobs import (
    Answered,
    ClockReadJob,
    ClockSeen,
    ClockSetJob,
    ControlJob,
    ControlReadJob,
    Group,
    HistoryJob,
    Job,
    ParameterReadJob,
    ParameterWriteJob,
    ReadbackJob,
    ReadJob,
    SwitchJob,
    WalletReadJob,
    WalletWriteJob,
)
from gateway.domain.meters import Contact
from gateway.domain.readings import Reading
from gateway.domain.supply import SwitchReading
from protocols.dlt645.master import Control, Read, ReadAnswer, Write, relay_state
from protocols.errors import Malformed, ProtocolError, Refused, RequestError
from protocols.exchange import Exchange
from protocols.profiles import InternalSwitch, MeterProfile, ProfileError
from protocols.quantities import Measurement

REFUSED_PASSWORDS = 2
REFUSED_WITHIN_S = 24 * 3600
"""At most two refused passwords per meter and day: a third could lock the meter (prepayment.md 9)."""

POWER = "0203"
CONTROLLED = "dlt645-2007"
"""The protocol that has control 1C."""
FIRST_OF = {f"02{n:02}": "00" if 3 <= n <= 6 else "01" for n in range(1, 10)}
"""How the blocks of instantaneous values begin: powers and their factors with a total, others with phase A (dlt645.md 8.3)."""

NO_DATA = "no requested data"
PAST = ("03", "05", "06")
"""Events, freezes and load profile: what a meter has to look for."""

_PASSWORD = "password"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Password:
    """6 digits, and the authority level they have (0 to 9) where it differs from the profile's."""

    digits: str
    level: int | None = None

    def __repr__(self) -> str:
        return "Password(******)"


class PasswordBook(Protocol):
    """Meter passwords by the name of their class."""

    def password(self, name: str) -> Password:
        """LookupError when there is no such class."""


class Dlt645Link:
    """One meter. address: 1 to 12 digits. password_class: another than the profile's. operator: 8 digits. zone: of its clock.

    crypto: makes the MACs of its wallet; None where none is configured.
    """

    def __init__(
        self,
        driver: Driver,
        meter: str,
        address: str,
        profile: MeterProfile,
        *,
        clock: WallClock,
        passwords: PasswordBook,
        password_class: str | None = None,
        operator: str = "00000000",
        gap_ms: int = GAP_MS,
        first_byte_timeout_ms: int = FIRST_BYTE_MS,
        zone: str = "Asia/Shanghai",
        crypto: Crypto | None = None,
    ) -> None:
        if profile.dlt645 is None:
            raise ProfileError(f"profile {profile.name} is {profile.protocol} and cannot be used for a DL/T 645 meter")
        self._reads, self._switches = profile.dlt645, isinstance(profile.switch, InternalSwitch)
        self._spoken = profile.protocol
        self._meter, self._address = meter, address.zfill(12)
        self._clock, self._passwords, self._operator = clock, passwords, operator
        self._password_class = password_class or self._reads.password_class
        self._asker = Asker(driver, gap_ms=gap_ms, first_byte_timeout_ms=first_byte_timeout_ms, preamble=self._reads.preamble)
        self._instant = Turns(self._reads.instant, lambda di: di.startswith(POWER))
        self._meter_clock = Dlt645Clock(self._asker, self._address, self._reads.clock, self._reads.preamble, zone, clock)
        self._refused_at: list[float] = []
        self._guard = TripGuard(self._read, clock.now_ms)
        self._history = Dlt645History(meter, profile, zone, clock=clock, ask=self._read, live=self._bill)
        form, preamble = profile.wallet, self._reads.preamble
        self._wallet = (
            None if form is None
            else Dlt645Wallet(self._asker, self._address, form, crypto, self._read, self._bill, operator, preamble)
        )  # fmt: skip

    @property
    def clock_seen(self) -> ClockSeen | None:
        """How far off the meter's clock was, by a look of the last hour."""
        return self._meter_clock.seen

    @property
    def manner(self) -> MannerState:
        """What the meter has shown of itself."""
        return self._asker.manner.state()

    @never_raises
    async def perform(self, job: Job) -> Answered:
        """Do this job: a read is one exchange, a read-back relay and load; before an order the meter's clock is read if need be."""
        match job:
            case ReadJob(group=Group.BILLING):
                return Answered(await self._bill())
            case HistoryJob():
                return await self._history.perform(job)
            case ReadJob(group=Group.INSTANT) if self._instant:
                values = await self._values(self._instant.current)
                self._instant.advance()
                return Answered(reading(self._meter, [values]))
            case ReadJob(group=Group.SWITCH) if self._switches:
                answer = await self._read(self._reads.status[0])
                return Answered(reading(self._meter, [_items(answer)]), _switch(answer, None))
            case ControlReadJob():
                return Answered(signs=await look_at_signs(self._reads.status, self._reads.signs, self._read, self._clock.now_ms))
            case ControlJob() if self._spoken == CONTROLLED:
                await self._order(job)
                return Answered()
            case ControlJob():
                raise Unfit(f"meter {self._meter} speaks {self._spoken}, which has no order for it: {job.verb}")
            case ReadbackJob() if self._switches:
                answer = await self._read(self._reads.status[0])
                load = await self._load()
                shown = None if load is None else reading(self._meter, [load])
                return Answered(shown, await self._guard.explain(_switch(answer, None if load is None else power_w(load.value))))
            case SwitchJob() if self._switches:
                await self._order(job)
                self._guard.ordered(job.verb)
                return Answered()
            case ClockReadJob():
                return Answered(clock=await self._meter_clock.look())
            case ClockSetJob():
                return Answered(clock=await self._meter_clock.correct(self._write))
            case WalletReadJob() if self._wallet is not None:
                return Answered(wallet=await self._wallet.look(job))
            case WalletWriteJob() if self._wallet is not None:
                await self._wallet.write(job)
                return Answered()
            case WalletReadJob() | WalletWriteJob():
                raise Unfit(f"meter {self._meter} has no wallet in its profile")
            case ParameterReadJob():
                return await read_parameters(job, self._read)
            case ParameterWriteJob():
                return await write_parameter(job, self._write)
            case SwitchJob():
                raise Unfit(f"meter {self._meter} has no switch in its profile")
        raise RequestError(f"the profile of meter {self._meter} has nothing for this job")

    async def _read(self, di: str, *, count: int | None = None, when: datetime | None = None) -> Timed[ReadAnswer]:
        return await self._asker.poll(
            lambda preamble: Read(self._address, di, preamble, count=count, when=when),
            lambda answer: len(answer.data),
            routine=not di.startswith(PAST),
        )

    async def _bill(self) -> Reading:
        return reading(self._meter, [await self._values(di) for di in self._reads.billing])

    async def _values(self, di: str) -> Timed[Sequence[Measurement]]:
        """What this identifier stands for; of a block its first value alone where the meter has none, or the line garbles it."""
        single = _single_of(di)
        if single is None:
            return _items(await self._read(di))
        block = self._asker.manner.block(di)
        whole = block.whole
        try:
            answer = await self._read(di if whole else single)
        except Refused as refused:
            if not whole or NO_DATA not in refused.flags:
                raise
            answer = await self._read(single)
            block.refused()
            return _items(answer)
        except (Garbled, Malformed):
            block.garbled(whole)
            raise
        block.came(whole)
        return _items(answer)

    async def _load(self) -> Timed[Sequence[Measurement]] | None:
        """The power, None when the meter does not tell: the relay's word stands without it."""
        power = next((di for di in self._reads.instant if di.startswith(POWER)), None)
        if power is None:
            return None
        for _ in range(LOAD_TRIES):
            try:
                return await self._values(power)
            except (NoAnswer, Malformed):
                continue
            except ProtocolError:
                break
        return None

    async def _order(self, job: SwitchJob) -> None:
        """Send the control frame, once. Raises Unfit or NotSent when it was not."""
        level, digits = self._credentials()
        expiry = await self._meter_clock.expiry(job.expires_ms)
        action, preamble = ACTIONS[job.verb], self._reads.preamble
        try:
            order = Control(self._address, action, expiry, level, digits, self._operator, preamble=preamble)
            await self._guarded(order, job.expires_ms)
        except Refused:
            self._meter_clock.forget()  # an expiry that the meter thinks passed is refused too: look at its clock again
            raise

    async def _write(self, di: str, data: bytes) -> None:
        """Write a parameter, once. Raises Unfit when it was not sent."""
        level, digits = self._credentials()
        await self._guarded(Write(self._address, di, data, level, digits, self._operator, self._reads.preamble))

    def _credentials(self) -> tuple[int, str]:
        """Level and digits of the meter's password. Raises Unfit where there is none, or it was refused twice within a day."""
        now = asyncio.get_running_loop().time()
        self._refused_at = [at for at in self._refused_at if now - at < REFUSED_WITHIN_S]
        if len(self._refused_at) >= REFUSED_PASSWORDS:
            raise Unfit(f"not sent: meter {self._meter} refused the password {self._password_class} twice within a day")
        try:
            password = self._passwords.password(self._password_class)
        except LookupError:
            raise Unfit(f"not sent: there is no password class {self._password_class}") from None
        return self._reads.authority if password.level is None else password.level, password.digits

    async def _guarded(self, exchange: Exchange[T], until_ms: int | None = None) -> None:
        """Send what needs a password, once, and count a refusal of it. until_ms: UTC, from when on it is not sent."""
        try:
            await self._asker.once(exchange, until_ms)
        except Refused as refused:
            if any(_PASSWORD in flag for flag in refused.flags):
                self._refused_at.append(asyncio.get_running_loop().time())
            raise


def _items(answer: Timed[ReadAnswer]) -> Timed[Sequence[Measurement]]:
    return Timed(answer.value.items, answer.asked_ms, answer.answered_ms)


def _switch(answer: Timed[ReadAnswer], load_w: int | None) -> SwitchReading:
    """Open with the order to close means that the customer's button is awaited."""
    state = relay_state(answer.value.data)
    contact = Contact.CLOSED if not state.relay_open else Contact.OPEN if state.command_open else Contact.ALLOWED
    return SwitchReading(contact, "relay_bit", answer.answered_ms, load_w)


def _single_of(di: str) -> str | None:
    """The identifier of a block's total, or first phase, alone; None when it is no block with one (dlt645.md 8, 9)."""
    if len(di) == 4:
        return f"{di[:3]}0" if di[0] == "9" and di[3] == "F" else None
    first = "00" if di.startswith("00") else FIRST_OF.get(di[:4])
    return None if first is None or di[4:6] != "FF" else f"{di[:4]}{first}{di[6:]}"
