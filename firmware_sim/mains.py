"""A dip of the mains that ends by itself."""

from __future__ import annotations

from firmware_sim.loads import FOREVER_US
from firmware_sim.meter import Meter


class Dip:
    """Until `until_us` the voltage is what it is; then it is `back` again, and the meter silent for its boot time or `boot_us`."""

    def __init__(self, meter: Meter, until_us: int, back: tuple[int, ...], boot_us: int | None) -> None:
        self._meter = meter
        self._until_us = until_us
        self._back = back
        self._boot_us = boot_us

    def due_us(self) -> int:
        """See Part."""
        return self._until_us

    def arrive(self) -> None:
        """See Part."""
        if self._meter.now_us >= self._until_us:
            self._until_us = FOREVER_US
            self._meter.set_levels(self._back, self._boot_us)
