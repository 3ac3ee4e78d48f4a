"""Meter profiles as data: what to read, how the relay is moved, and frames that show it. profile_file.py parses them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from protocols.modbus.registers import RegisterType
from protocols.quantities import Measurement

Protocol = Literal["dlt645-2007", "dlt645-1997", "modbus"]
Origin = Literal["captured", "log", "published", "manual-example", "registers-captured", "inferred", "constructed", "test"]
Values = Literal["primary", "secondary"]

COUNTED: Final = ("kWh", "kvarh")  # units of counters that bills are made from
DEFAULT_SETTLE_S: Final = 4  # the status bit follows the contact by up to 3 s on common meters (contract.md section 5)
MAX_WORDS: Final = 125  # Modbus Application Protocol 6.3


class ProfileError(ValueError):
    """The profile is not what this version understands; the text is one clear sentence."""


@dataclass(frozen=True, slots=True)
class Register:
    """One quantity in registers. function: 3 holding, 4 input. address: 0-based, as on the wire.

    rollover: the value at which it starts again from 0, in its unit; None where no document says.
    """

    quantity: str
    unit: str
    function: int
    address: int
    type: RegisterType
    rollover: Decimal | None = None

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.type.words

    def measure(self, words: Sequence[int]) -> Measurement:
        """What these words say. A counter too large for its float has no value, only a coarse one: billing stops there."""
        value = self.type.decode(words)
        if self.unit in COUNTED and value is not None and self.type.coarse(words):
            return Measurement(self.quantity, None, self.unit, coarse=value)
        return Measurement(self.quantity, value, self.unit)


@dataclass(frozen=True, slots=True)
class Span:
    """Registers `first` to `last`, both included, of one function."""

    function: int
    first: int
    last: int

    @property
    def count(self) -> int:
        """How many they are."""
        return self.last - self.first + 1

    def touches(self, function: int, first: int, end: int) -> bool:
        """Whether registers `first` up to, not including, `end` share one with it."""
        return function == self.function and first <= self.last and self.first < end

    def holds(self, register: Register) -> bool:
        """Whether the register lies inside."""
        return register.function == self.function and self.first <= register.address and register.end <= self.last + 1


@dataclass(frozen=True, slots=True)
class BlockRead:
    """One request: `count` registers from `address` on, and what stands in them."""

    function: int
    address: int
    count: int
    registers: tuple[Register, ...]

    def decode(self, words: Sequence[int]) -> tuple[Measurement, ...]:
        """The measurements in these words, in the profile's order. ValueError when there are not `count` of them."""
        if len(words) != self.count:
            raise ValueError(f"the block has {self.count} words, not {len(words)}")
        return tuple(r.measure(words[r.address - self.address : r.end - self.address]) for r in self.registers)


@dataclass(frozen=True, slots=True)
class ModbusReads:
    """max_words: most registers the meter gives at once. max_gap: unwanted ones that may be read across.

    forbidden: registers that no read may touch. whole: records that are read exactly from first to last, or not at all.
    values: primary, or of the secondary side and to be multiplied by the ratios of the transformers in front of the meter.
    """

    registers: tuple[Register, ...]
    max_words: int
    max_gap: int
    confirmed: bool
    forbidden: tuple[Span, ...] = ()
    whole: tuple[Span, ...] = ()
    values: Values = "secondary"

    def record_of(self, register: Register) -> Span | None:
        """The record that the register is a part of."""
        return next((span for span in self.whole if span.holds(register)), None)


@dataclass(frozen=True, slots=True)
class Dlt645Reads:
    """Identifiers by purpose, 8 hex digits (2007) or 4 (1997), DI3 first.

    authority: the PA byte before the password. password_class: the name under which the password is kept.
    signs: what status word 3 shows of its own: `alarm` (bit 7), `protect` (bit 12). preamble: FE bytes sent before a frame.
    confirmed: by a real meter.
    """

    billing: tuple[str, ...]
    instant: tuple[str, ...]
    status: tuple[str, ...]
    clock: tuple[str, ...]
    authority: int
    password_class: str
    signs: tuple[str, ...]
    preamble: int
    confirmed: bool


