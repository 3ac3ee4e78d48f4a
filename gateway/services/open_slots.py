"""Slots are opened as time passes, also for the time in which nobody was there to open them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import tzinfo
from zoneinfo import ZoneInfo

from gateway.domain.jobs import Want
from gateway.domain.readings import Source
from gateway.domain.schemes import Scheme, Slot, SlotState, Tally
from gateway.domain.slots import BACK_MS, DAY_MS, day_of, local_of, midnight, moments
from gateway.services.ports import Site, Tx

NextFire = Callable[[str, str, int], int | None]
"""(cron, zone, after, UTC ms) -> when it is time next; None: never again."""

KEPT_MS = 40 * DAY_MS
"""Slots are kept so long: a month, and some days to look back at it. Their tallies stay longer."""

MOST_REQUESTED = 3_000
"""Slots of one request: a month of quarters of an hour. More is asked for in several requests."""

MOST_LOOKS = 24 * 60
"""Moments of a cron line that are passed over to the last one: those of a day, of a line that means every minute."""


def load_schemes(tx: Tx, schemes: Sequence[Scheme]) -> None:
    """Bring the schemes in line with the configuration: what is expected of meters that left a scheme is expected no more."""
    lines = {meter.id: meter.line for meter in tx.meters()}
    known, wanted = {scheme.id: scheme for scheme in tx.schemes()}, {scheme.id: scheme for scheme in schemes}
    for old in known.values():
        new = wanted.get(old.id)
        staying = {} if new is None or new.want is not old.want else new.meters
        for meter in old.meters:
            if meter not in staying:
                tx.drop_slots(meter, old.want, 1 << 60, expected=True)
        if new is None:
            tx.drop_scheme(old.id)
    for scheme in schemes:
        if scheme != known.get(scheme.id):
            tx.save_scheme(scheme)
        for meter in scheme.meters:
            if meter in lines:
                tx.move_slots(meter, lines[meter])


def open_slots(tx: Tx, next_fire: NextFire, site: Site, now_ms: int) -> bool:
    """Open what has come due, at most one moment of one scheme's cron; whether there may be more."""
    zone = ZoneInfo(site.meter_zone)
    for scheme in tx.schemes():
        since_ms = _since(tx, scheme, zone, now_ms)
        fire_ms = next_fire(scheme.cron, site.zone, since_ms)
        if fire_ms is None or fire_ms > now_ms:
            continue
        if scheme.want is Want.EVENTS:
            fire_ms = _last(next_fire, scheme.cron, site.zone, fire_ms, now_ms)
        at = [fire_ms] if scheme.want is Want.EVENTS else [*moments(scheme.want, since_ms, fire_ms, zone, scheme.step_ms)]
        _open(tx, scheme, at, fire_ms, zone, now_ms)
        tx.set_meta(_mark(scheme), str(fire_ms))
        return True
    return False


def something_due(tx: Tx, next_fire: NextFire, site: Site, now_ms: int) -> bool:
    """Whether there is anything to open, or a live reading that did not come. Reads only."""
    zone = ZoneInfo(site.meter_zone)
    for scheme in tx.schemes():
        fire_ms = next_fire(scheme.cron, site.zone, _since(tx, scheme, zone, now_ms))
        if fire_ms is not None and fire_ms <= now_ms:
            return True
    return bool(tx.missed_live(now_ms, 1))


def request_history(tx: Tx, meter: str, want: Want, from_ms: int, to_ms: int, site: Site, now_ms: int) -> int:
    """Ask for what a meter took between two moments (both included), however old; how many slots wait for it now.

    LookupError: no scheme collects this. ValueError: the meter keeps nothing of it, or the request is too large.
    """
    scheme = next((s for s in tx.schemes() if s.want is want and meter in s.meters), None)
    known = tx.meter(meter)
    if scheme is None or known is None:
        raise LookupError(f"no scheme collects {want} of meter {meter}")
    if scheme.meters[meter] is Source.LIVE or want is Want.EVENTS:
        raise ValueError(f"meter {meter} keeps nothing of the past that could be asked for as {want}")
    zone, at = ZoneInfo(site.meter_zone), []
    for moment in moments(want, from_ms - 1, min(to_ms, now_ms), zone, scheme.step_ms):
        at.append(moment)
        if len(at) > MOST_REQUESTED:
            raise ValueError(f"this asks for more than {MOST_REQUESTED} values at once; ask for a shorter time")
    wanted = _slots(scheme, meter, known.line, at, now_ms, now_ms - 1)
    new = tx.add_slots(wanted)
    _count(tx, new, zone, now_ms)
    return len(new) + sum(_again(tx, slot, zone, now_ms) for slot in wanted if slot not in new)


