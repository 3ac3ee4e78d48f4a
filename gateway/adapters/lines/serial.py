"""A serial port: opened and configured by pyserial, read by the event loop itself (no thread, no polling)."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import termios
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import serial
from serial.rs485 import RS485Settings

from gateway.adapters.lines.device_name import FOLDERS, DeviceName
from gateway.adapters.lines.transport import Inbox, LineDown, Tell, tell_nobody

READ_SIZE = 4096
"""The size of the kernel's own tty buffer: more never comes at once."""

WRITE_STALL_S = 5.0
"""A port that takes no byte for so long is held by flow control or dead; the longest frame takes 5 s at 600 baud."""

CLOSE_S = 1.0
"""How long closing is waited for: a vanished USB adapter can hold it, and reopening must not wait for that."""

_IN_USE = (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK)


@dataclass(frozen=True, slots=True)
class Rs485:
    """How the kernel switches a driver chip by RTS: its level while sending and otherwise, and pauses around the bytes in ms."""

    rts_tx: bool = True
    rts_rx: bool = False
    delay_tx_ms: int = 0
    delay_rx_ms: int = 0


class SerialTransport:
    """A serial device by path, for this process alone; found again under another name by its /dev/serial links.

    parity: N, E or O; DL/T 645 wants 8E1. A pty always gets N: it cannot hold parity, and asking for it fails on reopening.
    rs485: None where the adapter switches by itself, as USB adapters do.
    """

    def __init__(
        self,
        port: str,
        *,
        baud: int = 2400,
        parity: str = "E",
        stopbits: int = 1,
        rs485: Rs485 | None = None,
        tell: Tell = tell_nobody,
        folders: Sequence[Path] = FOLDERS,
    ) -> None:
        self.port = port
        self._baud, self._parity, self._stopbits, self._rs485 = baud, parity, stopbits, rs485
        self._tell, self._told = tell, set[str]()
        self._device_name = DeviceName(port, folders)
        self._fd: int | None = None
        self._inbox = Inbox(f"{port} is not open.")

    @property
    def name(self) -> str:
        return self.port

    @property
    def down(self) -> str | None:
        return self._inbox.down

    async def open(self) -> None:
        await self.close()
        self._fd, self._inbox = self._found(), Inbox()
        asyncio.get_running_loop().add_reader(self._fd, self._readable, self._fd, self._inbox)

    def _found(self) -> int:
        """Open it wherever it is now. Raises LineDown."""
        why = f"{self.port} is another adapter now than the one that was opened; is that one plugged in?"
        if not os.path.exists(self.port):
            why = f"{self.port} does not exist; is the adapter plugged in?"
        for place in self._device_name.places():
            try:
                fd = self._configured(place)
            except ValueError as error:
                why = f"{self.port} does not take these settings: {error}."
            except (OSError, termios.error) as error:  # pyserial lets some of the latter through
                why = _why(self.port, error)
            else:
                self._device_name.remember(place)
                return fd
        raise LineDown(why)

    def _configured(self, place: str) -> int:
        """A descriptor of our own: pyserial's takes four more, which it loses when closing a vanished adapter fails."""
        pty = os.path.realpath(place).startswith("/dev/pts/")
        parity = serial.PARITY_NONE if pty else self._parity
        device = serial.Serial(place, self._baud, parity=parity, stopbits=self._stopbits, timeout=0, exclusive=True)
        try:
            if pty and self._parity != parity:
                self._tell_once(
                    f"{self.port} is a pseudo-terminal, which cannot hold parity: "
                    f"it is set to 8N{self._stopbits} instead of 8{self._parity}{self._stopbits}."
                )
            if self._rs485 is not None:
                self._direct(device, self._rs485)
            with contextlib.suppress(OSError, ValueError, NotImplementedError):  # an FTDI chip else keeps bytes back for 16 ms
                device.set_low_latency_mode(True)
            return os.dup(device.fileno())
        finally:
            with contextlib.suppress(OSError):
                device.close()

    def _direct(self, device: serial.Serial, rs485: Rs485) -> None:
        try:
            device.rs485_mode = RS485Settings(
                rts_level_for_tx=rs485.rts_tx,
                rts_level_for_rx=rs485.rts_rx,
                delay_before_tx=rs485.delay_tx_ms / 1000,
                delay_before_rx=rs485.delay_rx_ms / 1000,
            )
        except (OSError, ValueError, termios.error) as error:
            self._tell_once(
                f"{self.port} does not take RS-485 direction settings ({error}): it works only if the adapter switches by itself."
            )

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._tell(text)

    async def close(self) -> None:
        fd, self._fd = self._fd, None
        self._inbox.fail(f"{self.port} is closed.")
        if fd is None:
            return
        asyncio.get_running_loop().remove_reader(fd)
        await _closed(fd)

    async def send(self, data: bytes) -> None:
        fd = self._fd
        if fd is None or self.down is not None:
            raise LineDown(self.down or f"{self.port} is not open.")
        left = data
        while left:
            try:
                left = left[os.write(fd, left) :]
            except BlockingIOError:
                await self._writable(fd, sent=left != data)
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


async def _closed(fd: int) -> None:
    """Close in a thread of its own: where a driver holds it, no other line and not the end of the process waits for it."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def close() -> None:
        with contextlib.suppress(OSError):
            os.close(fd)
        with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=close, name="close-line", daemon=True).start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await done.wait()


def _why(port: str, error: Exception) -> str:
    code = next((e.args[0] for e in (error, error.__context__) if e and e.args and isinstance(e.args[0], int)), None)
    if code in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"{port} does not exist; is the adapter plugged in?"
    if code in (errno.EACCES, errno.EPERM):
        return f"{port} may not be opened by this user; the group of the device (often dialout) is missing."
    if code in _IN_USE:
        return f"{port} is in use by another program."
    if code == errno.ENOTTY:
        return f"{port} is not a serial device."
    return f"{port} cannot be opened: {os.strerror(code) if code else error}."
