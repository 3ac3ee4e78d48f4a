"""Ends of lines: a pty, a TCP port with one RS-485 pair behind it, a Modbus TCP port. Timers, no tasks."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import pty
import termios
import time
import tty
from collections import deque
from collections.abc import Callable

import serial

from firmware_sim.bus import Bus
from firmware_sim.config import BAUDS
from firmware_sim.wire import Wire
from protocols.modbus.slave import Request, TcpSlave

MAX_CLIENTS = 8  # of one port; a serial server has fewer
MAX_UNREAD = 65_536  # bytes a client may leave unread before it is dropped
MAX_QUEUED = 16  # Modbus TCP transactions of one connection; the standard's own recommendation for a server
READ_SIZE = 4096
PTY_FOLDER = "/dev/pts/"
SPEEDS = {getattr(termios, f"B{baud}"): baud for baud in BAUDS}
REOPEN_S = 1.0  # an adapter that is plugged in again is back within this
DIAL_FIRST_S, DIAL_MOST_S = 1.0, 30.0  # a modem's pause between calls
DIAL_TIMEOUT_S = 10.0


class LineError(Exception):
    """The endpoint cannot be opened; the text is one sentence."""


def now_us() -> int:
    """Monotonic microseconds."""
    return time.monotonic_ns() // 1000


def reason(error: OSError) -> str:
    """Why, in the system's words; a port that is taken says what to do."""
    if error.errno == errno.EADDRINUSE:
        return "it is in use; choose another, or 0 for a free one"
    return error.strerror or str(error)