def counted(slot: Slot, now_ms: int) -> bool:
    """Whether a slot shows in the completeness of its day: what is older than slots are kept is not counted a second time."""
    return slot.at_ms > now_ms - KEPT_MS


def _again(tx: Tx, wanted: Slot, zone: tzinfo, now_ms: int) -> bool:
    """Ask anew for what is there already but was never read."""
    [slot] = tx.slots(wanted.meter, wanted.want, wanted.at_ms, wanted.at_ms, 1)
    if slot.state is SlotState.READ:
        return False
    tx.save_slot(replace(slot, state=SlotState.EXPECTED, tries=0, next_ms=now_ms))
    if slot.state is SlotState.UNAVAILABLE and counted(slot, now_ms):
        tx.add_tally(day_of(slot.at_ms, zone), slot.scheme, slot.line, Tally(unavailable=-1))
    return True


def _since(tx: Tx, scheme: Scheme, zone: tzinfo, now_ms: int) -> int:
    """Up to when this scheme's moments are open; the first time, today's curve and the last days' freezes."""
    mark = tx.meta(_mark(scheme))
    if mark is None and scheme.want is Want.CURVE:
        return midnight(local_of(now_ms, zone).date(), zone) - 1
    if scheme.want is Want.EVENTS:
        return max(int(mark or 0), now_ms - DAY_MS)
    return max(int(mark or 0), now_ms - BACK_MS[scheme.want])


def _began(tx: Tx, scheme: Scheme, now_ms: int) -> int:
    """When this scheme was followed for the first time."""
    known = tx.meta(f"began:{scheme.id}")
    if known is None:
        tx.set_meta(f"began:{scheme.id}", str(now_ms))
    return now_ms if known is None else int(known)


def _mark(scheme: Scheme) -> str:
    return f"opened:{scheme.id}"


def _last(next_fire: NextFire, cron: str, zone: str, fire_ms: int, now_ms: int) -> int:
    for _ in range(MOST_LOOKS):
        later = next_fire(cron, zone, fire_ms)
        if later is None or later > now_ms:
            break
        fire_ms = later
    return fire_ms


def _open(tx: Tx, scheme: Scheme, at: Sequence[int], fire_ms: int, zone: tzinfo, now_ms: int) -> None:
    lines = {meter.id: meter.line for meter in tx.meters()}
    late_ms = fire_ms + scheme.window_ms
    for meter in sorted(scheme.meters):
        if scheme.meters[meter] is Source.LIVE and late_ms < _began(tx, scheme, now_ms):
            continue  # nobody was there to read it, nor was it wanted then
        if meter in lines:
            slots = _slots(scheme, meter, lines[meter], at, fire_ms, late_ms)
            _count(tx, tx.add_slots(slots), zone, now_ms)


def _slots(scheme: Scheme, meter: str, line: str, at: Sequence[int], next_ms: int, late_ms: int) -> list[Slot]:
    source = scheme.meters[meter]
    return [Slot(meter, scheme.want, m, scheme.id, line, source, late_ms, next_ms, scheme.retries) for m in at]


def _count(tx: Tx, new: Sequence[Slot], zone: tzinfo, now_ms: int) -> None:
    for day, scheme, line, number in _by_day(new, zone, now_ms):
        tx.add_tally(day, scheme, line, Tally(expected=number))


def _by_day(slots: Sequence[Slot], zone: tzinfo, now_ms: int) -> Iterator[tuple[str, str, str, int]]:
    found: dict[tuple[str, str, str], int] = {}
    for slot in slots:
        if counted(slot, now_ms):
            key = (day_of(slot.at_ms, zone), slot.scheme, slot.line)
            found[key] = found.get(key, 0) + 1
    yield from ((*key, number) for key, number in found.items())
