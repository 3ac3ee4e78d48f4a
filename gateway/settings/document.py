"""The configuration: one TOML file, every error at once, each with its key and reason (contract.md 7).

Environment variables WATTGATE_TABLE__KEY override single keys of the top tables. Secrets stand in files of mode 0600.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tomllib
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from gateway.domain.notices import BUILT_IN
from gateway.settings.accounts import Account
from gateway.settings.bank import Bank
from gateway.settings.calendars import NoCutCalendar
from gateway.settings.credit import NamedPolicy
from gateway.settings.cut_rules import Limits
from gateway.settings.limits import LoadPolicy, strangers
from gateway.settings.lines import Line, shared_ports
from gateway.settings.notices import NoticeChannel, Notices
from gateway.settings.outputs import Output
from gateway.settings.outputs import faults as output_faults
from gateway.settings.tariffs import Tariff
from gateway.settings.trust import Clock
from gateway.settings.uplink import Mqtt, Uplink
from gateway.settings.uplink_keys import UplinkKeyTable
from gateway.settings.wallets import Wallets
from gateway.settings.words import Address, Id, Listen, Ratio, Service, Table, Zone, fault


class SettingsError(ValueError):
    """Everything that is wrong with a configuration; `errors` holds one sentence each."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = errors
        super().__init__("\n".join(errors))


class Gateway(Table):
    id: Id
    data: str = "data"
    zone: Zone = "Asia/Shanghai"
    passwords: str | None = None


class Store(Table):
    """url: where the money stands. reserve_mib: kept free beside a SQLite store for what gives supply back; its log alone takes 4,
    and 0 keeps nothing. The others: how long what is not money is kept."""

    url: str | None = None
    reserve_mib: Annotated[int, Field(ge=0, le=65_536)] = 64
    readings_days: Annotated[int, Field(ge=40, le=36_500)] = 396
    acknowledged_days: Annotated[int, Field(ge=1, le=3_650)] = 7
    acknowledged_money_days: Annotated[int, Field(ge=1, le=3_650)] = 90


class Ledger(Table):
    """close_after_days: how long after its end a month is closed; late readings of it have been billed by then."""

    close_after_days: Annotated[int, Field(ge=1, le=3_650)] = 40


class Http(Table):
    listen: Listen = "127.0.0.1:8080"
    open_get: bool = False
    token_file: str = "operator.token"


class Security(Table):
    """A crypto service that makes MACs for meters; its bearer token stands in a secret file."""

    url: Service | None = None
    token_file: str | None = None


class SeparateSwitch(Table):
    """A switch that is a device of its own: its line, unit and channel."""

    line: Id
    address: Address
    profile: str
    channel: Annotated[int, Field(ge=0, le=255)] = 0


class Meter(Table):
    """ct, pt: ratios of the transformers in front of a meter that shows secondary values. max_power_w: in front of them."""

    line: Id
    address: Address
    profile: str
    id: Id | None = None
    account: Id | None = None
    point: Id | None = None
    password: str | None = None
    max_power_w: Annotated[int, Field(ge=1, le=1_000_000_000)] = 60_000
    ct: Ratio = "1"
    pt: Ratio = "1"
    cut_with_account: bool = True
    switch: SeparateSwitch | None = None

    @property
    def name(self) -> str:
        """The operator's id, by default line-address."""
        return self.id or f"{self.line}-{self.address}"

    @property
    def ratio(self) -> Fraction:
        """Of all transformers together."""
        return Fraction(self.ct) * Fraction(self.pt)