class Pump:
    """Moves one wire along real time: whoever reads and writes its near end calls `push` and gets bytes by `deliver`.

    tap: hears too what the master hears.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.tap: Callable[[bytes], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def push(self, data: bytes) -> None:
        """Bytes from the master."""
        self.wire.write(data, now_us())
        self._turn()

    def stop(self) -> None:
        """Nothing is delivered any more."""
        if self._timer:
            self._timer.cancel()

    def deliver(self, data: bytes) -> None:
        """Bytes to the master."""
        raise NotImplementedError

    def _turn(self) -> None:
        self.stop()
        if heard := self.wire.poll(now_us()):
            self.deliver(heard)
            if self.tap:
                self.tap(heard)
        if (next_us := self.wire.next_us) is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0, next_us - now_us()) / 1e6, self._turn)


class PtyLine(Pump):
    """A pseudo-terminal in raw mode with a symlink at a configured path.

    Our own hold on the far end keeps the line alive between two openings; what nobody reads is lost, as on a wire.
    heard_at: told the speed that the master has set (its parity cannot be seen: the kernel takes it off a pty).
    """

    def __init__(self, wire: Wire, path: str, heard_at: Callable[[int], None] | None = None) -> None:
        super().__init__(wire)
        self.path = path
        self._heard_at = heard_at
        self._near = self._far = -1

    async def open(self) -> None:
        """Create pty and symlink. Raises LineError."""
        self._link()
        asyncio.get_running_loop().add_reader(self._near, self._readable)

    def _link(self) -> None:
        if os.path.lexists(self.path) and not os.path.islink(self.path):
            raise LineError(f"{self.path} is there and is not a link; name another path for this line.")
        self._near, self._far = pty.openpty()
        tty.setraw(self._far)
        attributes = termios.tcgetattr(self._far)
        attributes[2] |= termios.CLOCAL | termios.CREAD
        termios.tcsetattr(self._far, termios.TCSANOW, attributes)
        os.set_blocking(self._near, False)
        self.target = os.ttyname(self._far)
        beside = f"{self.path}.{os.getpid()}"
        try:
            os.symlink(self.target, beside)
            os.replace(beside, self.path)
        except OSError as error:
            self._release()
            raise LineError(f"The link {self.path} cannot be made: {reason(error)}.") from error

    def close(self) -> None:
        """Remove the link, if it is still ours, and the pty."""
        self.stop()
        if self._near < 0:
            return
        asyncio.get_running_loop().remove_reader(self._near)
        with contextlib.suppress(OSError):
            if os.readlink(self.path) == self.target:
                os.unlink(self.path)
        self._release()

    def deliver(self, data: bytes) -> None:
        try:
            written = os.write(self._near, data)
        except OSError:
            written = 0
        self.wire.counters.lost_bytes += len(data) - written

    def _readable(self) -> None:
        try:
            data = os.read(self._near, READ_SIZE)
        except BlockingIOError:
            return
        if data:
            baud = SPEEDS.get(termios.tcgetattr(self._far)[5])
            if self._heard_at and baud and baud != self.wire.baud:
                self._heard_at(baud)
            self.push(data)

    def _release(self) -> None:
        os.close(self._near)
        os.close(self._far)
        self._near = self._far = -1


class SerialLine(Pump):
    """A real serial port with meters behind it: 8 data bits, even parity, one stop bit; a pty has no parity.

    A port that vanishes is opened again every second.
    """

    def __init__(self, wire: Wire, path: str, baud: int, parity: str) -> None:
        super().__init__(wire)
        self.path = path
        self._baud = baud
        self._parity = serial.PARITY_NONE if os.path.realpath(path).startswith(PTY_FOLDER) else parity
        self._port: serial.Serial | None = None
        self._again: asyncio.TimerHandle | None = None

    async def open(self) -> None:
        """Open the port. Raises LineError."""
        try:
            self._connect()
        except (OSError, ValueError, termios.error) as error:
            raise LineError(f"The serial port {self.path} cannot be opened: {_why(error)}.") from error

    def close(self) -> None:
        """Let go of the port."""
        self.stop()
        if self._again:
            self._again.cancel()
        self._release()

    def deliver(self, data: bytes) -> None:
        try:
            written = self._port.write(data) if self._port else 0
        except OSError:
            self._lost()
            written = 0
        self.wire.counters.lost_bytes += len(data) - (written or 0)

    def _connect(self) -> None:
        port = serial.Serial(self.path, self._baud, parity=self._parity, timeout=0, write_timeout=0, exclusive=True)
        self._port = port
        asyncio.get_running_loop().add_reader(port.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            data = self._port.read(READ_SIZE) if self._port else b""
        except OSError:
            self._lost()
            return
        if data:
            self.push(data)

    def _lost(self) -> None:
        self._release()
        self._again = asyncio.get_running_loop().call_later(REOPEN_S, self._retry)

    def _retry(self) -> None:
        try:
            self._connect()
        except (OSError, ValueError, termios.error):
            self._lost()

    def _release(self) -> None:
        port, self._port = self._port, None
        if port:
            asyncio.get_running_loop().remove_reader(port.fileno())
            port.close()


class DialLine(Pump):
    """A modem that dials in to the master, says who it is, and sends a heartbeat; behind it the same RS-485 pair.

    A call that fails or ends is tried again, later and later, up to DIAL_MOST_S.
    """

    def __init__(self, wire: Wire, host: str, port: int, registration: bytes, heartbeat: bytes, heartbeat_s: int) -> None:
        super().__init__(wire)
        self.host, self.port = host, port
        self._registration, self._heartbeat, self._heartbeat_s = registration, heartbeat, heartbeat_s
        self._call: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._over = asyncio.Event()
        self._pulse: asyncio.TimerHandle | None = None

    @property
    def connected(self) -> bool:
        """The call stands."""
        return self._transport is not None

    async def open(self) -> None:
        """Begin to dial; who listens may come later."""
        self._call = asyncio.get_running_loop().create_task(self._dial())

    def close(self) -> None:
        """Hang up."""
        self.stop()
        if self._call:
            self._call.cancel()
        self.lost()

    def deliver(self, data: bytes) -> None:
        if self._transport:
            Port.send(self._transport, data)
        else:
            self.wire.counters.lost_bytes += len(data)

    def connected_by(self, transport: asyncio.Transport) -> None:
        """The other side has taken the call."""
        self._transport = transport
        self._over.clear()
        if self._registration:
            transport.write(self._registration)
        self._beat(first=True)

    def lost(self) -> None:
        """The call has ended."""
        transport, self._transport = self._transport, None
        if self._pulse:
            self._pulse.cancel()
        if transport:
            transport.abort()
        self._over.set()

    def _beat(self, first: bool = False) -> None:
        if not self._transport or not self._heartbeat:
            return
        if not first:
            Port.send(self._transport, self._heartbeat)
        self._pulse = asyncio.get_running_loop().call_later(self._heartbeat_s, self._beat)

    async def _dial(self) -> None:
        pause_s = DIAL_FIRST_S
        while True:
            try:
                async with asyncio.timeout(DIAL_TIMEOUT_S):
                    await asyncio.get_running_loop().create_connection(lambda: _Call(self), self.host, self.port)
            except OSError:  # TimeoutError is one
                await asyncio.sleep(pause_s)
                pause_s = min(DIAL_MOST_S, pause_s * 2)
                continue
            pause_s = DIAL_FIRST_S
            await self._over.wait()
            await asyncio.sleep(pause_s)


class _Call(asyncio.Protocol):
    def __init__(self, line: DialLine) -> None:
        self._line = line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._line.connected_by(transport)

    def data_received(self, data: bytes) -> None:
        self._line.push(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._line.lost()


def _why(error: Exception) -> str:
    return os.strerror(error.args[0]) if error.args and isinstance(error.args[0], int) else str(error)


class Port:
    """A listening TCP port with a bounded number of clients."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.clients: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen; `port` becomes the real one. Raises LineError."""
        try:
            self._server = await asyncio.get_running_loop().create_server(self.protocol, self.host, self.port)
        except OSError as error:
            raise LineError(f"Port {self.host}:{self.port} cannot be opened: {reason(error)}.") from error
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Stop listening and hang up."""
        if self._server:
            self._server.close()
        for client in list(self.clients):
            client.abort()

    def protocol(self) -> asyncio.Protocol:
        """One per connection."""
        raise NotImplementedError

    def admit(self, transport: asyncio.Transport) -> bool:
        """Count a new client in; one too many is hung up on."""
        if len(self.clients) >= MAX_CLIENTS:
            transport.abort()
            return False
        self.clients.add(transport)
        return True

    @staticmethod
    def send(transport: asyncio.Transport, data: bytes) -> None:
        """Write, or hang up on a client that does not read."""
        if transport.get_write_buffer_size() > MAX_UNREAD:
            transport.abort()
        elif not transport.is_closing():
            transport.write(data)


class TcpLine(Port, Pump):
    """A serial server: every client writes to the same pair and hears everything on it."""

    def __init__(self, wire: Wire, host: str, port: int) -> None:
        Port.__init__(self, host, port)
        Pump.__init__(self, wire)

    def protocol(self) -> asyncio.Protocol:
        return _SerialClient(self)

    def close(self) -> None:
        self.stop()
        super().close()

    def deliver(self, data: bytes) -> None:
        for client in list(self.clients):
            self.send(client, data)


class _SerialClient(asyncio.Protocol):
    def __init__(self, line: TcpLine) -> None:
        self._line = line

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._line.admit(transport)

    def data_received(self, data: bytes) -> None:
        if self._transport in self._line.clients:
            self._line.push(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._line.clients.discard(self._transport)


class ModbusTcpPort(Port):
    """Several units behind one port; a connection's transactions are answered one after another."""

    def __init__(self, bus: Bus, host: str, port: int) -> None:
        super().__init__(host, port)
        self.bus = bus

    def protocol(self) -> asyncio.Protocol:
        return _ModbusClient(self)


class _ModbusClient(asyncio.Protocol):
    """Queue of transactions; the head is acted on when the one before has been answered."""

    def __init__(self, port: ModbusTcpPort) -> None:
        self._port = port
        self._slave = TcpSlave(tuple(port.bus.modbus))
        self._queue: deque[tuple[Request, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._port.admit(transport)

    def data_received(self, data: bytes) -> None:
        if self._transport not in self._port.clients:
            return
        for request in self._slave.feed(data):
            if len(self._queue) >= MAX_QUEUED:
                self._transport.abort()
                return
            self._queue.append((request, data))
        if self._timer is None:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.clients.discard(self._transport)
        self._queue.clear()
        if self._timer:
            self._timer.cancel()

    def _next(self) -> None:
        self._timer = None
        while self._queue:
            request, raw = self._queue.popleft()
            reply = self._port.bus.modbus[request.unit].serve(request, raw, now_us())
            if reply:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(reply.delay_us / 1e6, self._send, reply.data)
                return

    def _send(self, data: bytes) -> None:
        self._port.send(self._transport, data)
        self._next()
