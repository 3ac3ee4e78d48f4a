"""What two people decided about the differences of a bank's day: it holds for the same difference in every later upload."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, select

from gateway.central import schema
from gateway.central.store import CentralStore
from gateway.domain.differences import Action, Resolution
from protocols.uplink.moments import format_moment

_r = schema.resolution.c


def of_day(connection: Connection, bank: str, day: str) -> Mapping[str, Resolution]:
    """By what they are about (domain/differences)."""
    rows = connection.execute(select(schema.resolution).where(_r.bank == bank, _r.day == day))
    return {row.about: _read(row._asdict()) for row in rows}


def save(store: CentralStore, connection: Connection, bank: str, day: str, decided: Resolution) -> None:
    """As it is now; one for each difference."""
    row: dict[str, object] = {"bank": bank, "day": day, "about": decided.about, "action": decided.action.value}
    row |= {"reason": decided.reason, "asked_by": decided.asked_by, "asked_ms": decided.asked_ms, "state": decided.state}
    row |= {"decided_by": decided.decided_by, "decided_ms": decided.decided_ms, "told": decided.told}
    store.upsert(connection, schema.resolution, [row])


def shown(decided: Resolution) -> dict[str, str | None]:
    """As a bank and a person are told."""
    return {
        "action": decided.action.value,
        "reason": decided.reason,
        "asked_by": decided.asked_by,
        "asked_at": format_moment(decided.asked_ms),
        "decided_by": decided.decided_by,
        "decided_at": None if decided.decided_ms is None else format_moment(decided.decided_ms),
        "told": decided.told or None,
    }


def _read(row: Mapping[str, object]) -> Resolution:
    values = {name: value for name, value in row.items() if name not in ("bank", "day")}
    return Resolution(**{**values, "action": Action(values["action"])}, approval="")  # type: ignore[arg-type]
