"""A load limit as plain JSON values and back: what an approval keeps, so that what was approved is what is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import cast

from gateway.domain.events import Json
from gateway.domain.limits import LoadLimit
from gateway.domain.load_caps import Cap, CapTable, MonthCap
from gateway.domain.malignant_load import MalignantMode, MalignantRule, Permitted, PowerWindow

Body = Mapping[str, Json]


def limit_body(limit: LoadLimit) -> dict[str, Json]:
    """Its fields by name."""
    return cast(dict[str, Json], _plain(asdict(limit)))


def limit_from(body: Body) -> LoadLimit:
    """The limit that `limit_body` gave. ValueError for anything else."""
    try:
        values = dict(body)
        nested = {"caps": _caps, "month": _month, "malignant": _malignant}
        made = {name: make(_object(values[name])) for name, make in nested.items() if values.get(name) is not None}
        return LoadLimit(**{**values, **made})  # type: ignore[arg-type]
    except (TypeError, KeyError) as wrong:
        raise ValueError(f"this is no load limit: {wrong}") from None


def told(limit: LoadLimit | None) -> str:
    """A limit in a few words, for an audit row."""
    if limit is None:
        return "none"
    said = {each.name: getattr(limit, each.name) for each in fields(limit)}
    return ", ".join(f"{name} {value}" for name, value in said.items() if value not in (None, 0, "", {}))


def _caps(body: Body) -> CapTable:
    lists = {name: tuple(Cap(**_object(cap)) for cap in _list(body[name])) for name in ("workday", "holiday")}  # type: ignore[arg-type]
    names = {name: tuple(_list(body[name])) for name in ("rest", "days", "work")}
    return CapTable(**{**body, **lists, **names})  # type: ignore[arg-type]


def _month(body: Body) -> MonthCap:
    return MonthCap(**body)  # type: ignore[arg-type]


def _malignant(body: Body) -> MalignantRule:
    windows = tuple(PowerWindow(**_object(each)) for each in _list(body["windows"]))  # type: ignore[arg-type]
    permitted = tuple(Permitted(**_object(each)) for each in _list(body["permitted"]))  # type: ignore[arg-type]
    mode = MalignantMode(str(body["mode"]))
    return MalignantRule(**{**body, "mode": mode, "windows": windows, "permitted": permitted})  # type: ignore[arg-type]


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple | list) else value


def _object(value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    return value


def _list(value: Json) -> list[Json]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value
