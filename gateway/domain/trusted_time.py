"""Whether our clock may be trusted (prepayment.md 5, F3): one configured source must vouch for it, else nothing is cut.

Every source speaks of the clock as it is now. Between two words of a source the clock is held against the machine's steady clock,
which nobody can set: where it jumps, what was said before is void.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.domain.clocks import AGREE_MS, crowd_offset_ms
from gateway.domain.jobs import ClockSeen

WITHIN_MS = AGREE_MS
"""A clock that may be further off is not trusted: no-cut hours, tariffs and expiries go by minutes."""

JUMP_MS = 5_000
"""So much off the steady clock and the clock was set, not corrected: leap seconds and roundings stay below, a stranger's hand
above."""

SETTLE_MS = 64_000
"""After a jump the kernel's word counts from then on, one poll of its time server later: it may not know of the jump yet."""

UPLINK_LIVES_MS = 24 * 60 * 60 * 1000
"""The centre's signed time is at most a day old (prepayment.md 5, F3)."""

SEEN_LIVES_MS = 36 * 60 * 60 * 1000
"""Meters' clocks are looked at once a day; one look may fail."""

DRIFT_PPM = 100
"""By which any clock may run off since it was compared: ours without a time server, and a meter's in heat and frost together."""

RTC_AGREE_MS = 2_000
"""A hardware clock counts whole seconds, and is read a moment before or after ours: one that agrees so well is right if ours is."""

PROVED_EVERY_MS = 60 * 60 * 1000
"""So often it is written down that the hardware clock is right, while it is: its drift goes by days."""

_PPM = 1_000_000


class TimeSource(StrEnum):
    """What may vouch for our clock."""

    NTP = "ntp"
    UPLINK = "uplink"
    RTC = "rtc"
    METERS = "meters"
    VOUCHED = "vouched"


OUTSIDE = (TimeSource.VOUCHED, TimeSource.NTP, TimeSource.UPLINK)
"""Those that come from beyond this site: they prove the hardware clock too."""


@dataclass(frozen=True, slots=True)
class TimeTerms:
    """What a site declares. rtc_set_ms: when a person made sure that the hardware clock is right, UTC ms; rtc_ppm: its drift."""

    sources: tuple[TimeSource, ...] = (TimeSource.NTP,)
    rtc_set_ms: int | None = None
    rtc_ppm: int = 20


