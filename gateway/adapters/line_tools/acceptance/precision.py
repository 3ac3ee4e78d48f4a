"""How well this bench measures times on this line: a bound of the error, part by part, for the report."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

from gateway.adapters.line_tools.place import Place

SLEEPS = 20
"""Of 1 ms each; the worst wakes later than any answer's stamp is likely to."""

USB_MS = 16.0
"""An FTDI chip may keep bytes back for so long; most are set to 1 ms on opening, which not every driver grants."""

SERIAL_MS = 1.0
"""A serial port of the board, or a pseudo-terminal."""


@dataclass(frozen=True, slots=True)
class Precision:
    """parts_ms: what can be wrong and by how much, added up; a lab may state its own bound instead."""

    parts_ms: dict[str, float]

    @property
    def bound_ms(self) -> float:
        """The error of one measured time is not larger than this, either way."""
        return round(sum(self.parts_ms.values()), 2)


async def measure(place: Place, byte_us: float, connect_ms: float, stated_ms: float | None = None) -> Precision:
    """byte_us: time of one character; connect_ms: how long opening the line took; stated_ms: the lab's own bound."""
    if stated_ms is not None:
        return Precision({"stated by the laboratory": stated_ms})
    parts = {"one character on the wire": round(byte_us / 1000, 2), "waking of this computer": await _waking_ms()}
    if place.kind == "tcp":
        parts["network, as long as connecting took"] = round(connect_ms, 2)
    elif _is_usb(place):
        parts["USB adapter"] = USB_MS
    else:
        parts["serial port"] = SERIAL_MS
    return Precision(parts)


def _is_usb(place: Place) -> bool:
    device = os.path.realpath(place.where)
    return "ttyUSB" in device or "ttyACM" in device


async def _waking_ms() -> float:
    loop, worst_s = asyncio.get_running_loop(), 0.0
    for _ in range(SLEEPS):
        begun = loop.time()
        await asyncio.sleep(0.001)
        worst_s = max(worst_s, loop.time() - begun - 0.001)
    return round(worst_s * 1000, 2)