class Scheme(Table):
    """What is collected, and when. billing_s, instant_s, switch_s: how often the live scheme polls each group, in seconds.

    A key that is left out is that of the shipped scheme of this id (config/schemes); target in per cent.
    """

    id: Id = "live"
    want: Literal["live", "day", "month", "curve", "events"] | None = None
    enabled: bool = True
    billing_s: Annotated[int, Field(ge=1)] = 900
    instant_s: Annotated[int, Field(ge=1)] = 60
    switch_s: Annotated[int, Field(ge=1)] = 300
    cron: str | None = None
    window_min: Annotated[int, Field(ge=1, le=44_640)] | None = None
    step_min: Literal[1, 5, 10, 15, 30, 60] | None = None
    priority: Annotated[int, Field(ge=0, le=9)] | None = None
    retries: Annotated[int, Field(ge=0, le=100)] | None = None
    target: Annotated[str, StringConstraints(pattern=r"^(100(\.00?)?|[0-9]{1,2}(\.[0-9]{1,2})?)$")] | None = None
    meters: list[Id] | None = None
    lines: list[Id] | None = None

    @property
    def polls(self) -> bool:
        """Whether this is the scheme of the present."""
        return self.want == "live" or (self.want is None and self.id == "live")

    @model_validator(mode="after")
    def _of_one_kind(self) -> Self:
        periods = {"billing_s", "instant_s", "switch_s"}
        foreign = self.model_fields_set - {"id", "want"} - periods if self.polls else self.model_fields_set & periods
        if foreign:
            raise ValueError(f"a scheme for {self.want or self.id} has no {', '.join(sorted(foreign))}")
        return self