@dataclass(frozen=True, slots=True)
class MeterHistory:
    """What a DL/T 645 meter keeps of its past.

    day: how many daily freezes, 0 for none. month: how many settlements. curve: the identifier of its load profile, empty for
    none; interval_min: between two records. events: counters of its own event records.
    """

    day: int
    month: int
    curve: str
    interval_min: int
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WalletForm:
    """How money gets into a meter's own wallet (dlt645.md 7): under a purchase count with MACs, or by an order number.

    refund: it can be taken out again by 070108FF. confirmed: by a real meter.
    """

    kind: Literal["counted", "ordered"]
    refund: bool
    confirmed: bool


@dataclass(frozen=True, slots=True)
class InternalSwitch:
    """The relay inside a DL/T 645 meter: moved by 1CH, read back in the status word.

    settle_s: seconds after the acknowledgement before a read-back counts. confirmed: by a real meter.
    """

    settle_s: int
    confirmed: bool
    kind: Literal["internal"] = "internal"


@dataclass(frozen=True, slots=True)
class RegisterSwitch:
    """A relay moved by writing one register (function 6 or 16) and read back in the same one (read_function 3 or 4)."""

    address: int
    closed: int
    open: int
    function: int
    read_function: int
    settle_s: int
    confirmed: bool
    kind: Literal["register"] = "register"

    @property
    def read_address(self) -> int:
        """Where it is read back."""
        return self.address

    @property
    def read_count(self) -> int:
        """How many registers are read there."""
        return 1

    def words(self, closed: bool) -> tuple[int, ...]:
        """The words to write from `address` on, in one request."""
        return (self.closed if closed else self.open,)

    def told(self, words: Sequence[int]) -> bool | None:
        """What the registers read back say was ordered; None when it is neither. ValueError unless there are `read_count`."""
        (word,) = words
        return {self.closed: True, self.open: False}.get(word)


@dataclass(frozen=True, slots=True)
class BlockSwitch:
    """A relay moved by writing registers together (function 16) and read back where they stand in a record (read_*).

    Neither pattern read back means that the meter's own rules move it now. The words repeat the order: they prove no contact.
    """

    address: int
    closed: tuple[int, ...]
    open: tuple[int, ...]
    read_function: int
    read_address: int
    read_count: int
    settle_s: int
    confirmed: bool
    kind: Literal["block"] = "block"

    @property
    def function(self) -> int:
        """The function that writes it."""
        return 16

    def words(self, closed: bool) -> tuple[int, ...]:
        """The words to write from `address` on, in one request."""
        return self.closed if closed else self.open

    def told(self, words: Sequence[int]) -> bool | None:
        """What the record read back says was ordered; None while nothing is forced. ValueError unless there are `read_count`."""
        if len(words) != self.read_count:
            raise ValueError(f"the record of the switch has {self.read_count} words, not {len(words)}")
        at = self.address - self.read_address
        return {self.closed: True, self.open: False}.get(tuple(words[at : at + len(self.closed)]))


@dataclass(frozen=True, slots=True)
class Feedback:
    """The discrete input (function 2) or coil (1) that shows the contact. inverted: 1 means open."""

    function: int
    address: int
    inverted: bool

    def is_closed(self, bit: bool) -> bool:
        return bit != self.inverted


