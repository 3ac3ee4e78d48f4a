"""The lines of a charge as an entry of the journal carries them, so that the entry explains itself for ever."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from gateway.domain.price_list import Rate
from gateway.domain.tariffs import ChargeLine

FREEZE = "freeze"
"""The reason of a correction that a reading of the past brought about; any other is a person's."""

LINE = "line:"
"""Begins the keys of lines, in their order: line:0, line:1, ..."""

_OF_REGISTERS = re.compile(r"([0-9]+)-([0-9]+)@([0-9]+)=(-?[0-9]+)", re.ASCII)


def line_refs(lines: Sequence[ChargeLine]) -> dict[str, str]:
    """What the entry's `ref` says of the lines: JSON lists in the order of ChargeLine's fields."""
    return {
        f"{LINE}{number}": json.dumps(
            [
                *(line.period, line.component, line.version, line.season, line.rate, line.step),
                *(line.wh, line.price_micro, line.micro, line.rule, line.name),
            ],
            ensure_ascii=False,
            separators=(",", ":"),
        )
        for number, line in enumerate(lines)
    }


def lines_of(ref: Mapping[str, str]) -> tuple[ChargeLine, ...]:
    """The lines that a `ref` carries, also in its first form (line:REGISTER = FROM-TO@PRICE=MICRO). ValueError for another one."""
    keys = [key for key in ref if key.startswith(LINE)]
    keys.sort(key=lambda key: (int(key[len(LINE) :]) if key[len(LINE) :].isdecimal() else 0, key))
    return tuple(_line(key[len(LINE) :], ref[key]) for key in keys)


def _line(name: str, text: str) -> ChargeLine:
    if match := _OF_REGISTERS.fullmatch(text):
        start, end, price, micro = (int(number) for number in match.groups())
        return ChargeLine("", "energy", "", "", None, None, end - start, price, micro, f"{name} from {start} to {end} Wh", name)
    try:
        period, component, version, season, rate, step, *figures, rule, told = json.loads(text)
        wh, price, micro = figures
        named = Rate(rate) if rate is not None else None
        return ChargeLine(period, component, version, season, named, step, wh, price, micro, rule, told)
    except (ValueError, TypeError):
        raise ValueError(f"{LINE}{name} is no line of a charge: {text}") from None
