"""Covers and magnets: what somebody did to the case, with the registers before and after (DL/T 645-2007 A.4, 03300D, 03300E)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware_sim.dlt645 import sampling

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

COVER, TERMINAL, MAGNET = "03300D", "03300E", "033500"


class Covers:
    """The case of one meter."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.open = self.terminal_open = self.magnet = False

    def set_cover(self, is_open: bool, terminal: bool = False) -> None:
        """The cover of the meter, or of its terminals."""
        if terminal:
            if is_open != self.terminal_open:
                self.terminal_open = is_open
                self._note(TERMINAL, is_open)
        elif is_open != self.open:
            self.open = is_open
            self._note(COVER, is_open)

    def set_magnet(self, near: bool) -> None:
        """A magnet comes near or is taken away."""
        if near != self.magnet:
            self.magnet = near
            if near:
                self._device.log.add(MAGNET)

    def _note(self, kind: str, begins: bool) -> None:
        if begins:
            self._device.log.add(kind, {"started_at": self._device.stamp()} | sampling.directions(self._device, "_before"))
        else:
            self._device.log.amend(kind, {"ended_at": self._device.stamp()} | sampling.directions(self._device, "_after"))
