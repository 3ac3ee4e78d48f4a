"""Is this configuration right? What the settings alone cannot see, and what `check` tells."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.adapters.profile_facts import gives, notice
from gateway.adapters.profiles import profile
from gateway.adapters.store import store_file
from gateway.bootstrap.lines import Passwords, examine_lines, has_switch
from gateway.bootstrap.schemes import examine_schemes
from gateway.bootstrap.tariffs import priced_registers, tariffs_of
from gateway.domain.price_list import Tariff
from gateway.settings import Account, Meter, Settings, SettingsError, secret_file


class CannotStart(Exception):
    """The gateway cannot run on this configuration and this machine; one sentence or more."""


@dataclass(frozen=True, slots=True)
class LineReport:
    """A line as `check` tells it."""

    id: str
    meters: int
    round_ms: int


@dataclass(frozen=True, slots=True)
class Report:
    """What `check` found. notices: what no meter has confirmed of the profiles in use."""

    lines: Sequence[LineReport]
    errors: Sequence[str]
    notices: Sequence[str] = ()


def sqlite_url(data: Path) -> str:
    """The SQLite store of a data directory."""
    return str(store_file(data))


def store_url(settings: Settings, folder: Path) -> str:
    """Where the money stands."""
    return settings.store.url or sqlite_url(folder / settings.gateway.data)


def examine(settings: Settings, folder: Path) -> Report:
    """What the settings alone cannot see: profiles, passwords, round times against the delays of load limits."""
    errors: list[str] = []
    passwords: Passwords | None = None
    try:
        passwords = passwords_of(settings, folder)
    except CannotStart as problem:
        errors.append(str(problem))
    rounds, problems = examine_lines(settings, passwords)
    errors += problems + examine_schemes(settings)
    tariffs: dict[str, Tariff] = {}
    try:
        tariffs = {tariff.id: tariff for tariff in tariffs_of(settings.tariff, folder, settings.gateway.zone)}
    except SettingsError as problem:
        errors += problem.errors
    lines = [LineReport(line.id, sum(m.line == line.id for m in settings.meter), rounds.get(line.id, 0)) for line in settings.line]
    for account in settings.account:
        meters = [meter for meter in settings.meter if meter.account == account.id]
        errors += [f"account {account.id}: {text}" for text in _unseen_load(account, meters, rounds, settings.live().instant_s)]
        if not problems and account.tariff in tariffs:
            errors += [f"account {account.id}: {text}" for text in _unpriced(account, meters, tariffs[account.tariff])]
    return Report(lines, errors, [] if problems else _notices(settings))


def _notices(settings: Settings) -> list[str]:
    used = {name for meter in settings.meter for name in (meter.profile, meter.switch and meter.switch.profile) if name}
    return [said for name in sorted(used) if (said := notice(profile(name)))]


def _unseen_load(account: Account, meters: Sequence[Meter], rounds: Mapping[str, int], instant_s: int) -> list[str]:
    """A load limit that could not be kept: seen too late, or nothing to cut."""
    if account.limit is None:
        return []
    errors = []
    slowest_s = max((rounds.get(meter.line, 0) / 1000 for meter in meters), default=0.0)
    if account.limit.delay_s < slowest_s:
        errors.append(
            f"its load limit's delay of {account.limit.delay_s} s is shorter than a round of its line ({slowest_s:.1f} s): "
            "the gateway could not see the load in time"
        )
    elif account.limit.delay_s < instant_s:
        errors.append(f"its load limit's delay of {account.limit.delay_s} s is shorter than scheme.instant_s ({instant_s} s)")
    if not any(meter.cut_with_account and has_switch(meter) for meter in meters):
        errors.append("it has a load limit, but no meter with a switch that the limit could open")
    return errors


def _unpriced(account: Account, meters: Sequence[Meter], tariff: Tariff) -> list[str]:
    """A currency that is not the account's, and registers that the tariff prices and one of the account's meters does not give: its
    bill would be held for ever."""
    foreign = f"is in {account.currency}, but tariff {tariff.id} prices in {tariff.currency}"
    return [foreign] * (tariff.currency != account.currency) + [
        f"tariff {account.tariff} prices {register}, which meter {meter.name} does not give"
        for meter in meters
        for register in priced_registers(tariff)
        if not gives(profile(meter.profile), register)
    ]


def passwords_of(settings: Settings, folder: Path) -> Passwords:
    """The meter passwords by class, from a file that only its owner may read."""
    if settings.gateway.passwords is None:
        return Passwords({})
    path = folder / settings.gateway.passwords
    try:
        return Passwords.parse(tomllib.loads(secret_file(path)))
    except SettingsError as problem:
        raise CannotStart(str(problem)) from None
    except (tomllib.TOMLDecodeError, ValueError) as problem:
        raise CannotStart(f"{path}: {problem}") from None
