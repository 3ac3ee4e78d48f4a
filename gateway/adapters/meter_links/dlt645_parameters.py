"""Parameters of a DL/T 645-2007 meter that hold limits: read as bytes, and written under the meter's password (dlt645.md 8.5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal

from gateway.adapters.lines.driver import Timed
from gateway.domain.jobs import Answered, ParameterReadJob, ParametersSeen, ParameterWriteJob
from protocols.dlt645.identifiers import describe, write_fields
from protocols.dlt645.master import ReadAnswer
from protocols.dlt645.values import Number
from protocols.errors import Refused, RequestError

IDENTIFIERS: Mapping[str, str] = {
    "balance_alarm_1": "04001001",
    "balance_alarm_2": "04001002",
    "overdraft_limit": "04001003",
    "hoarding_limit": "04001004",
    "reconnect_balance": "04001005",
    "trip_delay": "04001401",
    "trip_current_limit": "04001402",
    "trip_guard_delay": "04001403",
}
"""Where each stands; amounts in hundredths, currents in mA, delays in minutes are its least units."""

NO_DATA = "no requested data"

Ask = Callable[[str], Awaitable[Timed[ReadAnswer]]]
WriteFields = Callable[[str, bytes], Awaitable[object]]


async def read_parameters(job: ParameterReadJob, ask: Ask) -> Answered:
    """All of them, one after the other, "" where the meter has none. Raises what `ask` raises, RequestError for unfit values."""
    target = {name: encoded(name, value).hex() for name, value in job.values}
    seen: dict[str, str] = {}
    for name in target:
        try:
            seen[name] = (await ask(IDENTIFIERS[name])).value.data.hex()
        except Refused as refused:
            if NO_DATA not in refused.flags:
                raise
            seen[name] = ""
    return Answered(parameters=ParametersSeen(seen, target))


async def write_parameter(job: ParameterWriteJob, write: WriteFields) -> Answered:
    """Once. That it was taken proves nothing. Raises what `write` raises."""
    await write(IDENTIFIERS[job.name], encoded(job.name, job.value))
    return Answered()


def encoded(name: str, value: int) -> bytes:
    """A value in its least unit, as it stands in the meter. RequestError for a name that is not known, or what does not fit."""
    di = IDENTIFIERS.get(name)
    item = None if di is None else describe(di)
    form = None if item is None else item.fields[0].format
    if di is None or not isinstance(form, Number):
        raise RequestError(f"{name} is no parameter that this meter could hold")
    return write_fields(di, [Decimal(value).scaleb(-form.decimals)])
