"""The configured lines as drivers, links and polls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.serial import SerialTransport
from gateway.adapters.lines.tcp import TcpTransport
from gateway.adapters.meter_links.dlt645_link import Dlt645Link, Password
from gateway.adapters.meter_links.modbus_link import ModbusLink
from gateway.adapters.profile_facts import password_class, round_ms, switch_facts
from gateway.adapters.profiles import MeterProfile, ProfileError, profile
from gateway.domain.jobs import Group
from gateway.domain.meters import SwitchKind
from gateway.entrypoints.line_loop import Link
from gateway.services.plan import Poll
from gateway.settings import Account, Line, Meter, Scheme, Settings

BROADCAST = 999_999_999_999
"""The address of all meters (dlt645.md 2)."""


class Passwords:
    """Meter passwords by class; never shown."""

    def __init__(self, classes: Mapping[str, Password], operator: str = "00000000") -> None:
        self._classes, self.operator = dict(classes), operator

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


@dataclass(slots=True)
class BuiltLine:
    """A line ready for its loop."""

    id: str
    driver: Driver
    meters: int
    polls: list[Poll] = field(default_factory=list)
    reads: dict[str, Link] = field(default_factory=dict)
    switches: dict[str, Link] = field(default_factory=dict)


def build_lines(settings: Settings, passwords: Passwords, clock: Clock) -> list[BuiltLine]:
    """Every configured line with its meters. Raises ProfileError."""
    configured = {line.id: line for line in settings.line}
    built = {line.id: BuiltLine(line.id, _driver(line, clock), 0) for line in settings.line}
    builder = _Builder(configured, built, passwords, clock, settings.live())
    for meter in settings.meter:
        builder.add(meter)
    return list(built.values())


def _driver(line: Line, clock: Clock) -> Driver:
    if line.kind == "serial":
        return Driver(SerialTransport(line.device or "", baud=line.baud, parity=line.parity), baud=line.baud, clock=clock)
    transport = TcpTransport(line.host or "", line.port or 0)
    if line.kind == "modbus-tcp":
        return Driver(transport, baud=None, clock=clock, numbered=True)
    return Driver(transport, baud=line.baud, clock=clock)


@dataclass(frozen=True, slots=True)
class _Builder:
    configured: Mapping[str, Line]
    built: Mapping[str, BuiltLine]
    passwords: Passwords
    clock: Clock
    scheme: Scheme

    def add(self, meter: Meter) -> None:
        """Hang a meter, and its switch where that is another device, on their lines."""
        line, reads = self.built[meter.line], profile(meter.profile)
        link = self._link(meter.name, meter.line, meter.address, reads, meter.password, 0)
        line.meters += 1
        line.reads[meter.name] = link
        periods = {Group.BILLING: self.scheme.billing_s * 1000, Group.INSTANT: self.scheme.instant_s * 1000}
        if meter.switch is not None:
            device = profile(meter.switch.profile)
            other = self.built[meter.switch.line]
            other.switches[meter.name] = self._link(
                meter.name, meter.switch.line, meter.switch.address, device, None, meter.switch.channel
            )
            other.polls.append(Poll(meter.name, {Group.SWITCH: self.scheme.switch_s * 1000}))
        elif switch_facts(reads).kind is not SwitchKind.NONE:
            line.switches[meter.name] = link
            periods[Group.SWITCH] = self.scheme.switch_s * 1000
        line.polls.append(Poll(meter.name, periods))

    def _link(self, name: str, line_id: str, address: str, device: MeterProfile, password: str | None, channel: int) -> Link:
        line, driver = self.configured[line_id], self.built[line_id].driver
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
                gap_ms=line.gap_ms,
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


def examine_lines(settings: Settings, passwords: Passwords | None) -> tuple[dict[str, int], list[str]]:
    """Round time of every line in ms, and what is wrong with meters and their profiles."""
    rounds, errors = {line.id: 0 for line in settings.line}, []
    lines, accounts = {line.id: line for line in settings.line}, {account.id: account for account in settings.account}
    for meter in settings.meter:
        line = lines[meter.line]
        try:
            reads = profile(meter.profile)
            rounds[line.id] += round_ms(reads, 0 if line.kind == "modbus-tcp" else 11_000 / line.baud, line.gap_ms)
            errors += [f"meter {meter.name}: {text}" for text in _unfit(meter, lines, accounts, passwords)]
        except (ProfileError, ValueError) as problem:
            errors.append(f"meter {meter.name}: {problem}")
    return rounds, errors


def _unfit(meter: Meter, lines: Mapping[str, Line], accounts: Mapping[str, Account], passwords: Passwords | None) -> Sequence[str]:
    errors: list[str] = []
    reads, line = profile(meter.profile), lines[meter.line]
    errors += _misplaced(reads, meter.address, line)
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
    if device.protocol == "modbus":
        return [] if 1 <= int(address) <= 247 else ["a Modbus address is a unit from 1 to 247"]
    errors = []
    if line.kind == "modbus-tcp":
        errors.append(f"profile {device.name} speaks DL/T 645, which line {line.id} (modbus-tcp) does not carry")
    if int(address) == BROADCAST:
        errors.append("999999999999 is the broadcast address, which no meter answers")
    return errors