@dataclass(frozen=True, slots=True)
class CoilSwitch:
    """A relay moved by one coil (function 5). inverted: 1 opens. Without feedback nothing proves that it moved.

    channels: how many relays the device has; channel n is at `address + n`, its feedback likewise.
    """

    address: int
    inverted: bool
    feedback: Feedback | None
    channels: int
    settle_s: int
    confirmed: bool
    kind: Literal["coil"] = "coil"

    def order(self, closed: bool) -> bool:
        """The bit to write."""
        return closed != self.inverted

    def channel(self, n: int) -> CoilSwitch:
        """The switch of channel n, from 0. ValueError when the device has no such channel."""
        if not 0 <= n < self.channels:
            raise ValueError(f"the device has channels 0 to {self.channels - 1}, not {n}")
        back = self.feedback and Feedback(self.feedback.function, self.feedback.address + n, self.feedback.inverted)
        return CoilSwitch(self.address + n, self.inverted, back, 1, self.settle_s, self.confirmed)


Switch = InternalSwitch | RegisterSwitch | BlockSwitch | CoilSwitch


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """A frame and what it means: readings (DL/T 645 answers, Modbus register answers), the bits of a Modbus bit answer, or what the
    switch is ordered (True: closed; None: nothing): the request of a write says it, else the answer, in which it is read back.

    origin: where it was seen; "constructed" was built from a register table. request: the question, without which a Modbus
    answer has no meaning; empty for DL/T 645.
    """

    origin: Origin
    request: bytes
    frame: bytes
    reads: tuple[Measurement, ...]
    bits: tuple[bool, ...]
    ordered: bool | None = None


@dataclass(frozen=True, slots=True)
class MeterProfile:
    """One meter model. Exactly one of `dlt645` and `modbus` is set; `switch` is None where the meter has none.

    unconfirmed: what no meter has confirmed, each a phrase that can end a sentence. history, wallet: None where it keeps none.
    """

    name: str
    protocol: Protocol
    notes: str
    dlt645: Dlt645Reads | None
    modbus: ModbusReads | None
    switch: Switch | None
    frames: tuple[CapturedFrame, ...]
    unconfirmed: tuple[str, ...] = ()
    history: MeterHistory | None = None
    wallet: WalletForm | None = None

    @property
    def quantities(self) -> tuple[str, ...]:
        """What a Modbus profile can read, in its order; empty for DL/T 645, whose identifiers carry their own names."""
        return tuple(r.quantity for r in self.modbus.registers) if self.modbus else ()


def plan_reads(profile: MeterProfile, quantities: Collection[str] | None = None) -> tuple[BlockRead, ...]:
    """The fewest block reads that bring these quantities (None: all) within the profile's gap, size, records and forbidden spans.

    Raises ProfileError for a quantity that the profile lacks.
    """
    if profile.modbus is None:
        raise ProfileError(f"profile {profile.name} is {profile.protocol}, which has no registers")
    if missing := sorted(set(quantities or ()) - set(profile.quantities)):
        raise ProfileError(f"profile {profile.name} has no {', '.join(missing)}")
    reads = profile.modbus
    wanted = [r for r in reads.registers if quantities is None or r.quantity in quantities]
    blocks: list[list[Register]] = []
    for register in sorted(wanted, key=lambda r: (r.function, r.address, r.end)):
        # what fits a block fits each part of it without holes, so filling from the lowest address on needs the fewest
        if blocks and _fits(blocks[-1], register, reads):
            blocks[-1].append(register)
        else:
            blocks.append([register])
    return tuple(_block(block, wanted, reads) for block in blocks)


def _fits(block: list[Register], register: Register, reads: ModbusReads) -> bool:
    function, first, end = block[0].function, block[0].address, max(r.end for r in block)
    record = reads.record_of(register)
    if record is not None or reads.record_of(block[0]) is not None:
        return record == reads.record_of(block[0])
    last = max(end, register.end)
    near = function == register.function and register.address - end <= reads.max_gap and last - first <= reads.max_words
    return near and not any(span.touches(function, first, last) for span in (*reads.forbidden, *reads.whole))


def _block(block: list[Register], order: list[Register], reads: ModbusReads) -> BlockRead:
    record, function = reads.record_of(block[0]), block[0].function
    first, count = (record.first, record.count) if record else (block[0].address, max(r.end for r in block) - block[0].address)
    return BlockRead(function, first, count, tuple(sorted(block, key=order.index)))
