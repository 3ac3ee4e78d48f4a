"""Money that a meter itself holds (prepayment.md 1, authority = "meter"): what was read of its wallet, and our mirror of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wallet:
    """A meter's wallet as last read. count: its purchase count, the key of every recharge. Micro-units; times in UTC ms.

    opened: the account was opened in the meter (070101FF). held_since_ms: after a power-up the mirror waits for two reads 60 s
    apart.
    """

    meter: str
    count: int
    balance_micro: int
    overdraft_micro: int = 0
    read_ms: int = 0
    opened: bool = False
    held_since_ms: int | None = None
