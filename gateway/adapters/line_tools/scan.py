"""A search at every speed that the line can have (`wattgate scan`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.adapters.line_tools.place import SPEEDS, Place, Setting
from gateway.adapters.line_tools.probe import FIRST_BYTE_MS, Probe
from gateway.adapters.line_tools.search import Result, Search, Tell
from protocols.dlt645.frames import Dialect


@dataclass(frozen=True, slots=True)
class Scanned:
    """What one setting gave. setting: None where speed and parity are not ours to set or to know."""

    setting: Setting | None
    result: Result


def settings_to_try(place: Place, fixed: bool) -> list[list[Setting]]:
    """Groups of settings, each tried only when nobody was heard in those before: even parity first, which the standard wants."""
    if fixed or not place.settable:
        return [[place.setting]]
    speeds = list(dict.fromkeys((place.setting.baud, *SPEEDS)))
    parities = dict.fromkeys((place.setting.parity, "E", "N"))
    return [[Setting(baud, parity) for baud in speeds] for parity in parities]


async def scan(
    place: Place,
    tell: Tell,
    *,
    fixed: bool = False,
    dialects: Sequence[Dialect] = tuple(Dialect),
    thorough: bool = False,
    patience_ms: int = FIRST_BYTE_MS,
) -> list[Scanned]:
    """Search at each setting; meters of one line may differ in speed. fixed: only the place's own. Raises LineDown."""
    scanned: list[Scanned] = []
    for group in settings_to_try(place, fixed):
        for setting in group:
            there = place.at(setting)
            tell(f"asking {place.name} {there.how}")
            probe = Probe(there.transport(patience_ms, search=True), there.baud)
            await probe.open()
            try:
                search = Search(probe, tell, thorough=thorough, patience_ms=patience_ms + there.latency_ms)
                result = await search.run(tuple(dialects))
            finally:
                await probe.close()
            scanned.append(Scanned(there.known, result))
        if any(each.result.anything for each in scanned):
            break
    return scanned
