"""A meter that holds its customer's money: takes the price of every 0.01 kWh out of the wallet at the moment it is counted."""

from __future__ import annotations

from collections.abc import Callable

from firmware_sim.loads import FOREVER_US
from firmware_sim.meter import Meter
from firmware_sim.prices import PriceBook
from firmware_sim.registers import COUNT, FORWARD, REVERSE
from firmware_sim.wallet import Credit, Wallet

Signs = tuple[int, int]
"""How forward and reverse energy go into what is billed: 1 added, -1 taken off, 0 left out (combination word 04000601)."""


class Billing:
    """Watches the registers of one meter. changed: called when the wallet's credit has got better or worse (old, new)."""

    def __init__(
        self, meter: Meter, wallet: Wallet, prices: PriceBook, signs: Callable[[], Signs], changed: Callable[[Credit, Credit], None]
    ) -> None:
        self.wallet = wallet
        self.prices = prices
        self._meter = meter
        self._signs = signs
        self._changed = changed
        self._credit: Credit | None = None
        self._seen = self._passed()
        self._billed = self._counts()

    def begin(self) -> None:
        """Bill from here on: the registers or the wallet stand otherwise than before, by no use of energy."""
        self._seen = self._passed()
        self._billed = self._counts()
        self._credit = self.wallet.credit

    def review(self) -> None:
        """The wallet or its limits were changed from outside: tell what that means."""
        old, new = self._credit, self.wallet.credit
        if old is None:  # an account that is empty from the start ends supply; a new meter without one does not
            old = Credit.NORMAL if self.wallet.opened else new
        self._credit = new
        if old != new:
            self._changed(old, new)

    def due_us(self) -> int:
        """See Part. It stops before the credit can change, and at every count when it is near."""
        gap, (forward, reverse) = self.wallet.to_next_micro, self._signs()
        weight = self._weight(forward, reverse)
        if gap is None or weight <= 0:
            return FOREVER_US
        price, ladder = self.prices.price(self._meter.rate), self.prices.ladder
        adder, left = ladder.adders[ladder.step(self.wallet.used + 1)], ladder.left(self.wallet.used)
        if price + adder <= 0 and left is None:
            return FOREVER_US
        counts = max(0, gap - price - 1) // (price + adder) if price + adder > 0 else left or 1
        counts = counts if left is None else min(counts, left)
        total, rate = self._grains(0), self._grains(self._meter.rate)
        ahead = (total // COUNT + counts) * COUNT - total if counts else min(COUNT - total % COUNT, COUNT - rate % COUNT)
        return self._meter.now_us + max(1, -(-ahead // weight))

    def arrive(self) -> None:
        """See Part. Energy that is taken back (by a sign of -1) is not paid out: the register has to come back first."""
        if (passed := self._passed()) == self._seen:
            if self._credit is None:
                self.review()
            return
        self._seen = passed
        new = self._counts()
        gained = [max(0, now - was) for now, was in zip(new, self._billed, strict=True)]
        self._billed = [max(now, was) for now, was in zip(new, self._billed, strict=True)]
        total, *rates = gained
        for rate, counts in enumerate(rates, 1):
            if counts:
                self.wallet.charge(self.prices.price(rate), counts, self.prices.ladder, 0)
        if total:
            self.wallet.charge(0, 0, self.prices.ladder, total)
        self.review()

    def _passed(self) -> int:
        return sum(self._meter.registers.total[FORWARD]) + sum(self._meter.registers.total[REVERSE])

    def _grains(self, rate: int) -> int:
        forward, reverse = self._signs()
        total = self._meter.registers.total
        if rate:
            return forward * total[FORWARD][rate - 1] + reverse * total[REVERSE][rate - 1]
        return forward * sum(total[FORWARD]) + reverse * sum(total[REVERSE])

    def _counts(self) -> list[int]:
        """Billed counts: the total and each rate, truncated by themselves."""
        return [self._grains(rate) // COUNT for rate in range(self._meter.spec.rates + 1)]

    def _weight(self, forward: int, reverse: int) -> int:
        """Grains of billed energy per us."""
        signs = {FORWARD: forward, REVERSE: reverse}
        speed = self._meter.spec.speed_milli
        return sum(signs.get(quantity, 0) * power * speed for quantity, power in self._meter.flow.weights())
