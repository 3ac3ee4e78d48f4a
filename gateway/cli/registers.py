"""Registers on a command line: what a display shows, or what a meter says when it is read for the purpose."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import cast

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import asking
from gateway.cli.line_options import answering, chosen

TOTAL = "energy_import"
READ = "read"
"""What a person says to have the meter read now."""

HOW = "kWh as the display shows them: 1234.56, or total=1234.56,t1=1000.00,t2=234.56"
_KWH = re.compile(r"[0-9]{1,9}(\.[0-9]{1,4})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Device:
    """A meter as it is reached. meter: by its id in the configuration or the running gateway; else by line, address, profile."""

    meter: str | None = None
    line: str | None = None
    address: str | None = None
    profile: str | None = None


def parsed(text: str) -> dict[str, str] | None:
    """Registers by quantity; None for what are none."""
    found: dict[str, str] = {}
    for part in text.split(","):
        name, equals, kwh = part.strip().rpartition("=")
        quantity = TOTAL if name in ("", "total", TOTAL) else f"{TOTAL}_{name.removeprefix(TOTAL + '_')}"
        if not _KWH.fullmatch(kwh) or (equals and not name) or quantity in found:
            return None
        found[quantity] = kwh
    return found if TOTAL in found else None


def unreadable(text: str) -> str | None:
    """Why this names no registers; `read`, and nothing, are for the caller to understand."""
    return None if text in ("", READ) or parsed(text) is not None else f"write {HOW}"


def registers(text: str, device: Device, config: Path | None, url: str | None) -> dict[str, str] | None:
    """What was said, read from the device where that was said; None for nothing. Failure for what are no registers."""
    if text == "":
        return None
    if text == READ:
        return read_now(device, config, url)
    found = parsed(text)
    if found is None:
        raise Failure(f"write {HOW}", 2)
    return found


def read_now(device: Device, config: Path | None, url: str | None) -> dict[str, str]:
    """The energy registers of a device, read twice: the second answer must agree with the first. Failure says why not."""
    place = _located(device, config, url)
    first, second = _read(place, config, url), _read(place, config, url)
    if first.keys() != second.keys() or any(Decimal(first[name]) > Decimal(second[name]) for name in first):
        raise Failure("two readings of the meter do not agree: say what its display shows")
    shown = ", ".join(f"{name.removeprefix(TOTAL + '_').replace(TOTAL, 'total')} {kwh}" for name, kwh in second.items())
    print(f"read: {shown} kWh", flush=True)
    return second


def _located(device: Device, config: Path | None, url: str | None) -> Device:
    """Where a meter is that the configuration file does not have, or not as it is now."""
    if device.meter is None:
        return device
    with asking(config, url) as gateway:
        status, answer = gateway.call("GET", "/api/v1/archive/meters")
    tables = cast("list[Mapping[str, str]]", answer.get("meters", [])) if status == 200 else []
    for table in tables:
        if (table.get("id") or f"{table['line']}-{table['address']}") == device.meter:
            return Device(None, table["line"], table["address"], table["profile"])
    return device


def _read(device: Device, config: Path | None, url: str | None) -> dict[str, str]:
    from gateway.bootstrap import tools  # the adapters are loaded only here

    with answering():
        where = chosen(device.line, config, None, None, url)
        if device.meter is not None:
            where, target = tools.meter_of(device.meter, where)
        elif device.line and device.address:
            target = tools.target_of(device.address, "2007", device.profile)
        else:
            raise tools.WrongUse("name line, address and profile of the meter that is to be read")
        got = tools.read(where, target, [])
    found = {each.quantity: each.value for each in got if isinstance(each, tools.Value) and each.quantity.startswith(TOTAL)}
    if found.get(TOTAL) is None:
        why = next((each.why for each in got if isinstance(each, tools.Unread)), "it gave no energy register")
        raise Failure(f"the meter could not be read: {why}")
    return {name: value for name, value in found.items() if value is not None}
