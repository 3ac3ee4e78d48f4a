"""The configured lines as drivers, links and polls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from gateway.adapters.clock import Clock
from gateway.adapters.crypto_service import Crypto
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.manner import MannerState
from gateway.adapters.meter_links.dlt645_link import Dlt645Link, Password
from gateway.adapters.meter_links.modbus_link import ModbusLink
from gateway.adapters.profile_facts import password_class, round_ms, switch_facts
from gateway.adapters.profiles import MeterProfile, ProfileError, profile
from gateway.bootstrap.archive import unfit_ratio
from gateway.bootstrap.policies import policies_of, table_of
from gateway.bootstrap.transports import mistakable, transport_of
from gateway.domain.jobs import Group
from gateway.domain.meters import SwitchKind
from gateway.entrypoints.line_loop import Link
from gateway.services.plan import Poll
from gateway.settings import Account, Line, Meter, Scheme, Settings, SettingsError

BROADCAST = 999_999_999_999
"""The address of all meters (dlt645.md 2)."""


class Passwords:
    """Meter passwords by class; never shown."""

    def __init__(self, classes: Mapping[str, Password], operator: str = "00000000") -> None:
        self._classes, self.operator = dict(classes), operator
        self.crypto: Crypto | None = None
        """Makes MACs for meters' wallets; None where no service is configured."""

    @classmethod
    def parse(cls, document: Mapping[str, object]) -> Passwords:
        """From the passwords file: a table a class, with `password` (6 digits) and `level` (0 to 9). Raises ValueError."""
        classes = {}
        for name, table in document.items():
            keys = set(table) if isinstance(table, dict) else set()
            if not isinstance(table, dict) or not keys <= {"password", "level"} or "password" not in keys:
                raise ValueError(f"class {name} needs password (6 digits) and may have level (0 to 9)")
            digits, level = table["password"], table.get("level")
            if not isinstance(digits, str) or len(digits) != 6 or not digits.isdecimal():
                raise ValueError(f"class {name}: a password is a text of 6 digits")
            if level is not None and (type(level) is not int or not 0 <= level <= 9):
                raise ValueError(f"class {name}: a level is a number from 0 to 9")
            classes[name] = Password(digits, level)
        return cls(classes)

    def password(self, name: str) -> Password:
        """LookupError when there is no such class."""
        if name not in self._classes:
            raise LookupError(f"the passwords file has no class {name}")
        return self._classes[name]

    def __contains__(self, name: str) -> bool:
        return name in self._classes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Passwords) and (self._classes, self.operator) == (other._classes, other.operator)

    def take(self, other: Passwords) -> None:
        """From now on these are the passwords, for all links that were given this book."""
        self._classes, self.operator = dict(other._classes), other.operator


class MeterLink(Link, Protocol):
    """A link that can be looked at."""

    @property
    def manner(self) -> MannerState:
        """What it has learned about its device."""


@dataclass(slots=True)
class BuiltLine:
    """A line ready for its loop. fresh: meters whose link here is new, where the line itself is not."""

    id: str
    driver: Driver
    meters: int
    polls: list[Poll] = field(default_factory=list)
    reads: dict[str, MeterLink] = field(default_factory=dict)
    switches: dict[str, MeterLink] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)

    def same_work(self, other: BuiltLine) -> bool:
        """Whether the same driver does the same for the same links."""
        mine = (self.driver, self.polls, self.reads, self.switches)
        return mine == (other.driver, other.polls, other.reads, other.switches)


@dataclass(frozen=True, slots=True)
class Before:
    """What runs, and what it was built from: a line or meter that is still configured like that is taken over as it stands."""

    settings: Settings
    lines: Mapping[str, BuiltLine]

    def driver(self, line: Line) -> Driver | None:
        """The driver of a line whose settings have not changed."""
        return self.lines[line.id].driver if line in self.settings.line else None

    def meters(self) -> dict[str, Meter]:
        """By name."""
        return {meter.name: meter for meter in self.settings.meter}


def build_lines(settings: Settings, passwords: Passwords, clock: Clock, before: Before | None = None) -> list[BuiltLine]:
    """Every configured line with its meters. Raises ProfileError."""
    configured = {line.id: line for line in settings.line}
    kept = {line.id: before.driver(line) if before else None for line in settings.line}
    built = {line.id: BuiltLine(line.id, kept[line.id] or _driver(line, clock), 0) for line in settings.line}
    meters_before = before.meters() if before else {}
    builder = _Builder(configured, built, passwords, clock, settings.live(), settings.meter_zone, before, meters_before)
    for meter in settings.meter:
        builder.add(meter)
    return list(built.values())


def _driver(line: Line, clock: Clock) -> Driver:
    numbered = line.kind == "modbus-tcp"
    baud = None if numbered else line.baud
    return Driver(transport_of(line, clock), baud=baud, clock=clock, latency_ms=line.added_ms(), numbered=numbered)


