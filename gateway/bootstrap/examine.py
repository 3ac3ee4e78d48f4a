"""Is this configuration right? What the settings alone cannot see, and what `check` tells."""

from __future__ import annotations

import tomllib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.adapters.clock import Clock
from gateway.adapters.profile_facts import gives, notice
from gateway.adapters.profiles import profile
from gateway.adapters.store import store_file
from gateway.bootstrap.banks import bank_notices, ended_bank_tls, examine_banks
from gateway.bootstrap.calendars import ended_calendars, examine_calendars
from gateway.bootstrap.iso8583 import faults as examine_iso8583
from gateway.bootstrap.limits import examine_limits
from gateway.bootstrap.lines import Passwords, examine_lines
from gateway.bootstrap.notices import examine_notices
from gateway.bootstrap.outputs import examine_outputs
from gateway.bootstrap.policies import examine_policies
from gateway.bootstrap.schemes import examine_schemes
from gateway.bootstrap.tariffs import priced_registers, tariffs_of
from gateway.bootstrap.transport import examine_transport
from gateway.bootstrap.wallets import crypto_of, examine_wallets
from gateway.domain.price_list import Tariff
from gateway.domain.slots import day_of
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
    """What `check` found. notices: what no meter has confirmed of the profiles in use, and what of the banks may not be
    meant so. ended: calendars and certificates that have ended, which only a start lives with."""

    lines: Sequence[LineReport]
    errors: Sequence[str]
    notices: Sequence[str] = ()
    ended: Sequence[str] = ()


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
    errors += problems + examine_schemes(settings) + examine_policies(settings)
    errors += examine_calendars(settings, folder) + examine_notices(settings, folder)
    errors += examine_iso8583(settings, folder, Clock().now_ms())
    errors += examine_banks(settings, folder)
    tariffs: dict[str, Tariff] = {}
    try:
        tariffs = {tariff.id: tariff for tariff in tariffs_of(settings.tariff, folder, settings.gateway.zone)}
    except SettingsError as problem:
        errors += problem.errors
    errors += examine_wallets(settings, tariffs) + examine_transport(settings, folder, Clock().now_ms())
    errors += examine_outputs(settings, folder)
    counts, owned = Counter(meter.line for meter in settings.meter), defaultdict[str | None, list[Meter]](list)
    for meter in settings.meter:
        owned[meter.account].append(meter)
    lines = [LineReport(line.id, counts[line.id], rounds.get(line.id, 0)) for line in settings.line]
    errors += examine_limits(settings, owned, rounds)
    for account in settings.account:
        meters = owned[account.id]
        if not problems and account.tariff in tariffs:
            errors += [f"account {account.id}: {text}" for text in _unpriced(account, meters, tariffs[account.tariff])]
    now_ms = Clock().now_ms()
    ended = ended_calendars(settings, folder, date.fromisoformat(day_of(now_ms, ZoneInfo(settings.gateway.zone))))
    notices = [*([] if problems else _notices(settings)), *bank_notices(settings)]
    return Report(lines, errors, notices, [*ended, *ended_bank_tls(settings, folder, now_ms)])


def _notices(settings: Settings) -> list[str]:
    used = {name for meter in settings.meter for name in (meter.profile, meter.switch and meter.switch.profile) if name}
    return [said for name in sorted(used) if (said := notice(profile(name)))]


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
        return _with_crypto(Passwords({}), settings, folder)
    path = folder / settings.gateway.passwords
    try:
        return _with_crypto(Passwords.parse(tomllib.loads(secret_file(path))), settings, folder)
    except SettingsError as problem:
        raise CannotStart(str(problem)) from None
    except (tomllib.TOMLDecodeError, ValueError) as problem:
        raise CannotStart(f"{path}: {problem}") from None


def _with_crypto(passwords: Passwords, settings: Settings, folder: Path) -> Passwords:
    """What makes a meter believe us, in one book. CannotStart where the token of the crypto service cannot be read."""
    try:
        passwords.crypto = crypto_of(settings, folder)
    except SettingsError as problem:
        raise CannotStart(str(problem)) from None
    return passwords
