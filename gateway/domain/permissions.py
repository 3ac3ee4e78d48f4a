"""The permission that a cut needs: who, why, on what evidence, until when (prepayment.md 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CutPermission:
    """One row per permission given; a cut command carries its number. number: 0 until it is stored.

    cause: of the closed list. origin: `credit`, `limit`, `operator:NAME`, `uplink:KEY`. evidence: what it rests on, by name
    (reading, balance, notices, calendar, clock, order). Live from given_ms to until_ms (UTC ms), unless it was withdrawn.
    """

    number: int
    account: str | None
    cause: str
    origin: str
    given_ms: int
    until_ms: int
    evidence: Mapping[str, str]
    withdrawn_ms: int | None = None

    def live(self, now_ms: int) -> bool:
        """Whether a cut may rest on it at this moment."""
        return self.withdrawn_ms is None and self.given_ms <= now_ms < self.until_ms
