"""The permission that a cut needs: who, why, on what evidence, until when (prepayment.md 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Grounds:
    """What whoever wants a cut brings for its cause.

    by: who, as the audit log names them (`rules`, `operator:NAME`, `uplink:KEY`); second: who else, where two people want it.
    danger: an emergency that is a danger to life. facts: what it rests on by name: order, contract, event, plan, measured, notices.
    """

    by: str = "rules"
    second: str = ""
    danger: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def by_two(self) -> bool:
        """Whether two different people want it."""
        return bool(self.by and self.second) and self.by != self.second

    def evidence(self) -> dict[str, str]:
        """As a permission keeps it; `grounds_of` reads it back."""
        named = {"by": self.by, "second": self.second, "danger": "yes" if self.danger else ""}
        return {**self.facts, **{key: value for key, value in named.items() if value}}


NO_GROUNDS = Grounds()


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


_OWN = frozenset({"by", "second", "danger"})


def grounds_of(permission: CutPermission) -> Grounds:
    """What a permission was given on."""
    kept = permission.evidence
    facts = {key: value for key, value in kept.items() if key not in _OWN}
    return Grounds(kept.get("by", ""), kept.get("second", ""), kept.get("danger") == "yes", facts)
