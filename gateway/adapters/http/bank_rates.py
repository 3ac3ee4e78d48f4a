"""How often each bank may ask: what comes faster is told when to come again, and binds nothing (contract.md 3, 429)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(slots=True)
class _Bucket:
    """So many at once, and so many again in its period."""

    most: int
    period_s: float
    left: float
    at_s: float

    def wait_s(self, now_s: float) -> float:
        """Until there is one; 0 when there is."""
        self.left = min(float(self.most), self.left + (now_s - self.at_s) * self.most / self.period_s)
        self.at_s = now_s
        return 0.0 if self.left >= 1 else (1 - self.left) * self.period_s / self.most


class BankRates:
    """Two buckets for each bank, by second and by minute. Bounded by the number of banks that are configured."""

    def __init__(self) -> None:
        self._banks: dict[str, tuple[_Bucket, _Bucket]] = {}

    def take(self, bank: str, per_second: int, per_minute: int, now_s: float) -> int:
        """Count one call; 0, or after how many whole seconds it may come again, and then it is not counted. now_s: only rises."""
        buckets = self._banks.get(bank)
        if buckets is None or (buckets[0].most, buckets[1].most) != (per_second, per_minute):
            buckets = _Bucket(per_second, 1.0, per_second, now_s), _Bucket(per_minute, 60.0, per_minute, now_s)
            self._banks[bank] = buckets
        wait_s = max(bucket.wait_s(now_s) for bucket in buckets)
        if wait_s > 0:
            return math.ceil(wait_s)
        for bucket in buckets:
            bucket.left -= 1
        return 0
