"""Tariffs by name, file and configuration, checked: what the settings say, in the domain's words."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from gateway.adapters.profiles import config_folder
from gateway.domain import price_list
from gateway.domain.readings import TOTAL
from gateway.domain.tariff_check import check
from gateway.settings import Account, SettingsError
from gateway.settings.tariff_parts import AdjustTables, PowerFactors
from gateway.settings.tariffs import Tariff
from gateway.settings.words import fault

POWER_FACTORS = "power-factor-1983.toml"
"""The built-in adjustment tables; they stand beside the tariffs."""


def tariffs_of(entries: Sequence[Tariff], folder: Path, zone: str) -> list[price_list.Tariff]:
    """Those of a configuration in this folder; zone: of a tariff that names none. Raises SettingsError with every error."""
    found: list[price_list.Tariff] = []
    errors: list[str] = []
    for entry in entries:
        try:
            found.append(load_file(find(entry.file, folder), entry.id, zone) if entry.file else _good(entry, zone))
        except SettingsError as problem:
            errors += [f"tariff {entry.id}: {text}" for text in problem.errors]
    if errors:
        raise SettingsError(errors)
    return found


def examine_tariffs(entries: Sequence[Tariff], accounts: Sequence[Account], folder: Path, zone: str) -> list[str]:
    """What is wrong with a configuration's tariffs, and with accounts that one in a file prices in another currency."""
    try:
        found = {tariff.id: tariff for tariff in tariffs_of(entries, folder, zone)}
    except SettingsError as problem:
        return problem.errors
    return [
        f"account {account.id}: is in {account.currency}, but tariff {account.tariff} prices in {found[account.tariff].currency}"
        for account in accounts
        if account.tariff in found and found[account.tariff].currency != account.currency
    ]


def priced_registers(tariff: price_list.Tariff) -> tuple[str, ...]:
    """The registers that a meter must give for this tariff, in any of its versions; of rates by the clock none but the total."""
    named = [name for version in tariff.versions for names in version.registers.values() for name in names]
    return tuple(dict.fromkeys([TOTAL, *named]))


def find(name: str, folder: Path) -> Path:
    """The file that is meant: a path with .toml from `folder` on, else one that wattgate ships. Raises SettingsError."""
    if name.endswith(".toml"):
        return folder / name
    if name not in (known := shipped()):
        raise SettingsError([f"there is no tariff {name}; write a path that ends with .toml, or one of {', '.join(known)}"])
    return known[name]


@cache
def shipped() -> dict[str, Path]:
    """config/tariffs, by name."""
    paths = sorted((config_folder() / "tariffs").glob("*.toml"))
    return {path.stem: path for path in paths if path.name != POWER_FACTORS}


@cache
def power_factors() -> PowerFactors:
    """The built-in adjustment tables, by standard in per cent. Raises SettingsError for a file that cannot be used."""
    path = config_folder() / "tariffs" / POWER_FACTORS
    try:
        tables = AdjustTables.model_validate(_document(path)).table
    except ValidationError as problem:
        raise SettingsError([f"{path}: {fault(error)}" for error in problem.errors()]) from None
    return {table.standard: table.power_factor() for table in tables}


def load_file(path: Path, name: str | None = None, zone: str | None = None) -> price_list.Tariff:
    """The tariff of a file; name: by default the file's own id, else how it is called; zone: where the file names none.

    Raises SettingsError with every error at once, each with file, key and reason.
    """
    document = {"id": path.stem} | _document(path) | ({"id": name} if name else {})
    try:
        tariff = Tariff.model_validate(document)
    except ValidationError as problem:
        raise SettingsError([f"{path}: {fault(error)}" for error in problem.errors()]) from None
    if tariff.file is not None:
        raise SettingsError([f"{path}: names another file; a tariff's file holds the tariff itself"])
    try:
        return _good(tariff, zone)
    except SettingsError as problem:
        raise SettingsError([f"{path}: {text}" for text in problem.errors]) from None


def _good(tariff: Tariff, zone: str | None) -> price_list.Tariff:
    if (zone := tariff.zone or zone) is None:
        raise SettingsError(["zone is missing: write one like Asia/Shanghai"])
    try:
        found = tariff.tariff(zone, power_factors())
    except ValueError as problem:
        raise SettingsError([str(problem)]) from None
    if faults := check(found):
        raise SettingsError(list(faults))
    return found


def _document(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as problem:
        raise SettingsError([f"{path}: cannot be read: {problem.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError([f"{path}: is not TOML: {problem}"]) from None
