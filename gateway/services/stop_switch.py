"""The stop switch: no cut of budgets 2 to 4 leaves any more, queued ones neither, until somebody resumes (prepayment.md 6)."""

from __future__ import annotations

import json
from contextlib import suppress

from gateway.domain.events import EventKind
from gateway.services import announce
from gateway.services.ports import Tx, Unavailable

KEY = "cuts_stopped"

ORDERED = "stops_ordered"
"""Key in `meta`: of each key of the centre that ever ordered a stop, the counter and the time (UTC ms) of its last one."""


def stopped(tx: Tx) -> str | None:
    """Who stopped the cuts and why, in a few words; None while they go on."""
    kept = tx.meta(KEY)
    if not kept:
        return None
    who, reason = json.loads(kept)
    return f"{reason} ({who})"


def stop_cuts(tx: Tx, who: str, reason: str, now_ms: int) -> None:
    """From this commit on; who stops them again only changes the reason. Safety trips and danger to life go on."""
    tx.set_meta(KEY, json.dumps([who, reason]))
    with suppress(Unavailable):  # cuts are stopped whether or not it can be written down
        tx.add_audit(now_ms, who, "stop_cuts", "gateway", {"reason": reason})
    announce.event(tx, EventKind.CUTS_STOPPED, now_ms, who=who, reason=reason)


def resume_cuts(tx: Tx, who: str, reason: str, now_ms: int) -> str | None:
    """Cuts are judged and ordered again. Why not, where they were not stopped. The caller checks the right to it."""
    if stopped(tx) is None:
        return "cuts are not stopped"
    tx.add_audit(now_ms, who, "resume_cuts", "gateway", {"reason": reason})
    tx.set_meta(KEY, "")
    announce.event(tx, EventKind.CUTS_RESUMED, now_ms, who=who, reason=reason)
    return None


def stop_ordered(tx: Tx, kid: str, counter: int, issued_ms: int) -> None:
    """Remembers a signed stop: it is judged before what came earlier, a `go` among it too."""
    said = _ordered(tx)
    last_counter, last_ms = said.get(kid, (counter, issued_ms))
    said[kid] = (max(counter, last_counter), max(issued_ms, last_ms))
    tx.set_meta(ORDERED, json.dumps(said, sort_keys=True))


def overtaken(tx: Tx, kid: str, counter: int, issued_ms: int) -> str | None:
    """Which stop was ordered after this signed `go`, and so holds: of the same key by its counter, of another by its time."""
    said = _ordered(tx)
    if kid in said and said[kid][0] > counter:
        return f"a later stop of the key {kid} came before it"
    later = next((other for other, (_, at_ms) in said.items() if other != kid and at_ms > issued_ms), None)
    return later and f"the key {later} ordered a stop after it was issued"


def _ordered(tx: Tx) -> dict[str, tuple[int, int]]:
    return {kid: (counter, at_ms) for kid, (counter, at_ms) in json.loads(tx.meta(ORDERED) or "{}").items()}