class Settings(Table):
    """The whole file."""

    gateway: Gateway
    store: Store = Store()
    ledger: Ledger = Ledger()
    http: Http = Http()
    bank: Bank = Bank()
    mqtt: Mqtt | None = None
    output: list[Output] = []
    uplink: Uplink = Uplink()
    uplink_key: list[UplinkKeyTable] = []
    clock: Clock = Clock()
    security: Security = Security()
    wallets: Wallets = Wallets()
    limits: Limits = Limits()
    line: list[Line] = []
    meter: list[Meter] = []
    account: list[Account] = []
    tariff: list[Tariff] = []
    scheme: list[Scheme] = []
    no_cut_calendar: list[NoCutCalendar] = []
    notice_channel: list[NoticeChannel] = []
    notices: Notices = Notices()
    load_policy: list[LoadPolicy] = []
    policy: list[NamedPolicy] = []

    @property
    def meter_zone(self) -> str:
        """The time that the meters' clocks show."""
        return self.clock.meter_zone or self.gateway.zone

    def live(self) -> Scheme:
        """The scheme of the polls."""
        return next((scheme for scheme in self.scheme if scheme.polls), Scheme())


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Settings:
    """The checked settings of a file. Raises SettingsError with every error at once."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as problem:
        raise SettingsError([f"{path}: cannot be read: {problem.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise SettingsError([f"{path}: is not TOML: {problem}"]) from None
    _override(document, environment)
    try:
        settings = Settings.model_validate(document)
    except ValidationError as problem:
        faults = [f"{path}: {fault(error, 'the file')}" for error in problem.errors()]
        raise SettingsError(faults + _rest(path, document, problem)) from None
    if errors := [f"{path}: {text}" for text in across(settings)]:
        raise SettingsError(errors)
    return settings


def _rest(path: Path, document: dict[str, object], problem: ValidationError) -> list[str]:
    """What else is wrong between the tables, where that can be told without the single values that are wrong."""
    for error in problem.errors():
        *way, key = error["loc"]
        table = document
        with contextlib.suppress(KeyError, IndexError, TypeError):  # its table has gone already
            for step in way:
                table = table[step]  # type: ignore[index,assignment]
            table.pop(key, None)  # type: ignore[arg-type]
    try:
        return [f"{path}: {text}" for text in across(Settings.model_validate(document))]
    except ValidationError:
        return []


def _override(document: dict[str, object], environment: Mapping[str, str]) -> None:
    for name, value in environment.items():
        table, _, key = name.removeprefix("WATTGATE_").lower().partition("__")
        if name.startswith("WATTGATE_") and key and table in Settings.model_fields:
            section = document.setdefault(table, {})
            if isinstance(section, dict):
                section[key] = int(value) if value.isdecimal() else {"true": True, "false": False}.get(value, value)


def across(settings: Settings) -> list[str]:
    """What no table can see alone: doubles, references into nothing, listeners where they must not be."""
    errors = _doubles(settings)
    lines, accounts = {line.id for line in settings.line}, {a.id: a for a in settings.account}
    tariffs = {tariff.id: tariff for tariff in settings.tariff}
    for meter in settings.meter:
        if meter.line not in lines:
            errors.append(f"meter {meter.name}: there is no line {meter.line}")
        if meter.account is not None and meter.account not in accounts:
            errors.append(f"meter {meter.name}: there is no account {meter.account}")
        if meter.switch is not None and meter.switch.line not in lines:
            errors.append(f"meter {meter.name}: its switch is on line {meter.switch.line}, which there is not")
    for account in settings.account:
        tariff = tariffs.get(account.tariff)
        if tariff is None:
            errors.append(f"account {account.id}: there is no tariff {account.tariff}")
        elif tariff.currency is not None and tariff.currency != account.currency:
            errors.append(f"account {account.id}: is in {account.currency}, but tariff {tariff.id} prices in {tariff.currency}")
    errors += strangers(((account.id, account.limit) for account in settings.account), settings.load_policy)
    channels = {channel.id for channel in settings.notice_channel} | BUILT_IN
    errors += [
        f"account {account.id}: there is no notice_channel {contact.channel}"
        for account in settings.account
        for contact in account.contacts
        if contact.channel not in channels
    ]
    listen, where = settings.bank.listen or settings.http.listen, "bank" if settings.bank.listen else "http"
    host = listen.rpartition(":")[0].strip("[]")
    if settings.bank.enabled and settings.bank.signatures == "off" and host not in ("127.0.0.1", "::1", "localhost"):
        errors.append(f'bank: signatures = "off" is allowed only where {where}.listen is on loopback')
    off = settings.uplink.signatures == "off" and settings.mqtt is not None
    if off and settings.mqtt is not None and settings.mqtt.host not in ("127.0.0.1", "::1", "localhost"):
        errors.append('uplink: signatures = "off" is allowed only where the broker is on loopback')
    errors += output_faults(settings.output, settings.mqtt)
    return errors + shared_ports(settings.line, settings.http.listen)


def _doubles(settings: Settings) -> list[str]:
    errors = []
    for what, names in (
        ("line", [line.id for line in settings.line]),
        ("meter", [meter.name for meter in settings.meter]),
        ("account", [account.id for account in settings.account]),
        ("tariff", [tariff.id for tariff in settings.tariff]),
        ("scheme", [scheme.id for scheme in settings.scheme]),
        ("no_cut_calendar", [calendar.id for calendar in settings.no_cut_calendar]),
        ("notice_channel", [channel.id for channel in settings.notice_channel]),
        ("load_policy", [policy.id for policy in settings.load_policy]),
        ("policy", [policy.id for policy in settings.policy]),
        ("uplink_key", [key.kid for key in settings.uplink_key]),
    ):
        errors += [f"{what} {name}: is there twice" for name, count in sorted(Counter(names).items()) if count > 1]
    seen: dict[tuple[str, str], str] = {}
    for meter in settings.meter:
        place = (meter.line, meter.address.lstrip("0") or "0")
        if place in seen:
            errors.append(f"meter {meter.name}: address {meter.address} on line {meter.line} is already meter {seen[place]}")
        seen.setdefault(place, meter.name)
    holders: dict[str, str] = {}
    for key in settings.uplink_key:
        if (other := holders.setdefault(key.public, key.kid)) != key.kid:
            errors.append(f"uplink_key {key.kid}: its public key is that of {other}: one key cannot be two people")
    return errors + _shared_switches(settings, seen)


def _shared_switches(settings: Settings, meters: Mapping[tuple[str, str], str]) -> list[str]:
    """Two houses on one switch, or a switch module at the address of a meter: the wrong house would be cut."""
    errors: list[str] = []
    seen: dict[tuple[str, str, int], str] = {}
    for meter in settings.meter:
        if meter.switch is None:
            continue
        line, unit = meter.switch.line, meter.switch.address.lstrip("0") or "0"
        place = (line, unit, meter.switch.channel)
        if place in seen:
            errors.append(
                f"meter {meter.name}: its switch, channel {place[2]} of {unit} on line {line}, is that of meter {seen[place]}"
            )
        if (line, unit) in meters:
            errors.append(f"meter {meter.name}: its switch has the address of meter {meters[line, unit]} on line {line}")
        seen.setdefault(place, meter.name)
    return errors


def secret_file(path: Path) -> str:
    """The text of a secret's file, which only its owner may read. SettingsError otherwise."""
    try:
        mode = path.stat().st_mode
        if stat.S_IMODE(mode) & 0o077:
            raise SettingsError([f"{path}: holds a secret and may be read by others; chmod 600 it"])
        return path.read_text("utf-8").strip()
    except OSError as problem:
        raise SettingsError([f"{path}: cannot be read: {problem.strerror}"]) from None
