"""The wallet in a meter, in integers: 0.01 kWh at 0.0001 yuan per kWh is one micro-yuan; only what is shown is ever rounded.

Rules: prepayment notes a3 (states, limits), a6 (steps), f (units); the counting rules of purchases DL/T 645 code 03.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from enum import Enum, IntEnum

MICRO_PER_FEN = 10_000
MOST_FEN = 99_999_999  # XXXXXX.XX yuan
RECORDS = 10
UNOPENED = "000000000000"


@dataclass(frozen=True, slots=True)
class Steps:
    """A ladder: used energy up to and with thresholds[i] costs adders[i] beside the price of its rate; the last adder goes on.

    thresholds: 0.01 kWh, rising. adders: 0.0001 yuan per kWh, one more than thresholds.
    settlements: (month, day, hour) at which it begins anew every year; empty: on the monthly settlement day.
    """

    thresholds: tuple[int, ...] = ()
    adders: tuple[int, ...] = (0,)
    settlements: tuple[tuple[int, int, int], ...] = ()

    def step(self, used: int) -> int:
        """Which step (from 0) the last counted 0.01 kWh lies in, when `used` have been counted."""
        return bisect_left(self.thresholds, used)

    def cost_micro(self, used: int, counts: int) -> int:
        """What the next `counts` x 0.01 kWh cost beyond their rates: each is counted first, then priced."""
        total, end = 0, used + counts
        while used < end:
            step = self.step(used + 1)
            upto = min(end, self.thresholds[step]) if step < len(self.thresholds) else end
            total += (upto - used) * self.adders[step]
            used = upto
        return total

    def left(self, used: int) -> int | None:
        """How many more 0.01 kWh the present adder goes on for; None: for ever."""
        step = self.step(used + 1)
        return self.thresholds[step] - used if step < len(self.thresholds) else None


NO_STEPS = Steps()


class Credit(IntEnum):
    """How a wallet stands, in the order in which the tests are made."""

    NORMAL = 0
    LOW = 1
    VERY_LOW = 2
    OVERDRAFT = 3
    EXHAUSTED = 4


class Refusal(Enum):
    """Why a purchase was refused."""

    NOT_OPEN = "no account has been opened"
    REPEATED = "this purchase count is in already"
    COUNT = "the purchase count is not the next one"
    CUSTOMER = "the customer number is another's"
    HOARDING = "the balance would be over the limit"
    TOO_LITTLE = "there is less than that in the wallet"


@dataclass(slots=True)
class Limits:
    """As set in the meter, in fen; 0 for no hoarding limit, and for no overdraft."""

    alarm_1: int = 0
    alarm_2: int = 0
    overdraft: int = 0
    hoarding: int = 0
    reconnect: int = 0


@dataclass(frozen=True, slots=True)
class Purchase:
    """What a purchase record keeps; money in fen, at: the meter's clock in us."""

    at_us: int
    count: int
    amount: int
    before: int
    after: int
    cumulative: int


