"""Reads by hand: identifiers or quantities of one meter, each value as the meter gave it (`wattgate read`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cache

from gateway.adapters.lines.driver import Driver, NoAnswer
from gateway.adapters.profiles import MeterProfile
from protocols.dlt645.frames import Dialect
from protocols.dlt645.identifiers import describe
from protocols.dlt645.items import FieldValue
from protocols.dlt645.master import Read
from protocols.dlt645.status import quantity_flags
from protocols.dlt645.values import Stamp
from protocols.errors import ProtocolError
from protocols.modbus.frames import Framing
from protocols.modbus.master import ReadRegisters
from protocols.profiles import BlockRead, ProfileError, plan_reads

DIALECTS = {"2007": Dialect.V2007, "1997": Dialect.V1997}
"""As a person writes them."""

_RATES, _STATUS_WORDS = 63, 7


class BadItem(ValueError):
    """What was asked for is neither an identifier nor a quantity that we know; one sentence."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of an answer. value: as text with the register's resolution, None for a filler; item: what was asked for.

    text: the value in a person's form where it differs (times, set bits).
    """

    item: str
    quantity: str
    value: str | None
    unit: str
    at: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Unread:
    """What did not come, and why, in one sentence."""

    item: str
    why: str


Got = Value | Unread


def identifiers_of(word: str, dialect: Dialect = Dialect.V2007) -> tuple[str, ...]:
    """The identifiers behind a word: itself, or those of a quantity. Raises BadItem."""
    if re.fullmatch(r"[0-9A-Fa-f]{8}|[0-9A-Fa-f]{4}", word):
        return (word.upper(),)
    if word == "clock":
        return ("04000101", "04000102") if dialect is Dialect.V2007 else ("C010", "C011")
    if (di := _quantities(dialect).get(word)) is not None:
        return (di,)
    if re.fullmatch(r"[0-9A-Fa-f]+", word):
        raise BadItem(f"{word!r} has {len(word)} hex digits: an identifier has 8, in 1997 4")
    raise BadItem(f"{word!r} is neither an identifier (like 00010000) nor a quantity of {dialect} (like energy_import)")


@cache
def _quantities(dialect: Dialect) -> dict[str, str]:
    """Quantity -> identifier of that one value, told by the identifiers' own table."""
    found: dict[str, str] = {}
    for di in _singles(dialect):
        item = describe(di, dialect)
        if item is not None and len(item.fields) == 1:
            found.setdefault(item.fields[0].quantity, di)
    return found


def _singles(dialect: Dialect) -> Iterator[str]:
    """Candidates for identifiers of one value, the nearest meaning first."""
    if dialect is Dialect.V1997:
        yield from (f"{di1}{n:02X}" for di1 in ("90", "91", "A0", "A1", "B6", "C0", "C1") for n in range(256))
        return
    yield from (f"00{di2:02X}{rate:02X}00" for rate in range(_RATES + 1) for di2 in range(256))
    yield from (f"01{di2:02X}{rate:02X}00" for rate in range(_RATES + 1) for di2 in range(256))
    yield from (f"02{di2:02X}{phase:02X}00" for di2 in range(1, 10) for phase in range(4))
    yield from (f"028000{n:02X}" for n in range(0x24))
    yield from (f"0090{which:02X}{n:02X}" for which in range(3) for n in range(3))
    yield from (f"040005{n:02X}" for n in range(1, _STATUS_WORDS + 1))
    yield from (f"0400{di1:02X}{di0:02X}" for di1 in range(1, 0x15) for di0 in range(1, 16))


async def read_dlt645(driver: Driver, address: str, words: Sequence[str], dialect: Dialect, preamble: int = 4) -> list[Got]:
    """Ask for each in turn, with new tries after silence. Raises BadItem before the first byte, and LineDown."""
    wanted = [(word, di) for word in words for di in identifiers_of(word, dialect)]
    got: list[Got] = []
    for word, di in wanted:
        try:
            answer = await driver.ask(lambda di=di: Read(address, di, preamble))  # type: ignore[misc]
        except (NoAnswer, ProtocolError) as error:
            got.append(Unread(word, str(error)))
            continue
        fields = answer.value.fields
        got += [_value(di, field) for field in fields] if fields else [Value(di, "raw", answer.value.data.hex().upper(), "hex")]
    return got


async def read_modbus(driver: Driver, unit: int, words: Sequence[str], profile: MeterProfile, framing: Framing) -> list[Got]:
    """Quantities of a profile in as few blocks as they need. Raises BadItem before the first byte, and LineDown."""
    try:
        blocks = plan_reads(profile, words or None)
    except ProfileError as error:
        raise BadItem(str(error)) from None
    got: list[Got] = []
    for block in blocks:
        got += await _block(driver, unit, block, framing)
    return got


async def _block(driver: Driver, unit: int, block: BlockRead, framing: Framing) -> list[Got]:
    def question() -> ReadRegisters:
        return ReadRegisters(unit, block.function, block.address, block.count, framing, driver.next_number())

    try:
        answer = await driver.ask(question)
    except (NoAnswer, ProtocolError) as error:
        return [Unread(register.quantity, str(error)) for register in block.registers]
    where = f"{block.function}:{block.address:04X}"
    found = block.decode(answer.value)
    return [Value(where, m.quantity, None if m.value is None else format(m.value, "f"), m.unit) for m in found]


def _value(di: str, found: FieldValue) -> Value:
    field, value = found.field, found.value
    plain = format(value, "f") if isinstance(value, Decimal) else value
    text: str | None = None
    if isinstance(field.format, Stamp) and isinstance(value, str):
        text = field.format.text(value)
    elif isinstance(value, Decimal) and (flags := quantity_flags(field.quantity, int(value))) is not None:
        text = ", ".join(flags) or "no bit set"
    return Value(di, field.quantity, plain, field.unit, found.at, text)