@dataclass(frozen=True, slots=True)
class _Builder:
    configured: Mapping[str, Line]
    built: Mapping[str, BuiltLine]
    passwords: Passwords
    clock: Clock
    scheme: Scheme
    zone: str
    before: Before | None
    meters_before: Mapping[str, Meter]

    def add(self, meter: Meter) -> None:
        """Hang a meter, and its switch where that is another device, on their lines."""
        line, reads = self.built[meter.line], profile(meter.profile)
        link = self._kept_meter(meter) or self._link(meter.name, meter.line, meter.address, reads, meter.password, 0)
        line.meters += 1
        line.reads[meter.name] = link
        periods = {Group.BILLING: self.scheme.billing_s * 1000, Group.INSTANT: self.scheme.instant_s * 1000}
        if meter.switch is not None:
            device = profile(meter.switch.profile)
            other = self.built[meter.switch.line]
            other.switches[meter.name] = self._kept_switch(meter) or self._link(
                meter.name, meter.switch.line, meter.switch.address, device, None, meter.switch.channel
            )
            other.polls.append(Poll(meter.name, {Group.SWITCH: self.scheme.switch_s * 1000}))
        elif switch_facts(reads).kind is not SwitchKind.NONE:
            line.switches[meter.name] = link
            periods[Group.SWITCH] = self.scheme.switch_s * 1000
        line.polls.append(Poll(meter.name, periods))

    def _kept_meter(self, meter: Meter) -> MeterLink | None:
        old = self.meters_before.get(meter.name)
        if old is None or _at(old) != _at(meter) or not self._stays(meter.line):
            return None
        return self.before.lines[meter.line].reads[meter.name] if self.before else None

    def _kept_switch(self, meter: Meter) -> MeterLink | None:
        old, switch = self.meters_before.get(meter.name), meter.switch
        if old is None or switch is None or old.switch != switch or not self._stays(switch.line):
            return None
        return self.before.lines[switch.line].switches[meter.name] if self.before else None

    def _stays(self, line: str) -> bool:
        """Whether the line is the one that runs."""
        known = self.before.lines.get(line) if self.before else None
        return known is not None and known.driver is self.built[line].driver

    def _link(self, name: str, line_id: str, address: str, device: MeterProfile, password: str | None, channel: int) -> MeterLink:
        line, driver = self.configured[line_id], self.built[line_id].driver
        self.built[line_id].fresh.add(name)
        if device.protocol != "modbus":
            return Dlt645Link(
                driver,
                name,
                address,
                device,
                clock=self.clock,
                passwords=self.passwords,
                password_class=password,
                operator=self.passwords.operator,
                crypto=self.passwords.crypto,
                gap_ms=line.gap_ms,
                zone=self.zone,
            )
        return ModbusLink(
            driver,
            name,
            int(address),
            device,
            clock=self.clock,
            framing="tcp" if line.kind == "modbus-tcp" else "rtu",
            channel=channel,
            gap_ms=line.gap_ms,
        )


def _at(meter: Meter) -> tuple[str | None, ...]:
    """What the link to a meter is made of."""
    return (meter.line, meter.address, meter.profile, meter.password)


def examine_lines(settings: Settings, passwords: Passwords | None) -> tuple[dict[str, int], list[str]]:
    """Round time of every line in ms, and what is wrong with meters and their profiles."""
    rounds, errors = {line.id: 0 for line in settings.line}, []
    lines, accounts = {line.id: line for line in settings.line}, _with_policies(settings)
    for meter in settings.meter:
        line = lines[meter.line]
        try:
            reads = profile(meter.profile)
            rounds[line.id] += round_ms(reads, 0 if line.kind == "modbus-tcp" else 11_000 / line.baud, line.gap_ms)
            errors += [f"meter {meter.name}: {text}" for text in _unfit(meter, lines, accounts, passwords)]
        except (ProfileError, ValueError) as problem:
            errors.append(f"meter {meter.name}: {problem}")
    return rounds, errors


def _with_policies(settings: Settings) -> Mapping[str, Account]:
    """The accounts with the policy that is meant; one that there is not is told elsewhere."""
    try:
        known = policies_of(settings)
    except SettingsError:
        known = {}
    return {account.id: account.model_copy(update={"policy": table_of(account, known)}) for account in settings.account}


def _unfit(meter: Meter, lines: Mapping[str, Line], accounts: Mapping[str, Account], passwords: Passwords | None) -> Sequence[str]:
    errors: list[str] = []
    reads, line = profile(meter.profile), lines[meter.line]
    errors += _misplaced(reads, meter.address, line)
    errors += [text] if (text := unfit_ratio(meter)) else []
    if meter.switch is not None:
        device = profile(meter.switch.profile)
        errors += [f"its switch: {text}" for text in _misplaced(device, meter.switch.address, lines[meter.switch.line])]
        if switch_facts(device).kind is SwitchKind.NONE:
            errors.append(f"profile {meter.switch.profile} has no switch")
        elif meter.switch.channel >= switch_facts(device).channels:
            errors.append(f"profile {device.name} has {switch_facts(device).channels} channels, counted from 0")
    account = accounts.get(meter.account or "")
    kind = switch_facts(profile(meter.switch.profile) if meter.switch else reads).kind
    waits = account is not None and account.policy.reconnect == "allow"
    if account is not None and waits and kind is SwitchKind.CONTACTOR and meter.cut_with_account:
        errors.append(
            f'its switch has no button for the customer; write reconnect = "close" in account {account.id} if that is agreed'
        )
    needed = meter.password or password_class(reads)
    if passwords is not None and needed is not None and needed not in passwords:
        errors.append(f"its switch needs the password class {needed}, which the passwords file does not have")
    return errors


def has_switch(meter: Meter) -> bool:
    """Whether something can cut this meter. Raises ProfileError."""
    return switch_facts(profile(meter.switch.profile if meter.switch else meter.profile)).kind is not SwitchKind.NONE


def _misplaced(device: MeterProfile, address: str, line: Line) -> list[str]:
    """What is wrong with a device at this address on this line."""
    errors = mistakable(line, device.protocol, address)
    if device.protocol == "modbus":
        return errors if 1 <= int(address) <= 247 else ["a Modbus address is a unit from 1 to 247"]
    if line.kind == "modbus-tcp":
        errors.append(f"profile {device.name} speaks DL/T 645, which line {line.id} (modbus-tcp) does not carry")
    if int(address) == BROADCAST:
        errors.append("999999999999 is the broadcast address, which no meter answers")
    return errors
