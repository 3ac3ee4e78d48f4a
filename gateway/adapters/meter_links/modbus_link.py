"""A Modbus meter or relay module behind a driver: block reads by profile, switches by register or coil, and what a look proves."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from gateway.adapters.lines.driver import FIRST_BYTE_MS, GAP_MS, Driver, NoAnswer, Timed, WallClock
from gateway.adapters.lines.manner import MannerState
from gateway.adapters.meter_links.outcomes import LOAD_TRIES, Asker, Turns, Unfit, never_raises, power_w, reading
from gateway.adapters.meter_links.sections import Answers, Section, Shape
from gateway.domain.jobs import Answered, ControlJob, Group, HistoryJob, Job, ReadbackJob, ReadJob, SwitchJob, Want
from gateway.domain.meters import Contact
from gateway.domain.supply import STARTING_POWER_W, SwitchReading, Verb
from protocols.errors import Malformed, ProtocolError, RequestError
from protocols.exchange import Exchange
from protocols.modbus.frames import Framing
from protocols.modbus.master import ReadBits, ReadRegisters, WriteCoil, WriteRegister, WriteRegisters
from protocols.profiles import BlockRead, BlockSwitch, CoilSwitch, MeterProfile, ProfileError, RegisterSwitch, plan_reads
from protocols.quantities import Measurement

T = TypeVar("T")
Switch = RegisterSwitch | BlockSwitch | CoilSwitch

RTU_SILENCE = 3.5
"""Characters of silence in front of a frame, also behind a DL/T 645 answer (Serial Line V1.02, 2.5.1.1)."""


class ModbusLink:
    """One unit: a meter, a meter with its own relay, or one channel of a relay module. framing: rtu on a serial line, else tcp."""

    def __init__(
        self,
        driver: Driver,
        meter: str,
        unit: int,
        profile: MeterProfile,
        *,
        clock: WallClock,
        framing: Framing = "rtu",
        channel: int = 0,
        gap_ms: int = GAP_MS,
        first_byte_timeout_ms: int = FIRST_BYTE_MS,
    ) -> None:
        if profile.protocol != "modbus":
            raise ProfileError(f"profile {profile.name} is {profile.protocol} and cannot be used for a Modbus device")
        self._meter, self._unit, self._framing, self._clock = meter, unit, framing, clock
        lead_chars = RTU_SILENCE if framing == "rtu" else 0.0
        self._asker = Asker(driver, gap_ms=gap_ms, first_byte_timeout_ms=first_byte_timeout_ms, lead_chars=lead_chars)
        energies = [q for q in profile.quantities if q.startswith("energy_")]
        others = [q for q in profile.quantities if q not in energies]
        self._billing = self._sections(profile, energies)
        self._instant = Turns(self._sections(profile, others), _tells_power)
        self._power = next(iter(self._sections(profile, ["power"])), None) if "power" in others else None
        self._unanswered: set[Shape] = set()
        self._switch = _channel(profile, channel)
        self._ordered_closed: bool | None = None
        self._flowed = False

    @property
    def manner(self) -> MannerState:
        """What the device has shown of itself."""
        return self._asker.manner.state()

    @never_raises
    async def perform(self, job: Job) -> Answered:
        """Do this job: one block for a read, switch and load for a read-back."""
        match job:
            case ReadJob(group=Group.BILLING) | HistoryJob(want=Want.DAY | Want.MONTH) if self._billing:  # it keeps no past itself
                return Answered(reading(self._meter, await self._read(self._billing, vary=True)))
            case ReadJob(group=Group.INSTANT) if self._instant:
                answers = await self._read([self._instant.current])
                self._instant.advance()
                return Answered(reading(self._meter, answers))
            case ControlJob():
                raise Unfit(f"meter {self._meter} has no register by which it could be told: {job.verb}")
            case ReadJob(group=Group.SWITCH) | ReadbackJob() if self._switch is not None:
                return Answered(switch=await self._look(self._switch))
            case SwitchJob() if self._switch is not None:
                return Answered(switch=await self._order(self._switch, job))
            case SwitchJob():
                raise Unfit(f"meter {self._meter} has no switch in its profile")
        raise RequestError(f"the profile of meter {self._meter} has nothing for this job")

    def _sections(self, profile: MeterProfile, quantities: Collection[str]) -> list[Section]:
        if profile.modbus is None or not quantities:
            return []
        blocks, alike = plan_reads(profile, quantities), self._framing == "rtu"
        return [Section(block, profile.modbus, self._asker.manner, alike=alike) for block in blocks]

    async def _read(self, sections: Collection[Section], *, vary: bool = False) -> Answers:
        return [answer for section in sections for answer in await section.read(self._block, self._unanswered, vary=vary)]

    async def _block(self, block: BlockRead) -> Timed[Sequence[Measurement]]:
        words = await self._words(block.function, block.address, block.count)
        return Timed(block.decode(words.value), words.asked_ms, words.answered_ms)

    async def _poll(self, shape: Shape, question: Callable[[], Exchange[T]], size: int) -> Timed[T]:
        """One routine read. What stays unanswered is remembered by its shape until something is answered."""
        try:
            answer = await self._asker.poll(lambda _: question(), lambda _: size)
        except NoAnswer:
            self._unanswered.add(shape)
            raise
        self._unanswered.clear()
        return answer

    async def _order(self, switch: Switch, job: SwitchJob) -> SwitchReading | None:
        """Write the order, once. Gives the load that flowed in front of it. Raises Unfit when this kind of switch cannot do it.

        The frame has no room for an expiry: that it leaves before it is all that there is.
        """
        if job.verb is Verb.ALLOW_CLOSE:
            raise Unfit(f"the switch of meter {self._meter} has no button to wait for; it can only be closed outright")
        closed = job.verb is Verb.RESTORE
        number, unit = self._number(), self._unit
        exchange: Exchange[None]
        if isinstance(switch, CoilSwitch):
            exchange = WriteCoil(unit, switch.address, switch.order(closed), self._framing, number)
        elif switch.function == 6:
            exchange = WriteRegister(unit, switch.address, switch.words(closed)[0], self._framing, number)
        else:
            exchange = WriteRegisters(unit, switch.address, switch.words(closed), self._framing, number)
        before = None
        if not (isinstance(switch, CoilSwitch) and switch.feedback):
            before_w = await self._load()
            self._flowed = before_w is not None and before_w > STARTING_POWER_W
            before = SwitchReading(Contact.CLOSED, "load", self._clock.now_ms(), before_w) if self._flowed else None
        self._ordered_closed = closed
        await self._asker.once(exchange, job.expires_ms)
        return before

    async def _look(self, switch: Switch) -> SwitchReading:
        """The switch as far as it can be known. Without a contact of its own only the load, or a contradiction, proves anything."""
        if isinstance(switch, CoilSwitch) and (back := switch.feedback):
            bit = await self._bit(back.function, back.address)
            return SwitchReading(_contact(back.is_closed(bit.value[0])), "feedback", bit.answered_ms, await self._load())
        closed, at_ms = await self._ordered(switch)
        load_w = await self._load()
        if closed is None:  # it goes by its own balance, as a prepaid meter that nobody has forced yet
            flows = load_w is not None and load_w > STARTING_POWER_W
            return SwitchReading(Contact.CLOSED if flows else Contact.UNKNOWN, "load" if flows else "relay_bit", at_ms, load_w)
        if self._ordered_closed not in (None, closed):
            return SwitchReading(_contact(closed), "relay_bit", at_ms, load_w)
        return SwitchReading(_contact(closed), "load" if self._proves(closed, load_w) else "command_only", at_ms, load_w)

    def _proves(self, closed: bool, load_w: int | None) -> bool:
        """Whether the load tells where the contact is: it flows, or it flowed before the order to open and no longer does."""
        if load_w is None:
            return False
        return load_w > STARTING_POWER_W or (not closed and self._flowed)

    async def _ordered(self, switch: Switch) -> tuple[bool | None, int]:
        """What the device says it was last told, and when it said so; None where its registers are neither order."""
        if isinstance(switch, CoilSwitch):
            bit = await self._bit(1, switch.address)
            return bit.value[0] != switch.inverted, bit.answered_ms
        words = await self._words(switch.read_function, switch.read_address, switch.read_count)
        return switch.told(words.value), words.answered_ms

    async def _load(self) -> int | None:
        """The load in W, None when the device does not tell."""
        if self._power is None:
            return None
        for _ in range(LOAD_TRIES):
            try:
                return power_w((await self._read([self._power]))[0].value)
            except (NoAnswer, Malformed):
                continue
            except ProtocolError:
                break
        return None

    def _registers(self, function: int, address: int, count: int) -> ReadRegisters:
        return ReadRegisters(self._unit, function, address, count, self._framing, self._number())

    async def _words(self, function: int, address: int, count: int) -> Timed[tuple[int, ...]]:
        return await self._poll((function, count), lambda: self._registers(function, address, count), 2 * count)

    async def _bit(self, function: int, address: int) -> Timed[tuple[bool, ...]]:
        return await self._poll((function, 1), lambda: ReadBits(self._unit, function, address, 1, self._framing, self._number()), 1)

    def _number(self) -> int:
        return self._asker.driver.next_number()


def _channel(profile: MeterProfile, channel: int) -> Switch | None:
    """The switch of this channel. Raises ValueError when the device has no such channel."""
    if isinstance(profile.switch, CoilSwitch):
        return profile.switch.channel(channel)
    return profile.switch if isinstance(profile.switch, RegisterSwitch | BlockSwitch) else None


def _tells_power(section: Section) -> bool:
    return any(register.quantity == "power" for register in section.registers)


def _contact(closed: bool) -> Contact:
    return Contact.CLOSED if closed else Contact.OPEN
