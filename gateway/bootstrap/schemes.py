"""The collection schemes: what wattgate ships, changed by what the configuration says, for the meters that can answer it."""

from __future__ import annotations

import tomllib
from collections.abc import Awaitable, Callable
from decimal import Decimal
from functools import cache
from typing import Protocol, TypeVar

from pydantic import ValidationError

from gateway.adapters.http.completeness import Wish
from gateway.adapters.profiles import ProfileError, config_folder, profile
from gateway.adapters.timetable import BadCron, check_cron
from gateway.domain.jobs import Want
from gateway.domain.readings import Source
from gateway.domain.schemes import Scheme
from gateway.domain.slots import MINUTE_MS
from gateway.services.open_slots import request_history
from gateway.services.ports import Site, Tx
from gateway.services.retention import Keep
from gateway.settings import Meter, Settings
from gateway.settings import Scheme as SchemeSettings

T = TypeVar("T")

NEEDED = ("cron", "window_min", "priority", "retries", "target")
"""Keys that a scheme must have, from the configuration or shipped; step_min is needed for a curve alone."""


class Write(Protocol):
    """The store's write."""

    def __call__(self, usecase: Callable[[Tx], T], /) -> Awaitable[T]: ...


def schemes_of(settings: Settings) -> list[Scheme]:
    """The schemes in force, with their meters. Raises ValueError with one sentence, ProfileError for a meter's profile."""
    merged = _merged(settings)
    return [_scheme(settings, scheme) for scheme in merged.values() if scheme.enabled and not scheme.polls]


def examine_schemes(settings: Settings) -> list[str]:
    """What is wrong with the schemes, one sentence each."""
    errors = ["scheme: only one may be live"] if sum(scheme.polls for scheme in settings.scheme) > 1 else []
    meters, lines = {meter.name for meter in settings.meter}, {line.id for line in settings.line}
    for scheme in _merged(settings).values():
        errors += [f"scheme {scheme.id}: there is no meter {name}" for name in scheme.meters or () if name not in meters]
        errors += [f"scheme {scheme.id}: there is no line {name}" for name in scheme.lines or () if name not in lines]
        try:
            if scheme.enabled and not scheme.polls:
                _scheme(settings, scheme)
        except ProfileError:
            continue  # the meters' own examination tells that
        except ValueError as problem:
            errors.append(f"scheme {scheme.id}: {problem}")
    return errors


def keep_of(settings: Settings) -> Keep:
    """How long what is not money is kept."""
    store = settings.store
    return Keep(store.readings_days, store.acknowledged_days, store.acknowledged_money_days)


def wishes(write: Write, site: Callable[[], Site], now_ms: Callable[[], int]) -> Wish:
    """A person's wish for more of a meter's past, as a use case of this store."""

    async def wish(meter: str, want: Want, from_ms: int, to_ms: int) -> int:
        return await write(lambda tx: request_history(tx, meter, want, from_ms, to_ms, site(), now_ms()))

    return wish


@cache
def shipped() -> dict[str, SchemeSettings]:
    """config/schemes, by id. Raises ValueError for what cannot be used."""
    found: dict[str, SchemeSettings] = {}
    for path in sorted((config_folder() / "schemes").glob("*.toml")):
        try:
            tables = tomllib.loads(path.read_text("utf-8"))["scheme"]
            found |= {scheme.id: scheme for scheme in map(SchemeSettings.model_validate, tables)}
        except (tomllib.TOMLDecodeError, KeyError, ValidationError) as problem:
            raise ValueError(f"the shipped schemes in {path.name} cannot be used: {problem}") from None
    return found


def _merged(settings: Settings) -> dict[str, SchemeSettings]:
    """The shipped schemes with the keys that the configuration sets, and its own."""
    merged = dict(shipped())
    for scheme in settings.scheme:
        usual = merged.get(scheme.id)
        given = {key: getattr(scheme, key) for key in scheme.model_fields_set}
        merged[scheme.id] = scheme if usual is None else usual.model_copy(update=given)
    return merged


def _scheme(settings: Settings, scheme: SchemeSettings) -> Scheme:
    missing = [key for key in NEEDED if getattr(scheme, key) is None]
    if scheme.want is None:
        missing.append("want")
    if scheme.want == "curve" and scheme.step_min is None:
        missing.append("step_min")
    if missing:
        raise ValueError(f"needs {', '.join(missing)}; only the shipped schemes {', '.join(shipped())} have defaults")
    assert scheme.want and scheme.cron and scheme.window_min and scheme.target  # what `missing` has just told
    try:
        check_cron(scheme.cron)
    except BadCron as wrong:
        raise ValueError(str(wrong)) from None
    want = Want(scheme.want)
    found = ((meter.name, _source(meter, want)) for meter in settings.meter if _covers(scheme, meter))
    return Scheme(
        id=scheme.id,
        want=want,
        cron=scheme.cron,
        window_ms=scheme.window_min * MINUTE_MS,
        step_ms=(scheme.step_min or 0) * MINUTE_MS,
        priority=scheme.priority or 0,
        retries=scheme.retries or 0,
        target=int(Decimal(scheme.target) * 100),
        meters={name: source for name, source in found if source is not None},
    )


def _covers(scheme: SchemeSettings, meter: Meter) -> bool:
    """All meters, unless meters or lines are named."""
    if scheme.meters is None and scheme.lines is None:
        return True
    return meter.name in (scheme.meters or ()) or meter.line in (scheme.lines or ())


def _source(meter: Meter, want: Want) -> Source | None:
    """Whence this meter can give that; None: it cannot. A live reading stands in for the freezes that a meter does not make."""
    device = profile(meter.profile)
    kept = device.history
    if kept is None:
        return Source.LIVE if want in (Want.DAY, Want.MONTH) and "energy_import" in device.quantities else None
    return {
        Want.DAY: Source.FREEZE if kept.day else Source.LIVE,
        Want.MONTH: Source.FREEZE if kept.month or kept.day else Source.LIVE,
        Want.CURVE: Source.CURVE if kept.curve else None,
        Want.EVENTS: Source.FREEZE if kept.events else None,
    }[want]
