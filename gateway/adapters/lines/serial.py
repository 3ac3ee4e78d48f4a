"""A serial port: opened and configured by pyserial, read by the event loop itself (no thread, no polling)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from functools import partial

import serial

from gateway.adapters.lines.transport import Inbox, LineDown

READ_SIZE = 4096
"""The size of the kernel's own tty buffer: more never comes at once."""

WRITE_STALL_S = 5.0
"""A port that takes no byte for so long is held by flow control or dead; the longest frame takes 5 s at 600 baud."""

CLOSE_S = 1.0
"""How long closing is waited for: a vanished USB adapter can hold it, and reopening must not wait for that."""

_IN_USE = (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK)


class SerialTransport:
    """A serial device by path, preferably /dev/serial/by-id/..., for this process alone.

    parity: N, E or O; DL/T 645 wants 8E1. A pty always gets N: it cannot hold parity, and asking for it fails on reopening.
    """

    def __init__(self, port: str, *, baud: int = 2400, parity: str = "E", stopbits: int = 1) -> None:
        self.port = port
        self._baud, self._parity, self._stopbits = baud, parity, stopbits
        self._device: serial.Serial | None = None
        self._inbox = Inbox(f"{port} is not open.")

    @property
    def name(self) -> str:
        return self.port

    @property
    def down(self) -> str | None:
        return self._inbox.down

    async def open(self) -> None:
        await self.close()
        try:
            device = self._configured()
        except ValueError as error:
            raise LineDown(f"{self.port} does not take these settings: {error}.") from error
        except OSError as error:
            raise LineDown(_why(self.port, error)) from error
        self._device, self._inbox = device, Inbox()
        asyncio.get_running_loop().add_reader(device.fileno(), self._readable, device.fileno(), self._inbox)

    def _configured(self) -> serial.Serial:
        pty = os.path.realpath(self.port).startswith("/dev/pts/")
        device = serial.Serial(
            self.port,
            baudrate=self._baud,
            parity=serial.PARITY_NONE if pty else self._parity,
            stopbits=self._stopbits,
            timeout=0,
            exclusive=True,
        )
        with contextlib.suppress(OSError, ValueError, NotImplementedError):  # an FTDI chip else keeps bytes back for 16 ms
            device.set_low_latency_mode(True)
        return device

    async def close(self) -> None:
        device, self._device = self._device, None
        self._inbox.fail(f"{self.port} is closed.")
        if device is None:
            return
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, ValueError):
            loop.remove_reader(device.fileno())
        closing = loop.run_in_executor(None, partial(_close, device))
        await asyncio.wait({closing}, timeout=CLOSE_S)

    async def send(self, data: bytes) -> None:
        device = self._device
        if device is None or self.down is not None:
            raise LineDown(self.down or f"{self.port} is not open.")
        left = data
        while left:
            try:
                left = left[os.write(device.fileno(), left) :]
            except BlockingIOError:
                await self._writable(device.fileno(), sent=left != data)
            except OSError as error:
                raise LineDown(f"{self.port} is gone: {error.strerror}.", sent=left != data) from error

    async def receive(self, timeout_s: float) -> bytes:
        return await self._inbox.take(timeout_s)

    def discard(self) -> int:
        return self._inbox.discard()

    def _readable(self, fd: int, inbox: Inbox) -> None:
        try:
            data = os.read(fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            data, why = b"", error.strerror
        else:
            why = "it hung up"
        if data:
            inbox.feed(data)
        else:
            asyncio.get_running_loop().remove_reader(fd)  # a dead descriptor is readable for ever
            inbox.fail(f"{self.port} is gone: {why}.")

    async def _writable(self, fd: int, *, sent: bool) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(fd, ready.set)
        try:
            async with asyncio.timeout(WRITE_STALL_S):
                await ready.wait()
        except TimeoutError:
            raise LineDown(f"{self.port} takes no bytes.", sent=sent) from None
        finally:
            loop.remove_writer(fd)


def _close(device: serial.Serial) -> None:
    with contextlib.suppress(OSError):
        device.close()


def _why(port: str, error: OSError) -> str:
    code = error.errno
    if code is None and error.__context__ is not None:  # pyserial puts termios errors into words only
        code = next(iter(error.__context__.args), None)
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"{port} does not exist; is the adapter plugged in?"
    if code in (errno.EACCES, errno.EPERM):
        return f"{port} may not be opened by this user; the group of the device (often dialout) is missing."
    if code in _IN_USE:
        return f"{port} is in use by another program."
    if code == errno.ENOTTY:
        return f"{port} is not a serial device."
    return f"{port} cannot be opened: {error.strerror or error}."