@dataclass(frozen=True, slots=True)
class Look:
    """The machine's clocks at one moment. steady_ms: since `boot`, set by nobody; None where there is none. rtc_ms: the hardware
    clock, UTC. synchronised: the kernel says that a time server keeps our clock."""

    wall_ms: int
    steady_ms: int | None
    boot: str
    synchronised: bool = False
    rtc_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """The time since which our clock runs on unbroken, as a durable record.

    wall_ms - steady_ms stays the same all the while. jumped_ms: steady ms of the jump that began it; None for the first one of a
    boot. rtc_off_ms: hardware clock minus steady clock, as it was at rtc_at_ms (steady), before anybody set it unseen.
    """

    boot: str
    wall_ms: int
    steady_ms: int
    jumped_ms: int | None = None
    rtc_off_ms: int | None = None
    rtc_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class HeardTime:
    """The centre's signed time, as a durable record. offset_ms: theirs minus ours, when ours showed wall_ms."""

    offset_ms: int
    wall_ms: int
    steady_ms: int
    boot: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the sources go by. proved_ms: when an outside source last proved the hardware clock. meters: looks at their clocks since
    ours was set last."""

    stretch: Stretch | None = None
    heard: HeardTime | None = None
    proved_ms: int | None = None
    meters: Sequence[ClockSeen] = ()


@dataclass(frozen=True, slots=True)
class TimeVerdict:
    """by: who vouches, None when nobody does. why: what the others lack, one sentence."""

    by: TimeSource | None
    why: str = ""

    @property
    def trusted(self) -> bool:
        """Whether any source vouches."""
        return self.by is not None

    @property
    def from_outside(self) -> bool:
        """Whether this proves other clocks right too."""
        return self.by in OUTSIDE


def jump_ms(stretch: Stretch, look: Look) -> int | None:
    """By how much our clock was set within this stretch; None where that cannot be told."""
    if look.steady_ms is None or look.boot != stretch.boot:
        return None
    return (look.wall_ms - stretch.wall_ms) - (look.steady_ms - stretch.steady_ms)


def went_on(stretch: Stretch | None, look: Look) -> Stretch | None:
    """The stretch at this look: the same one, or a new one after a jump, on another boot and at the very first look."""
    if look.steady_ms is None:
        return None
    jumped = jump_ms(stretch, look) if stretch is not None else None
    if stretch is None or jumped is None:
        return _with_rtc(Stretch(look.boot, look.wall_ms, look.steady_ms), look)
    if abs(jumped) <= JUMP_MS:
        return stretch
    return replace(stretch, wall_ms=look.wall_ms, steady_ms=look.steady_ms, jumped_ms=look.steady_ms)


def proved(evidence: Evidence, look: Look) -> Evidence:
    """An outside source vouches at this look: so the hardware clock, where it agrees, is right, and as it should be from now on."""
    stretch, known_ms = evidence.stretch, evidence.proved_ms
    if look.rtc_ms is None or stretch is None or abs(look.rtc_ms - look.wall_ms) > RTC_AGREE_MS:
        return evidence
    old = known_ms is None or not 0 <= look.wall_ms - known_ms < PROVED_EVERY_MS
    if not old and not _moved(stretch, look):
        return evidence
    return replace(evidence, stretch=_with_rtc(stretch, look), proved_ms=look.wall_ms)


def _with_rtc(stretch: Stretch, look: Look) -> Stretch:
    if look.rtc_ms is None or look.steady_ms is None:
        return stretch
    return replace(stretch, rtc_off_ms=look.rtc_ms - look.steady_ms, rtc_at_ms=look.steady_ms)


def at(evidence: Evidence, look: Look) -> Evidence:
    """What is left of the evidence at this look: what was measured against a clock that was set since is worth nothing."""
    stretch = went_on(evidence.stretch, look)
    broken = evidence.stretch is not None and stretch != evidence.stretch
    return replace(evidence, stretch=stretch, meters=() if broken else evidence.meters)


def judge(terms: TimeTerms, evidence: Evidence, look: Look) -> TimeVerdict:
    """Whether any configured source vouches for our clock at this look; those that go by nothing of ours are asked first."""
    missing = []
    for source in sorted(terms.sources, key=list(_ASK).index):
        reason = _ASK[source](terms, evidence, look)
        if reason is None:
            return TimeVerdict(source)
        missing.append(f"{source.value}: {reason}")
    return TimeVerdict(None, "; ".join(missing))


def _vouched(terms: TimeTerms, evidence: Evidence, look: Look) -> str | None:
    return None


def _ntp(terms: TimeTerms, evidence: Evidence, look: Look) -> str | None:
    if not look.synchronised:
        return "the kernel says that no time server keeps the clock"
    jumped_ms = evidence.stretch.jumped_ms if evidence.stretch is not None else None
    if jumped_ms is not None and look.steady_ms is not None and look.steady_ms - jumped_ms < SETTLE_MS:
        return "the clock was set a moment ago"
    return None


def _uplink(terms: TimeTerms, evidence: Evidence, look: Look) -> str | None:
    heard = evidence.heard
    if look.steady_ms is None:
        return "this machine has no steady clock to tell its age by"
    if heard is None or heard.boot != look.boot:
        return "the centre's time was not heard since this machine started"
    age_ms = look.steady_ms - heard.steady_ms
    if age_ms > UPLINK_LIVES_MS:
        return "the centre's time was not heard for a day"
    if abs((look.wall_ms - heard.wall_ms) - age_ms) > JUMP_MS:
        return "the clock was set since the centre's time was heard"
    return None if abs(heard.offset_ms) + _drift_ms(age_ms, DRIFT_PPM) <= WITHIN_MS else _off("the centre's time", heard.offset_ms)


def _meters(terms: TimeTerms, evidence: Evidence, look: Look) -> str | None:
    seen = [each for each in evidence.meters if 0 <= look.wall_ms - each.at_ms <= SEEN_LIVES_MS]
    crowd_ms = crowd_offset_ms(seen)
    if crowd_ms is None:
        return f"of {len(seen)} meters seen lately not enough agree on a time"
    loose = [each.within_ms + _drift_ms(look.wall_ms - each.at_ms, DRIFT_PPM) for each in seen]
    return None if abs(crowd_ms) + sorted(loose)[len(loose) // 2] <= WITHIN_MS else _off("the meters' median", crowd_ms)


def _rtc(terms: TimeTerms, evidence: Evidence, look: Look) -> str | None:
    known_ms = max((at_ms for at_ms in (terms.rtc_set_ms, evidence.proved_ms) if at_ms is not None), default=None)
    if look.rtc_ms is None:
        return "there is no hardware clock"
    if known_ms is None:
        return "nobody has said since when the hardware clock is right"
    if look.rtc_ms < known_ms - RTC_AGREE_MS:
        return "the hardware clock stands before the moment at which it was last right"
    if _moved(evidence.stretch, look) and not _declared_since(terms, evidence.stretch):
        return "the hardware clock was set since it was last right"
    age_ms, offset_ms = look.rtc_ms - known_ms, look.rtc_ms - look.wall_ms
    drift_ms = _drift_ms(age_ms, terms.rtc_ppm)
    if drift_ms > WITHIN_MS:
        return f"nobody has compared the hardware clock for {age_ms // (24 * 60 * 60 * 1000)} days"
    return None if abs(offset_ms) + drift_ms <= WITHIN_MS else _off("the hardware clock", offset_ms)


def _moved(stretch: Stretch | None, look: Look) -> bool:
    """Whether the hardware clock was set in this boot, with ours or alone."""
    if stretch is None or stretch.rtc_off_ms is None or look.rtc_ms is None or look.steady_ms is None:
        return False
    drift_ms = _drift_ms(look.steady_ms - stretch.rtc_at_ms, DRIFT_PPM)
    return abs(look.rtc_ms - look.steady_ms - stretch.rtc_off_ms) > JUMP_MS + drift_ms


def _declared_since(terms: TimeTerms, stretch: Stretch | None) -> bool:
    """Whether a person has said that the hardware clock is right after ours was last set."""
    return stretch is not None and terms.rtc_set_ms is not None and terms.rtc_set_ms >= stretch.wall_ms


def _off(what: str, offset_ms: int) -> str:
    return f"{what} is {abs(offset_ms) // 1000} s {'ahead' if offset_ms > 0 else 'behind'}"


def _drift_ms(age_ms: int, ppm: int) -> int:
    return max(0, age_ms) * ppm // _PPM


_Ask = Callable[[TimeTerms, Evidence, Look], str | None]
_ASK: Mapping[TimeSource, _Ask] = {
    TimeSource.VOUCHED: _vouched,
    TimeSource.NTP: _ntp,
    TimeSource.UPLINK: _uplink,
    TimeSource.RTC: _rtc,
    TimeSource.METERS: _meters,
}
"""Why this source does not vouch now; None where it does."""
