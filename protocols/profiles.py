"""Meter profiles as data: what to read, how the relay is moved, and frames that show it. profile_file.py parses them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from protocols.modbus.registers import RegisterType
from protocols.quantities import Measurement

Protocol = Literal["dlt645-2007", "dlt645-1997", "modbus"]
Origin = Literal["captured", "log", "published", "manual-example", "registers-captured", "inferred", "constructed", "test"]

DEFAULT_SETTLE_S: Final = 4  # the status bit follows the contact by up to 3 s on common meters (contract.md section 5)
MAX_WORDS: Final = 125  # Modbus Application Protocol 6.3


class ProfileError(ValueError):
    """The profile is not what this version understands; the text is one clear sentence."""


@dataclass(frozen=True, slots=True)
class Register:
    """One quantity in registers. function: 3 holding, 4 input. address: 0-based, as on the wire."""

    quantity: str
    unit: str
    function: int
    address: int
    type: RegisterType

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.address + self.type.words


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
        return tuple(
            Measurement(r.quantity, r.type.decode(words[r.address - self.address : r.end - self.address]), r.unit)
            for r in self.registers
        )


@dataclass(frozen=True, slots=True)
class ModbusReads:
    """max_words: most registers the meter gives at once. max_gap: unwanted ones that may be read across."""

    registers: tuple[Register, ...]
    max_words: int
    max_gap: int
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Dlt645Reads:
    """Identifiers by purpose, 8 hex digits (2007) or 4 (1997), DI3 first.

    authority: the PA byte before the password. password_class: the name under which the password is kept.
    preamble: FE bytes sent before a frame. confirmed: by a real meter.
    """

    billing: tuple[str, ...]
    instant: tuple[str, ...]
    status: tuple[str, ...]
    clock: tuple[str, ...]
    authority: int
    password_class: str
    preamble: int
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

    def order(self, closed: bool) -> int:
        """The value to write."""
        return self.closed if closed else self.open

    def is_closed(self, word: int) -> bool | None:
        """What the word read back says; None when it is neither of the two values."""
        return {self.closed: True, self.open: False}.get(word)


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


Switch = InternalSwitch | RegisterSwitch | CoilSwitch


@dataclass(frozen=True, slots=True)
class CapturedFrame:
    """A frame and what it means: readings (DL/T 645 answers, Modbus register answers) or the bits of a Modbus bit answer.

    origin: where it was seen; "constructed" was built from a register table. request: the question, without which a Modbus
    answer has no meaning; empty for DL/T 645.
    """

    origin: Origin
    request: bytes
    frame: bytes
    reads: tuple[Measurement, ...]
    bits: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class MeterProfile:
    """One meter model. Exactly one of `dlt645` and `modbus` is set; `switch` is None where the meter has none."""

    name: str
    protocol: Protocol
    notes: str
    dlt645: Dlt645Reads | None
    modbus: ModbusReads | None
    switch: Switch | None
    frames: tuple[CapturedFrame, ...]

    @property
    def quantities(self) -> tuple[str, ...]:
        """What a Modbus profile can read, in its order; empty for DL/T 645, whose identifiers carry their own names."""
        return tuple(r.quantity for r in self.modbus.registers) if self.modbus else ()


def plan_reads(profile: MeterProfile, quantities: Collection[str] | None = None) -> tuple[BlockRead, ...]:
    """The fewest block reads that bring these quantities (None: all) within the profile's gap and size.

    Raises ProfileError for a quantity that the profile lacks.
    """
    if profile.modbus is None:
        raise ProfileError(f"profile {profile.name} is {profile.protocol}, which has no registers")
    if missing := sorted(set(quantities or ()) - set(profile.quantities)):
        raise ProfileError(f"profile {profile.name} has no {', '.join(missing)}")
    wanted = [r for r in profile.modbus.registers if quantities is None or r.quantity in quantities]
    blocks: list[list[Register]] = []
    for register in sorted(wanted, key=lambda r: (r.function, r.address, r.end)):
        if blocks and _fits(blocks[-1], register, profile.modbus):
            blocks[-1].append(register)
        else:
            blocks.append([register])
    return tuple(_block(block, wanted) for block in blocks)


def _fits(block: list[Register], register: Register, reads: ModbusReads) -> bool:
    end = max(r.end for r in block)
    near = block[0].function == register.function and register.address - end <= reads.max_gap
    return near and max(end, register.end) - block[0].address <= reads.max_words


def _block(block: list[Register], order: list[Register]) -> BlockRead:
    first = block[0]
    count = max(r.end for r in block) - first.address
    return BlockRead(first.function, first.address, count, tuple(sorted(block, key=order.index)))
