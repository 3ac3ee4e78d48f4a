"""Is this configuration right? What the settings alone cannot see, and what `check` tells."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.adapters.store import Store, StoreError, store_file
from gateway.bootstrap.lines import Passwords, examine_lines
from gateway.services.verify_ledger import verify_ledger
from gateway.settings import Settings, SettingsError, secret_file


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
    """What `check` found."""

    lines: Sequence[LineReport]
    errors: Sequence[str]


def sqlite_url(data: Path) -> str:
    """The SQLite store of a data directory."""
    return str(store_file(data))


def store_url(settings: Settings, folder: Path) -> str:
    """Where the money stands."""
    return settings.store.url or sqlite_url(folder / settings.gateway.data)


def verify(url: str) -> tuple[int, str | None]:
    """Entries checked and the first finding; works beside a running gateway."""
    try:
        with Store.open(url, read_only=True) as store:
            return store.read_now(verify_ledger)
    except StoreError as problem:
        raise CannotStart(str(problem)) from None


def examine(settings: Settings, folder: Path) -> Report:
    """What the settings alone cannot see: profiles, passwords, round times against the delays of load limits."""
    errors: list[str] = []
    passwords: Passwords | None = None
    try:
        passwords = passwords_of(settings, folder)
    except CannotStart as problem:
        errors.append(str(problem))
    rounds, problems = examine_lines(settings, passwords)
    errors += problems
    lines = [LineReport(line.id, sum(m.line == line.id for m in settings.meter), rounds.get(line.id, 0)) for line in settings.line]
    for account in settings.account:
        slowest = max((rounds.get(m.line, 0) for m in settings.meter if m.account == account.id), default=0)
        if account.limit is not None and account.limit.delay_s * 1000 < slowest:
            errors.append(
                f"account {account.id}: its load limit's delay of {account.limit.delay_s} s is shorter than a round of its line "
                f"({slowest / 1000:.1f} s): the gateway could not see the load in time"
            )
    return Report(lines, errors)


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
