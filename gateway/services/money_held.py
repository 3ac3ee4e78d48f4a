"""Whether money is taken: after the restore of a backup it is not, until it was compared with bank and centre (services/reopen)."""

from __future__ import annotations

import json
from dataclasses import asdict

from gateway.domain.agreements import BankAgreed, CentreAgreed, Held
from gateway.services.ports import MoneyHeld, Tx

HELD, SERIES = "money_held", "receipt_series"
"""Keys in `meta`: what is known since the restore, empty when money is taken; and what sets receipt numbers of this life apart."""


def held(tx: Tx) -> Held | None:
    """Why no money is taken; None when it is."""
    text = tx.meta(HELD)
    if not text:
        return None
    kept = json.loads(text)
    banks = tuple(BankAgreed(**bank) for bank in kept.pop("banks"))
    centre = kept.pop("centre")
    return Held(**kept, banks=banks, centre=None if centre is None else CentreAgreed(**centre))


def why_held(tx: Tx) -> str | None:
    """The same in one sentence."""
    waits = held(tx)
    return None if waits is None else waits.sentence


def must_be_open(tx: Tx) -> None:
    """Raises MoneyHeld while no money is taken."""
    if (why := why_held(tx)) is not None:
        raise MoneyHeld(why)


def save(tx: Tx, waits: Held) -> None:
    """Keep what has been agreed."""
    tx.set_meta(HELD, json.dumps(asdict(waits), sort_keys=True))
