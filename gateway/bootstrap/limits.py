"""Load limits of a configuration: what `check` says of them, and what the interface can have done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from pydantic import ValidationError

from gateway.adapters.http.limits_api import LimitUseCases
from gateway.adapters.present_values import read_now
from gateway.adapters.profiles import ProfileError, profile
from gateway.bootstrap.lines import examine_lines, has_switch
from gateway.domain.approvals import Approval
from gateway.domain.limit_shown import LimitShown
from gateway.domain.limits import LoadLimit
from gateway.domain.malignant_load import MalignantMode
from gateway.services.ports import Site, Tx
from gateway.services.release_limit import release
from gateway.services.set_limit import ask_limit
from gateway.services.show_limit import show_limit
from gateway.services.write_limits import HOLDING, write_again
from gateway.settings import Meter, Settings
from gateway.settings.limits import Limit, limit_of, strangers
from gateway.settings.words import fault

T = TypeVar("T")

REACTIVE = ("reactive_power", "apparent_power", "power_factor")
"""One of these must be read beside the power for a step's power factor to be known."""


class Stored(Protocol):
    """The store, as the interface uses it."""

    async def read(self, query: Callable[[Tx], T]) -> T: ...
    async def write(self, usecase: Callable[[Tx], T]) -> T: ...


def limit_cases(
    store: Stored, settings: Callable[[], Settings], site: Callable[[], Site], now_ms: Callable[[], int], new_id: Callable[[], str]
) -> LimitUseCases:
    """The use cases of the interface."""

    async def show(account: str) -> LimitShown | None:
        return await store.read(lambda tx: show_limit(tx, account, site(), now_ms()))

    async def let_go(account: str, reason: str, who: str) -> None:
        why = await store.write(lambda tx: release(tx, account, who, reason, site(), now_ms()))
        if why is not None:
            raise ValueError(why)

    async def ask(ident: str | None, account: str, body: Mapping[str, object] | None, reason: str, who: str) -> Approval:
        limit = None if body is None else limit_asked(settings(), account, body)
        asked = ident or new_id()
        decision = await store.write(lambda tx: ask_limit(tx, asked, account, limit, reason, who, site(), now_ms()))
        if decision.approval is None or decision.refused is not None:
            raise ValueError(decision.refused or "nothing was asked")
        return decision.approval

    async def again(meter: str, who: str) -> None:
        if not await store.write(lambda tx: write_again(tx, meter, who, now_ms())):
            raise LookupError(f"no limits are written into meter {meter}")

    return LimitUseCases(show, let_go, ask, again)


def limit_asked(settings: Settings, account: str, body: Mapping[str, object]) -> LoadLimit:
    """The limit that a person asks for, as the table `limit` would say it. ValueError says what is wrong with it."""
    try:
        asked = Limit.model_validate(dict(body))
    except ValidationError as problem:
        raise ValueError("; ".join(fault(error, "limit") for error in problem.errors())) from None
    if wrong := strangers([(account, asked)], settings.load_policy):
        raise ValueError(wrong[0])
    limit = limit_of(asked, settings.load_policy)
    assert limit is not None, "a limit that was asked for is one"
    rounds, _ = examine_lines(settings, None)
    meters = [meter for meter in settings.meter if meter.account == account]
    if wrong := [*seen_too_late(limit, meters, rounds, settings.live().instant_s), *unfit_meters(limit, meters)]:
        raise ValueError("; ".join(wrong))
    return limit


def examine_limits(settings: Settings, owned: Mapping[str | None, Sequence[Meter]], rounds: Mapping[str, int]) -> list[str]:
    """Load limits that could not be kept. rounds: of each line, in ms."""
    errors = []
    calendars = {calendar.id for calendar in settings.no_cut_calendar}
    for account in settings.account:
        limit = limit_of(account.limit, settings.load_policy)
        if limit is None or account.closed:
            continue
        meters = owned.get(account.id, ())
        wrong = [*seen_too_late(limit, meters, rounds, settings.live().instant_s), *nothing_to_cut(limit, meters)]
        wrong += unfit_meters(limit, meters)
        if limit.caps is not None and limit.caps.calendar is not None and limit.caps.calendar not in calendars:
            wrong.append(f"its load limit's holidays are those of calendar {limit.caps.calendar}, which there is not")
        errors += [f"account {account.id}: {text}" for text in wrong]
    return errors


def seen_too_late(limit: LoadLimit, meters: Sequence[Meter], rounds: Mapping[str, int], instant_s: int) -> list[str]:
    """Why the gateway could not see a load in time. rounds: of each line, in ms; instant_s: how often the present is read."""
    errors = []
    measured = _measured(limit)
    slowest_s = max((rounds.get(meter.line, 0) / 1000 for meter in meters), default=0.0)
    delay_s = limit.delay_ms // 1000
    if measured and delay_s < slowest_s:
        errors.append(
            f"its load limit's delay of {delay_s} s is shorter than a round of its line ({slowest_s:.1f} s): "
            "the gateway could not see the load in time"
        )
    elif measured and delay_s < instant_s:
        errors.append(f"its load limit's delay of {delay_s} s is shorter than scheme.instant_s ({instant_s} s)")
    if _trips(limit) and limit.malignant is not None and limit.malignant.restore_ms < 1000 * slowest_s:
        errors.append(f"its malignant load's restore_s is shorter than a round of its line ({slowest_s:.1f} s)")
    return errors


def nothing_to_cut(limit: LoadLimit, meters: Sequence[Meter]) -> list[str]:
    """Why the limit could open nothing."""
    cuts = (_measured(limit) or _trips(limit)) and not any(meter.cut_with_account and _switched(meter) for meter in meters)
    return ["it has a load limit, but no meter with a switch that the limit could open"] if cuts else []


def _switched(meter: Meter) -> bool:
    try:
        return has_switch(meter)
    except ProfileError:
        return True  # its line tells that its profile is not known


def unfit_meters(limit: LoadLimit, meters: Sequence[Meter]) -> list[str]:
    """What the meters do not give, and what they have no place for."""
    return [text for meter in meters for text in _unfit_meter(limit, meter)]


def _measured(limit: LoadLimit) -> bool:
    return bool(limit.power_w or limit.current_ma or limit.caps or limit.month)


def _trips(limit: LoadLimit) -> bool:
    return limit.malignant is not None and limit.malignant.mode is MalignantMode.TRIP


def _unfit_meter(limit: LoadLimit, meter: Meter) -> list[str]:
    try:
        reads = profile(meter.profile)
    except ProfileError:
        return []  # told by its line
    given, errors = read_now(reads), []
    amperes = limit.in_amperes
    if amperes and meter.ratio != 1 and meter.pt != "1":
        errors.append(f"its limit in A cannot be kept at meter {meter.name}, whose currents stand behind voltage transformers")
    if amperes and not any(name.startswith("current_") for name in given):
        errors.append(f"its limit in A cannot be kept at meter {meter.name}: profile {reads.name} reads no current")
    watches = limit.malignant is not None and limit.malignant.mode is not MalignantMode.OFF
    if watches and not any(name in given for name in REACTIVE):
        errors.append(
            f"malignant load cannot be seen at meter {meter.name}: profile {reads.name} reads none of {', '.join(REACTIVE)}"
        )
    if limit.written and reads.protocol not in HOLDING:
        errors.append(f"limits cannot be written into meter {meter.name}: profile {reads.name} has no place for them")
    return errors
