"""The ways to pay, as the store remembers them: when each was last heard, and the finding while none is alive (F2)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.domain.findings import FindingKind
from gateway.domain.paths import PathKind, PathVerdict
from gateway.services import findings
from gateway.services.ports import Tx

KEEP_MS = 60_000
"""A path that is heard all the time is written down once a minute: a tenth of what it may be silent for."""

GATEWAY = "gateway"


def heard(tx: Tx, path: PathKind, now_ms: int) -> None:
    """An authenticated call of a bank, or a signed message of the centre, came in at this moment."""
    if worth_keeping(last_heard(tx).get(path), now_ms):
        tx.set_meta(_key(path), str(now_ms))


def worth_keeping(known_ms: int | None, heard_ms: int) -> bool:
    """Whether this moment is to be written down over the last one that was; also one before it, of a clock that was set back."""
    return known_ms is None or not 0 <= heard_ms - known_ms < KEEP_MS


def last_heard(tx: Tx) -> Mapping[PathKind, int]:
    """When each was last heard, UTC ms; at most KEEP_MS too early."""
    found = {path: tx.meta(_key(path)) for path in PathKind}
    return {path: int(text) for path, text in found.items() if text}


def worth_judging(tx: Tx, verdict: PathVerdict) -> bool:
    """Whether the finding begins or ends."""
    stands = tx.finding(FindingKind.NO_TOPUP_PATH, GATEWAY) is not None
    return verdict.alive if stands else not verdict.alive and not verdict.planned


def judge_paths(tx: Tx, verdict: PathVerdict, now_ms: int) -> None:
    """The finding begins when no path is alive, except for hours that are planned so, and ends when one is."""
    if verdict.alive:
        findings.over(tx, FindingKind.NO_TOPUP_PATH, GATEWAY, now_ms)
    elif worth_judging(tx, verdict):
        findings.found(tx, FindingKind.NO_TOPUP_PATH, GATEWAY, f"nothing can be paid in: {verdict.why}", now_ms)


def _key(path: PathKind) -> str:
    return f"heard:{path.value}"
