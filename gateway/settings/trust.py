"""What speaks for the clock, and the ways to pay: two things without which nobody is cut (prepayment.md 5, F2 and F3)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from gateway.domain.paths import HEARTBEAT_LIMIT_MS, PathKind, PathTerms, hours
from gateway.domain.trusted_time import TimeSource, TimeTerms
from gateway.settings.words import Table, Zone

_DEFAULT_LIMIT_S = HEARTBEAT_LIMIT_MS // 1000


def _hours(text: str) -> str:
    hours(text)
    return text


class Clock(Table):
    """source, sources: what vouches for our clock, one or several of which one is enough. rtc_set: when a person made sure that the
    hardware clock is right; rtc_drift_ppm: its drift by its data sheet.

    keep_meters: the meters' clocks are looked at and set; meter_zone: the time they show, by default the gateway's zone; meters
    without summer time are in one like Etc/GMT-8.
    """

    source: Literal["ntp", "vouched"] = "ntp"
    sources: Annotated[list[Literal["ntp", "uplink", "rtc", "meters", "vouched"]], Field(min_length=1)] | None = None
    rtc_set: AwareDatetime | None = None
    rtc_drift_ppm: Annotated[int, Field(ge=1, le=500)] = 20
    keep_meters: bool = True
    meter_zone: Zone | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.sources is not None and "source" in self.model_fields_set:
            raise ValueError("name either source or sources")
        return self

    def terms(self) -> TimeTerms:
        """In the domain's words."""
        sources = tuple(dict.fromkeys(TimeSource(name) for name in self.sources or [self.source]))
        set_ms = None if self.rtc_set is None else int(self.rtc_set.timestamp()) * 1000
        return TimeTerms(sources, set_ms, self.rtc_drift_ppm)


class WaysToPay(Table):
    """paths: by which money can be paid in, by default the bank's listener. heartbeat: a bank is only there while it calls, an
    echo at least, every heartbeat_limit_s. counter_hours: when a person takes money at the counter."""

    enabled: bool = True
    paths: list[Literal["bank", "centre", "counter"]] | None = None
    heartbeat: bool = False
    heartbeat_limit_s: Annotated[int, Field(ge=60, le=86_400)] = _DEFAULT_LIMIT_S
    counter_hours: list[Annotated[str, AfterValidator(_hours)]] = []

    @model_validator(mode="after")
    def _that_there_are(self) -> Self:
        paths = self.paths or []
        if "bank" in paths and not self.enabled:
            raise ValueError("paths names the bank, whose listener is not enabled")
        if ("counter" in paths) != bool(self.counter_hours):
            raise ValueError('a counter is declared by paths = ["counter"] and counter_hours together')
        return self

    def terms(self) -> PathTerms:
        """In the domain's words."""
        names = self.paths if self.paths is not None else ["bank"] if self.enabled else []
        kinds = tuple(dict.fromkeys(PathKind(name) for name in names))
        return PathTerms(kinds, self.heartbeat, self.heartbeat_limit_s * 1000, tuple(hours(text) for text in self.counter_hours))
