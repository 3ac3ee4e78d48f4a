"""What the rules want meters to show: written with what causes it, brought about by keep_signs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace

from gateway.domain.credit import Step, in_force
from gateway.domain.meters import Account, Meter
from gateway.domain.signs import Sign, Wish
from gateway.services.ports import Tx

PREFIX = "sign:"


def rungs(account: Account) -> tuple[Step, ...]:
    """The notice ladder that holds for this account."""
    return in_force(account.policy, account.agreement).steps


def wish_alarm(tx: Tx, account: Account, step: str, notice: int) -> None:
    """Every meter that a cut of this account reaches is to alarm, and to be seen alarming, where this notice is of a rung."""
    if all(rung.name != step for rung in rungs(account)):
        return
    for meter in tx.meters_of(account.id):
        if not meter.cuttable:
            continue
        known = _known(tx, Sign.ALARM, meter, account)
        steps = tuple(dict.fromkeys((*known.steps, step)))
        reached = known.reached or known.command is not None
        put(tx, Sign.ALARM, meter.id, replace(known, steps=steps, notices=(*known.notices, notice), command=None, reached=reached))


def wish_protect(tx: Tx, account: Account) -> None:
    """Every meter of this account that has a switch is to refuse trips, as long as its protection says so."""
    for meter in tx.meters_of(account.id):
        if meter.cuttable:
            put(tx, Sign.PROTECT, meter.id, _known(tx, Sign.PROTECT, meter, account))


def _known(tx: Tx, sign: Sign, meter: Meter, account: Account) -> Wish:
    known = wish_of(tx, sign, meter.id)
    if known is None:
        return Wish(account.id, meter.address)
    if known.account == account.id:
        return known
    return replace(known, account=account.id, steps=(), notices=())


def wish_of(tx: Tx, sign: Sign, meter: str) -> Wish | None:
    """What is wanted of this meter."""
    return _read(tx.meta(_key(sign, meter)))


def wishes(tx: Tx) -> Sequence[tuple[Sign, str, Wish]]:
    """All of them: the sign, the meter, and why."""
    found = []
    for key, text in sorted(tx.metas_of(PREFIX).items()):
        _, sign, meter = key.split(":", 2)
        wish = _read(text)
        if wish is not None:
            found.append((Sign(sign), meter, wish))
    return found


def put(tx: Tx, sign: Sign, meter: str, wish: Wish | None) -> None:
    """Keep this; None: nothing is wanted any more, and nothing is left of it."""
    tx.set_meta(_key(sign, meter), "" if wish is None else json.dumps(asdict(wish)))


def _read(text: str | None) -> Wish | None:
    if not text:
        return None
    kept = json.loads(text)
    return Wish(**{**kept, "steps": tuple(kept["steps"]), "notices": tuple(kept["notices"])})


def _key(sign: Sign, meter: str) -> str:
    return f"{PREFIX}{sign}:{meter}"
