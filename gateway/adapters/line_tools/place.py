"""Where a line is and how it is set, as a person names it: a device, a TCP port, or a line of a configuration."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from gateway.adapters.line_tools.relay import Relay, Way
from gateway.adapters.lines.serial import SerialTransport
from gateway.adapters.lines.tcp import TcpTransport
from gateway.adapters.lines.transport import Transport
from protocols.modbus.frames import Framing

Kind = Literal["serial", "tcp", "modbus-tcp", "tcp-listen"]
PARITIES = ("E", "N", "O")
SPEEDS = (2400, 9600, 1200, 4800, 19200, 600)
"""What DL/T 645-2007 has, the commonest first (dlt645.md 2)."""
PATIENCE_MS = 600
"""For the first byte where nobody says otherwise: Td is at most 500 ms (dlt645.md 2)."""

_TERMINALS = "/dev/pts/"


class BadPlace(ValueError):
    """What was written is no line; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Speed and parity (N, E or O); always 8 data bits and 1 stop bit."""

    baud: int = 2400
    parity: str = "E"

    def __str__(self) -> str:
        return f"{self.baud} 8{self.parity}1"


DEFAULT = Setting()
"""What a DL/T 645-2007 meter has when it leaves the works (dlt645.md 2)."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line that can be opened. name: a person's; where: device path or host:port; setting: the first to try.

    told: somebody has named the speed, so it is known even where it cannot be set.
    through: to the running gateway that has the line; then it is asked as the gateway has set it. latency_ms: what converters add.
    made: a transport of a configured line at this setting; None for what `kind` and `where` say.
    """

    name: str
    kind: Kind
    where: str
    setting: Setting = DEFAULT
    told: bool = False
    gap_ms: int = 20
    through: Way | None = None
    latency_ms: int = 0
    made: Callable[[Setting], Transport] | None = None

    @property
    def settable(self) -> bool:
        """Whether we decide about speed and parity: not behind a serial server, and a pseudo-terminal has neither."""
        return self.through is None and self._has_setting

    @property
    def known(self) -> Setting | None:
        """Speed and parity of the wire; None where they are not ours to know."""
        return self.setting if self._has_setting else None

    @property
    def _has_setting(self) -> bool:
        return self.kind == "serial" and not os.path.realpath(self.where).startswith(_TERMINALS)

    @property
    def numbered(self) -> bool:
        """Whether a late answer can meet no other question: it carries a number, or the gateway outwaits it."""
        return self.kind == "modbus-tcp" or self.through is not None

    @property
    def converted(self) -> bool:
        """Whether a converter or a radio stands between, which may answer late."""
        return self.kind in ("tcp", "tcp-listen")

    @property
    def framing(self) -> Framing:
        """How Modbus is packed on it."""
        return "tcp" if self.kind == "modbus-tcp" else "rtu"

    @property
    def baud(self) -> int | None:
        """Speed of the wire as far as it is known."""
        return self.setting.baud if self.settable or self.told else None

    @property
    def how(self) -> str:
        """The setting in words, or why it does not matter."""
        if self.through is not None:
            return f"{f'at {self.known} ' if self.known else ''}through the running gateway"
        return str(self.setting) if self.settable else "at the speed that its other end is set to"

    def at(self, setting: Setting) -> Place:
        """The same line set otherwise."""
        return replace(self, setting=setting)

    def transport(self, patience_ms: int = PATIENCE_MS, search: bool = False) -> Transport:
        """A new transport, not yet open. patience_ms, search: told to the gateway that the line is reached through."""
        if self.through is not None:
            return Relay(self.through, numbered=self.kind == "modbus-tcp", patience_ms=patience_ms, search=search)
        if self.made is not None:
            return self.made(self.setting)
        if self.kind == "serial":
            return SerialTransport(self.where, baud=self.setting.baud, parity=self.setting.parity)
        host, _, port = self.where.rpartition(":")
        return TcpTransport(host.strip("[]"), int(port))


def parse_place(text: str, baud: int | None = None, parity: str | None = None) -> Place:
    """A device path, tcp:HOST:PORT or modbus-tcp:HOST:PORT. Raises BadPlace."""
    setting = Setting(baud or DEFAULT.baud, parity or DEFAULT.parity)
    kind, _, rest = text.partition(":")
    if kind == "tcp" or kind == "modbus-tcp":
        host, _, port = rest.rpartition(":")
        if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 65536:
            raise BadPlace(f"{text!r} is no TCP port: write it like {kind}:192.168.1.50:4001")
        return Place(text, "tcp" if kind == "tcp" else "modbus-tcp", rest, setting, told=baud is not None)
    if "/" not in text:
        raise BadPlace(f"{text!r} is no line: write a device (/dev/ttyUSB0), tcp:HOST:PORT, or -c FILE and a line's id")
    return Place(text, "serial", text, setting, told=baud is not None)
