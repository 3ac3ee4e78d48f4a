"""What may not leave the archive: a table that another one names, or that stands in the configuration file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from gateway.settings import Settings
from gateway.settings.words import Table

Named = tuple[str, str]
"""A table by its kind and id."""

_KINDS = {"tariff": "tariff", "calendar": "no_cut_calendar"}
"""Kinds that other tables name, by the key that does it."""


def users(settings: Settings, put: Mapping[Named, Table]) -> Mapping[Named, Sequence[str]]:
    """Who names what. put: tables that come with the same order, and hold instead of those that stand."""
    tables = {**dict(_tables(settings)), **put}
    found: dict[Named, list[str]] = {}
    for (kind, own), table in tables.items():
        for key, named in set(_names(table.model_dump())):
            found.setdefault((_KINDS[key], named), []).append(f"{kind} {own}".strip())
    return found


def why_it_stays(table: Named, put: Collection[Named], used: Mapping[Named, Sequence[str]], *, filed: bool) -> str | None:
    """Why it cannot be dropped, in a sentence; None where it can. filed: it stands in the file."""
    if table in put:
        return "it is put and dropped in one order"
    if table[0] == "account":
        return "an account is not dropped, it is closed (close_account): its money has to be settled"
    if filed:
        return "it stands in the configuration file: take it out there"
    if not (by := used.get(table)):
        return None
    more = f" and {len(by) - 1} more go" if len(by) > 1 else " goes"
    return f"it is in use, {by[0]}{more} by it: give that another one first"


def _tables(settings: Settings) -> Iterator[tuple[Named, Table]]:
    for name in type(settings).model_fields:
        value: object = getattr(settings, name)
        for each in value if isinstance(value, list | tuple) else [value]:
            if isinstance(each, Table):
                yield (name, str(getattr(each, "name", None) or getattr(each, "id", ""))), each


def _names(value: object) -> Iterator[tuple[str, str]]:
    """Every key that names a table, with what it names, however deep it stands."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key in _KINDS and isinstance(each, str):
                yield key, each
            yield from _names(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _names(each)
