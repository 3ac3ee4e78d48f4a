"""Finds the Modbus units of a line: each is asked for one register, and any answer, a refusal too, is a sign of life."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gateway.adapters.lines.driver import Driver, Garbled, NoAnswer
from protocols.errors import Malformed, Refused
from protocols.exchange import Exchange
from protocols.modbus.frames import MAX_UNIT, Framing
from protocols.modbus.master import ReadRegisters

UNITS = range(1, MAX_UNIT + 1)
FIRST_BYTE_MS = 300
"""Modbus names no bound, meters answer within 100 ms. As the driver also awaits late answers, 247 units take 3.5 minutes."""


@dataclass(frozen=True, slots=True)
class FoundUnit:
    """A unit that answered. says: what it said to a read of holding register 0, in words."""

    unit: int
    says: str


async def search_units(
    driver: Driver, framing: Framing, units: Iterable[int] = UNITS, tell: Callable[[str], None] = lambda text: None
) -> list[FoundUnit]:
    """Ask each once; what was garbled, once more. Raises LineDown."""
    found = []
    for unit in units:
        says = await _ask(driver, framing, unit)
        if says is not None:
            tell(f"unit {unit} answers")
            found.append(FoundUnit(unit, says))
    return found


async def _ask(driver: Driver, framing: Framing, unit: int) -> str | None:
    for last in (False, True):
        question: Exchange[tuple[int, ...]] = ReadRegisters(unit, 3, 0, 1, framing, driver.next_number())
        try:
            answer = await driver.run(question, first_byte_timeout_ms=FIRST_BYTE_MS)
            return f"holding register 0 is {answer.value[0]}"
        except Refused as refused:
            return str(refused)
        except (Garbled, Malformed) as error:
            if last:
                return f"garbled: {error}"
        except NoAnswer:
            return None
    return None
