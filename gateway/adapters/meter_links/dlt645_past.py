"""What questions about a DL/T 645 meter's past share: how they are asked, and readings under their own time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from gateway.adapters.lines.driver import Timed
from gateway.domain.readings import Item, Reading, Source
from protocols.dlt645.master import ReadAnswer
from protocols.errors import Refused
from protocols.quantities import Measurement, quantity


class Ask(Protocol):
    """One read of an identifier; count and when: of a load profile. Raises what the driver raises."""

    async def __call__(self, di: str, *, count: int | None = None, when: datetime | None = None) -> Timed[ReadAnswer]: ...


class NotThere(Refused):
    """The meter answered, and has not what was asked for; the text is one sentence."""

    def __init__(self, text: str) -> None:
        super().__init__(b"")
        self.args = (text,)


def past_reading(
    meter: str, answer: Timed[ReadAnswer], values: Sequence[Measurement], source: Source, taken_ms: int, suffix: str = ""
) -> Reading:
    """Values of the past under the names of the present. suffix: what the protocol adds to the names. NotThere: fillers alone."""
    if all(value.value is None for value in values):
        raise NotThere(f"meter {meter} gave fillers in place of the values of {answer.value.di}")
    items = tuple(_item(value.quantity.removesuffix(suffix), value) for value in values)
    return Reading(meter, items, answer.asked_ms, answer.answered_ms, source, taken_ms)


def _item(name: str, value: Measurement) -> Item:
    return Item(name, value.value, value.unit, quantity(name).obis)
