"""Limits that are written into meters: what is wanted of each parameter, and what reading it back has proved.

Neither an answer nor a refusal proves anything (prepayment.md c2): a parameter counts as written where it was read back byte for
byte and nothing beside it has moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

MOST_TRIES = 3
"""Writes of one parameter that the meter takes without heeding; then a person must look."""


class WriteState(StrEnum):
    """WANTED: to be read. READY: read, and another value stands there. SENT: written, not read back yet; all others are final.

    REFUSED: refused or unheeded, and seen unchanged. UNABLE: the meter has no such parameter. UNCERTAIN: neither the old nor the
    new value stands there, or something beside it has moved; then nothing more is written to this meter.
    """

    WANTED = "wanted"
    READY = "ready"
    SENT = "sent"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    UNABLE = "unable"
    UNCERTAIN = "uncertain"


FINAL = frozenset({WriteState.CONFIRMED, WriteState.REFUSED, WriteState.UNABLE, WriteState.UNCERTAIN})


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a meter. value: wanted, in its own least unit. said: what the meter said to the last write."""

    name: str
    value: int
    state: WriteState = WriteState.WANTED
    tries: int = 0
    said: str = ""


@dataclass(frozen=True, slots=True)
class MeterSettings:
    """What is wanted of a meter. seen: the bytes of each parameter as last read, hex in wire order, "" where it has none.

    changed_ms: UTC, when something last became of it.
    """

    meter: str
    parameters: tuple[Parameter, ...] = ()
    seen: Mapping[str, str] = field(default_factory=dict)
    changed_ms: int = 0

    @property
    def wanted(self) -> dict[str, int]:
        """The values, by name."""
        return {parameter.name: parameter.value for parameter in self.parameters}

    @property
    def quarantined(self) -> bool:
        """Whether nothing may be written to this meter until a person has looked at it."""
        return any(parameter.state is WriteState.UNCERTAIN for parameter in self.parameters)

    @property
    def current(self) -> Parameter | None:
        """The one that is worked on; None where nothing is left to do."""
        return None if self.quarantined else next((each for each in self.parameters if each.state not in FINAL), None)

    @property
    def failed(self) -> tuple[Parameter, ...]:
        """Those that do not hold what is wanted, and that nothing more is done about."""
        return tuple(each for each in self.parameters if each.state in FINAL - {WriteState.CONFIRMED})


def wanting(known: MeterSettings | None, meter: str, wanted: Mapping[str, int], now_ms: int) -> MeterSettings:
    """Of this meter these values are wanted now. Where another value is wanted all are read anew; a quarantine stays."""
    if known is not None and (known.wanted == dict(wanted) or known.quarantined):
        return known
    return MeterSettings(meter, tuple(Parameter(name, value) for name, value in wanted.items()), changed_ms=now_ms)


def again(settings: MeterSettings, now_ms: int) -> MeterSettings:
    """A person had a look: everything is read, and written where it differs."""
    anew = tuple(Parameter(each.name, each.value) for each in settings.parameters)
    return MeterSettings(settings.meter, anew, changed_ms=now_ms)


def on_read(settings: MeterSettings, seen: Mapping[str, str], target: Mapping[str, str], now_ms: int) -> MeterSettings:
    """What all parameters hold. target: the bytes that are wanted of each, as the link would write them.

    What was sent is judged by it; of what is still wanted, that which stands there already needs no write.
    """
    moved = {name for name, held in settings.seen.items() if seen.get(name) != held}
    parameters = []
    for each in settings.parameters:
        held, right = seen.get(each.name, ""), target.get(each.name) == seen.get(each.name)
        if each.state is WriteState.SENT:
            each = _judged(each, right, stood=each.name not in moved, beside=bool(moved - {each.name}))
        elif each.state in (WriteState.WANTED, WriteState.READY):
            state = WriteState.UNABLE if not held else WriteState.CONFIRMED if right else WriteState.READY
            each = replace(each, state=state)
        parameters.append(each)
    return replace(settings, parameters=tuple(parameters), seen=dict(seen), changed_ms=now_ms)


def on_sent(settings: MeterSettings, name: str, now_ms: int) -> MeterSettings:
    """Its write leaves now: whatever comes of it is unknown until it is read back."""
    return _changed(settings, name, now_ms, sent=True)


def on_said(settings: MeterSettings, name: str, said: str, now_ms: int) -> MeterSettings:
    """What the meter answered to the write; "" for a yes. It proves nothing."""
    return _changed(settings, name, now_ms, said=said)


def on_unsent(settings: MeterSettings, name: str, now_ms: int) -> MeterSettings:
    """The write cannot have reached the meter."""
    return _changed(settings, name, now_ms, sent=False)


def _judged(parameter: Parameter, right: bool, *, stood: bool, beside: bool) -> Parameter:
    if beside or not (right or stood):
        return replace(parameter, state=WriteState.UNCERTAIN)
    if right:
        return replace(parameter, state=WriteState.CONFIRMED)
    more = not parameter.said and parameter.tries < MOST_TRIES
    return replace(parameter, state=WriteState.READY if more else WriteState.REFUSED)


def _changed(
    settings: MeterSettings, name: str, now_ms: int, *, sent: bool | None = None, said: str | None = None
) -> MeterSettings:
    parameters = []
    for each in settings.parameters:
        if each.name == name and sent is not None:
            state = WriteState.SENT if sent else WriteState.READY
            each = replace(each, state=state, tries=each.tries + (1 if sent else -1), said="")
        elif each.name == name and said is not None:
            each = replace(each, said=said)
        parameters.append(each)
    return replace(settings, parameters=tuple(parameters), changed_ms=now_ms)
