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

from firmware_sim.bus import Bus
from firmware_sim.wire import Wire
from protocols.modbus.slave import Request, TcpSlave

MAX_CLIENTS = 8  # of one port; a serial server has fewer
MAX_UNREAD = 65_536  # bytes a client may leave unread before it is dropped
MAX_QUEUED = 16  # Modbus TCP transactions of one connection; the standard's own recommendation for a server
READ_SIZE = 4096


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
    """Moves one wire along real time: whoever reads and writes its near end calls `push` and gets bytes by `deliver`."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
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
        if (next_us := self.wire.next_us) is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0, next_us - now_us()) / 1e6, self._turn)


class PtyLine(Pump):
    """A pseudo-terminal in raw mode with a symlink at a configured path.

    Our own hold on the far end keeps the line alive between two openings; what nobody reads is lost, as on a wire.
    """

    def __init__(self, wire: Wire, path: str) -> None:
        super().__init__(wire)
        self.path = path
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
            self.push(data)

    def _release(self) -> None:
        os.close(self._near)
        os.close(self._far)
        self._near = self._far = -1


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