class Wallet:
    """Balance and rules of one meter's own money.

    balance_micro is signed: below zero the customer owes. used: 0.01 kWh of the running step period.
    reconnect_at_least: supply may return at the close-allow amount itself; False: only above it (firmwares differ).
    """

    def __init__(
        self, limits: Limits, balance_fen: int = 0, customer: str = UNOPENED, count: int = 0, at_least: bool = False
    ) -> None:
        self.limits = limits
        self.balance_micro = balance_fen * MICRO_PER_FEN
        self.customer = customer
        self.count = count
        self.opened = count > 0
        """An account is open; a wallet that begins with a purchase count has one."""
        self.used = 0
        self.cumulative_fen = 0
        self.reconnect_at_least = at_least
        self.purchases: deque[Purchase] = deque(maxlen=RECORDS)

    def charge(self, price: int, rate_counts: int, steps: Steps, total_counts: int) -> None:
        """Deduct energy of one rate at its price (0.0001 yuan per kWh), and the steps of all energy."""
        self.balance_micro -= price * rate_counts + steps.cost_micro(self.used, total_counts)
        self.used += total_counts

    @property
    def credit(self) -> Credit:
        """How it stands. An overdraft limit of 0 ends supply at 0, one of L at -L."""
        limits, micro = self.limits, MICRO_PER_FEN
        if self.balance_micro <= -limits.overdraft * micro:
            return Credit.EXHAUSTED
        if self.balance_micro < 0:
            return Credit.OVERDRAFT
        if self.balance_micro <= limits.alarm_2 * micro:
            return Credit.VERY_LOW
        return Credit.LOW if self.balance_micro <= limits.alarm_1 * micro else Credit.NORMAL

    @property
    def to_next_micro(self) -> int | None:
        """How much may be spent until `credit` changes; None when it cannot get worse."""
        edges = (self.limits.alarm_1, self.limits.alarm_2, -self.limits.overdraft)
        gaps = [self.balance_micro - edge * MICRO_PER_FEN for edge in edges]
        return min((gap for gap in (*gaps, self.balance_micro + 1) if gap > 0), default=None)

    @property
    def reconnectable(self) -> bool:
        """The balance has passed the close-allow amount, and is not exhausted."""
        limit = self.limits.reconnect * MICRO_PER_FEN
        enough = self.balance_micro >= limit if self.reconnect_at_least else self.balance_micro > limit
        return enough and self.credit < Credit.EXHAUSTED

    @property
    def shown_fen(self) -> tuple[int, int]:
        """(remaining, overdraft) as displayed: truncated toward zero, one of them 0."""
        fen = abs(self.balance_micro) // MICRO_PER_FEN
        return (fen, 0) if self.balance_micro >= 0 else (0, fen)

    def open(self, amount: int, count: int, customer: str, at_us: int) -> Refusal | None:
        """The first purchase, with count 0 or 1; it gives the wallet its customer when it has none."""
        if self.customer not in (UNOPENED, customer):
            return Refusal.CUSTOMER
        if self.opened:
            return Refusal.REPEATED if count == self.count else Refusal.COUNT
        if count not in (0, 1):
            return Refusal.COUNT
        refusal = self._room(amount)
        if refusal is None:
            self.customer, self.opened = customer, True
            self._enter(amount, count, at_us)
        return refusal

    def top_up(self, amount: int, count: int, customer: str, at_us: int) -> Refusal | None:
        """A purchase, in fen: only the next count, only this customer, only as much as fits."""
        if not self.opened:
            return Refusal.NOT_OPEN
        if customer != self.customer:
            return Refusal.CUSTOMER
        if count != self.count + 1:
            return Refusal.REPEATED if count == self.count else Refusal.COUNT
        refusal = self._room(amount)
        if refusal is None:
            self._enter(amount, count, at_us)
        return refusal

    def refund(self, amount: int) -> Refusal | None:
        """Take money out again; the count stays."""
        if amount * MICRO_PER_FEN > self.balance_micro:
            return Refusal.TOO_LITTLE
        self.balance_micro -= amount * MICRO_PER_FEN
        return None

    def initialise(self, amount: int) -> None:
        """Begin again with this amount and the count 0, without an account."""
        self.balance_micro, self.count, self.opened = amount * MICRO_PER_FEN, 0, False
        self.customer, self.cumulative_fen = UNOPENED, 0
        self.purchases.clear()

    def _room(self, amount: int) -> Refusal | None:
        """Before the wallet is touched: top-up - overdraft + balance against the limit; what only pays a debt always passes."""
        after = self.balance_micro + amount * MICRO_PER_FEN
        limit = self.limits.hoarding or MOST_FEN
        return Refusal.HOARDING if after > min(limit, MOST_FEN) * MICRO_PER_FEN else None

    def _enter(self, amount: int, count: int, at_us: int) -> None:
        before = self.shown_fen[0]
        self.balance_micro += amount * MICRO_PER_FEN
        self.count = count
        self.cumulative_fen += amount
        self.purchases.appendleft(Purchase(at_us, count, amount, before, self.shown_fen[0], self.cumulative_fen))

    def save(self) -> dict[str, object]:
        """What must survive a restart."""
        return {
            "balance_micro": self.balance_micro,
            "customer": self.customer,
            "count": self.count,
            "opened": self.opened,
            "used": self.used,
            "cumulative_fen": self.cumulative_fen,
        }

    def restore(self, saved: dict[str, object]) -> None:
        """Continue from a saved wallet. Raises KeyError or ValueError for something else."""
        self.balance_micro, self.count = int(str(saved["balance_micro"])), int(str(saved["count"]))
        self.customer, self.opened = str(saved["customer"]), bool(saved["opened"])
        self.used, self.cumulative_fen = int(str(saved["used"])), int(str(saved["cumulative_fen"]))
