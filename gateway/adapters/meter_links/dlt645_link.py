"""A DL/T 645 meter behind a driver: reads by identifier, switches by control 1C, reads the relay back in status word 3."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from gateway.adapters.lines.driver import FIRST_BYTE_MS, GAP_MS, Driver, NoAnswer, Timed, WallClock
from gateway.adapters.lines.transport import LineDown
from gateway.adapters.meter_links.outcomes import Asker, NotSent, Turns, Unfit, never_raises, power_w, reading
from gateway.domain.jobs import Answered, ClockJob, Group, Job, ReadbackJob, ReadJob, SwitchJob
from gateway.domain.meters import Contact
from gateway.domain.supply import SwitchReading, Verb
from protocols.dlt645.master import Action, BroadcastTime, Control, Read, ReadAnswer, relay_state
from protocols.dlt645.values import decode_clock
from protocols.errors import Malformed, ProtocolError, Refused, RequestError
from protocols.profiles import InternalSwitch, MeterProfile, ProfileError
from protocols.quantities import Measurement

OFFSET_FRESH_S = 3600
"""A meter's clock is compared with ours at most so long before a command's expiry is computed from it (prepayment.md 5, F3)."""

REFUSED_PASSWORDS = 2
REFUSED_WITHIN_S = 24 * 3600
"""At most two refused passwords per meter and day: a third could lock the meter (prepayment.md 9)."""

ACTIONS = {Verb.CUT: Action.CUT, Verb.RESTORE: Action.CLOSE, Verb.ALLOW_CLOSE: Action.ALLOW_CLOSE}
POWER = "0203"
NO_DATA = "no requested data"
NO_BLOCK = 3
"""Refusals of a block in a row after which a meter has none: one may be a busy moment, and would hold the bill until a restart."""

_PASSWORD = "password"
_EPOCH = datetime(1970, 1, 1)


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
    """One meter. address: 1 to 12 digits. password_class: another than the profile's. operator: 8 digits."""

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
    ) -> None:
        if profile.dlt645 is None:
            raise ProfileError(f"profile {profile.name} is {profile.protocol} and cannot be used for a DL/T 645 meter")
        self._reads, self._switches = profile.dlt645, isinstance(profile.switch, InternalSwitch)
        self._meter, self._address = meter, address.zfill(12)
        self._clock, self._passwords, self._operator = clock, passwords, operator
        self._password_class = password_class or self._reads.password_class
        self._asker = Asker(driver, gap_ms=gap_ms, first_byte_timeout_ms=first_byte_timeout_ms)
        self._billing = list(self._reads.billing)
        self._instant = Turns(self._reads.instant, lambda di: di.startswith(POWER))
        self._no_block = 0
        self._offset: tuple[float, int] | None = None
        self._refused_at: list[float] = []

    @never_raises
    async def perform(self, job: Job) -> Answered:
        """Do this job: a read is one exchange, a read-back relay and load; before an order the meter's clock is read if need be."""
        match job:
            case ReadJob(group=Group.BILLING):
                return Answered(reading(self._meter, [await self._bill(n) for n in range(len(self._billing))]))
            case ReadJob(group=Group.INSTANT) if self._instant:
                answer = await self._read(self._instant.current)
                self._instant.advance()
                return Answered(reading(self._meter, [_items(answer)]))
            case ReadJob(group=Group.SWITCH) if self._switches:
                answer = await self._read(self._reads.status[0])
                return Answered(reading(self._meter, [_items(answer)]), _switch(answer, None))
            case ReadbackJob() if self._switches:
                answer = await self._read(self._reads.status[0])
                load = await self._load()
                shown = None if load is None else reading(self._meter, [load])
                return Answered(shown, _switch(answer, None if load is None else power_w(load.value)))
            case SwitchJob() if self._switches:
                await self._order(job)
                return Answered()
            case SwitchJob():
                raise Unfit(f"meter {self._meter} has no switch in its profile")
        raise RequestError(f"the profile of meter {self._meter} has nothing for this job")

    async def _read(self, di: str) -> Timed[ReadAnswer]:
        return await self._asker.once(Read(self._address, di, self._reads.preamble))

    async def _bill(self, n: int) -> Timed[Sequence[Measurement]]:
        """A register block, or its total alone where the meter refuses the block; when it always does, that is remembered."""
        di = self._billing[n]
        try:
            answer = _items(await self._read(di))
            self._no_block = 0
            return answer
        except Refused as refused:
            total = _total_of(di)
            if total is None or NO_DATA not in refused.flags:
                raise
            answer = _items(await self._read(total))
            self._no_block += 1
            if self._no_block >= NO_BLOCK:
                self._billing[n] = total
            return answer

    async def _load(self) -> Timed[Sequence[Measurement]] | None:
        """The power, None when the meter does not tell: the relay's word stands without it."""
        power = next((di for di in self._reads.instant if di.startswith(POWER)), None)
        try:
            return None if power is None else _items(await self._read(power))
        except (NoAnswer, ProtocolError):
            return None

    async def _order(self, job: SwitchJob) -> None:
        """Send the control frame, once. Raises Unfit or NotSent when it was not."""
        now = asyncio.get_running_loop().time()
        self._refused_at = [at for at in self._refused_at if now - at < REFUSED_WITHIN_S]
        if len(self._refused_at) >= REFUSED_PASSWORDS:
            raise Unfit(f"not sent: meter {self._meter} refused the password {self._password_class} twice within a day")
        try:
            password = self._passwords.password(self._password_class)
        except LookupError:
            raise Unfit(f"not sent: there is no password class {self._password_class}") from None
        expiry = _EPOCH + timedelta(seconds=(job.expires_ms + await self._clock_offset_ms()) // 1000)
        level = self._reads.authority if password.level is None else password.level
        control = Control(
            self._address, ACTIONS[job.verb], expiry, level, password.digits, self._operator, preamble=self._reads.preamble
        )
        try:
            await self._asker.once(control)
        except Refused as refused:
            if any(_PASSWORD in flag for flag in refused.flags):
                self._refused_at.append(asyncio.get_running_loop().time())
            self._offset = None  # an expiry that the meter thinks passed is refused too: look at its clock again
            raise

    async def _clock_offset_ms(self) -> int:
        """The meter's local clock minus our UTC, measured within the last hour. Raises NotSent."""
        now = asyncio.get_running_loop().time()
        if self._offset is None or now - self._offset[0] > OFFSET_FRESH_S:
            try:
                self._offset = (now, await self._measure_clock_ms())
            except (LineDown, NoAnswer, ProtocolError) as error:
                raise NotSent("not sent, the meter's clock could not be read") from error
        return self._offset[1]

    async def _measure_clock_ms(self) -> int:
        parts = [await self._clock_part(di) for di in self._reads.clock]
        if len(parts) == 1:  # 0400010C: both in one
            local = decode_clock(parts[0].value.data[3:], parts[0].value.data[:3])
        else:
            local = decode_clock(parts[0].value.data, parts[1].value.data)
            if local is not None and (local.hour, local.minute) == (0, 0):  # the date may be yesterday's
                local = decode_clock((await self._clock_part(self._reads.clock[0])).value.data, parts[1].value.data)
        if local is None:
            raise Malformed("the clock holds no date")
        return (local - _EPOCH) // timedelta(milliseconds=1) - parts[-1].answered_ms

    async def _clock_part(self, di: str) -> Timed[ReadAnswer]:
        return await self._asker.read(lambda: Read(self._address, di, self._reads.preamble))


class ClockBroadcast:
    """Tells a line's meters the time of their zone; each obeys once a day within five minutes of its own (dlt645.md 3, code 08)."""

    def __init__(self, driver: Driver, zone: str, *, clock: WallClock) -> None:
        self._asker, self._zone, self._clock = Asker(driver), ZoneInfo(zone), clock

    @never_raises
    async def perform(self, job: Job) -> Answered:
        """Send it, but never near the full hour, when meters freeze their registers."""
        local = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC).astimezone(self._zone).replace(tzinfo=None)
        if not isinstance(job, ClockJob):
            raise RequestError("only the clock is broadcast")
        if not 5 <= local.minute < 55:
            raise RequestError("the clock is not set within five minutes of a full hour")
        await self._asker.once(BroadcastTime(local))
        return Answered()


def _items(answer: Timed[ReadAnswer]) -> Timed[Sequence[Measurement]]:
    return Timed(answer.value.items, answer.asked_ms, answer.answered_ms)


def _switch(answer: Timed[ReadAnswer], load_w: int | None) -> SwitchReading:
    """Open with the order to close means that the customer's button is awaited."""
    state = relay_state(answer.value.data)
    contact = Contact.CLOSED if not state.relay_open else Contact.OPEN if state.command_open else Contact.ALLOWED
    return SwitchReading(contact, "relay_bit", answer.answered_ms, load_w)


def _total_of(di: str) -> str | None:
    """The identifier of a register block's total alone; None when it is no block."""
    if len(di) == 8 and di[4:6] == "FF":
        return f"{di[:4]}00{di[6:]}"
    return f"{di[:3]}0" if len(di) == 4 and di[3] == "F" else None
