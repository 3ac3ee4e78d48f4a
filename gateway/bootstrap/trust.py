"""Clock and ways to pay, as the rules are told of them from moment to moment (prepayment.md 5, F2 and F3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from gateway.adapters.clock import boot_id, hardware_clock_ms, kernel_synchronised, steady_ms
from gateway.domain.paths import PathKind, PathsSeen, PathVerdict
from gateway.domain.paths import judge as judge_paths
from gateway.domain.trusted_time import Evidence, Look, TimeSource, TimeTerms, TimeVerdict, at
from gateway.domain.trusted_time import judge as judge_time
from gateway.settings import Settings


def _always() -> bool:
    return True


@dataclass
class Trust:
    """What is known in memory; entrypoints/trust_loop keeps it in step with the store. accepts: our listener takes calls. heard:
    when each path was heard last; fresh: of which the store does not know yet."""

    settings: Callable[[], Settings]
    now_ms: Callable[[], int]
    accepts: Callable[[], bool] = _always
    evidence: Evidence = field(default_factory=Evidence)
    heard: dict[PathKind, int] = field(default_factory=dict)
    fresh: set[PathKind] = field(default_factory=set)

    def time_terms(self) -> TimeTerms:
        """What the site declares of its clock."""
        return self.settings().clock.terms()

    def look(self) -> Look:
        """The machine's clocks now; those that nobody goes by are not asked."""
        sources = self.time_terms().sources
        synchronised = TimeSource.NTP in sources and kernel_synchronised()
        rtc_ms = hardware_clock_ms() if TimeSource.RTC in sources else None
        return Look(self.now_ms(), steady_ms(), boot_id(), synchronised, rtc_ms)

    def time(self) -> TimeVerdict:
        """Whether our clock is trusted now."""
        look = self.look()
        return judge_time(self.time_terms(), at(self.evidence, look), look)

    def paths(self) -> PathVerdict:
        """Whether anything can be paid in now."""
        settings, now_ms = self.settings(), self.now_ms()
        local = datetime.fromtimestamp(now_ms // 1000, UTC).astimezone(ZoneInfo(settings.gateway.zone))
        accepts = {PathKind.BANK} if settings.bank.enabled and self.accepts() else set()
        return judge_paths(settings.bank.terms(), PathsSeen(accepts, self.heard), now_ms, local)

    def hear(self, path: PathKind) -> None:
        """Somebody by whom is paid has called just now."""
        self.heard[path] = self.now_ms()
        self.fresh.add(path)
