"""Two configurations side by side: what one has and the other has not, and what a running gateway cannot take over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel

from gateway.adapters.http.reload import Changes, Parts
from gateway.settings import Settings
from gateway.settings.cut_rules import Limits

BY_NAME = ("line", "meter", "account", "tariff", "scheme", "output")
"""Tables of named things, each added, removed or changed by itself."""

AT_ANY_TIME = (
    *("gateway.passwords", "ledger.close_after_days"),
    *("clock.source", "clock.sources", "clock.rtc_set", "clock.rtc_drift_ppm", "clock.keep_meters"),
    *("bank.paths", "bank.heartbeat", "bank.heartbeat_limit_s", "bank.counter_hours", "bank.partner", "bank.proxies"),
    *("store.readings_days", "store.acknowledged_days", "store.acknowledged_money_days"),
    *(f"limits.{key}" for key in Limits.model_fields),
    *("no_cut_calendar", "notice_channel", "notices.texts", "policy", "uplink_key"),
    *("wallets.delivery_deadline_h", "wallets.read_min"),
)
"""Other keys that are looked up whenever they are needed; what is not named here wants a restart."""


def changes(
    old: Settings,
    new: Settings,
    *,
    passwords: bool = False,
    tariffs: Sequence[str] = (),
    calendars: bool = False,
    outputs: Sequence[str] = (),
) -> Changes:
    """What the new configuration changes. passwords: the file of passwords holds others now. tariffs: those whose content, also
    in files of their own, is another; calendars: one of theirs is. outputs: those whose table or secret is another."""
    parts = {table: _parts(_named(old, table), _named(new, table)) for table in BY_NAME}
    for table, others in (("tariff", tariffs), ("output", outputs)):
        known = parts[table]
        changed = {*known.changed, *others} - {*known.added}
        parts[table] = Parts(known.added, known.removed, tuple(name for name in _named(new, table) if name in changed))
    return Changes(
        lines=parts["line"],
        meters=parts["meter"],
        accounts=parts["account"],
        tariffs=parts["tariff"],
        schemes=parts["scheme"],
        outputs=parts["output"],
        keys=tuple(dict.fromkeys([*(key for key in _keys(old, new) if key in AT_ANY_TIME), *["no_cut_calendar"] * calendars])),
        passwords=passwords,
    )


def restarts(old: Settings, new: Settings) -> list[str]:
    """A sentence for each key that only a restart can change."""
    return [f"{key} cannot be changed while the gateway runs: restart it" for key in _keys(old, new) if key not in AT_ANY_TIME]


def _named(settings: Settings, table: str) -> dict[str, object]:
    elements: Sequence[BaseModel] = getattr(settings, table)
    return {str(getattr(element, "name", None) or getattr(element, "id", "")): element for element in elements}


def _parts(old: Mapping[str, object], new: Mapping[str, object]) -> Parts:
    return Parts(
        tuple(name for name in new if name not in old),
        tuple(name for name in old if name not in new),
        tuple(name for name in new if name in old and new[name] != old[name]),
    )


def _keys(old: Settings, new: Settings) -> list[str]:
    """The keys outside the named tables whose values differ; a table that is there only once is one key."""
    keys = []
    for table in type(new).model_fields:
        before, after = getattr(old, table), getattr(new, table)
        if table in BY_NAME or before == after:
            continue
        if isinstance(before, BaseModel) and isinstance(after, BaseModel):
            fields = type(after).model_fields
            keys += [f"{table}.{field}" for field in fields if getattr(before, field) != getattr(after, field)]
        else:
            keys.append(table)
    return keys
