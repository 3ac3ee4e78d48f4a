"""The one way into the journal."""

from __future__ import annotations

from gateway.domain.ledger import NEVER_NEGATIVE, NEVER_POSITIVE, Entry, PostedEntry, post, wrong_sign
from gateway.services.ports import Tx


class Overdrawn(ValueError):
    """An entry that would take from an account more than there is, in one sentence."""


def post_entry(tx: Tx, entry: Entry) -> PostedEntry:
    """Append an entry to the journal and move the balances by its legs. Overdrawn where an account would change its only sign."""
    for leg in entry.legs:
        if leg.account.startswith(NEVER_NEGATIVE + NEVER_POSITIVE):
            after = tx.balance(leg.account, entry.currency) + leg.micro
            if wrong_sign(leg.account, after):
                raise Overdrawn(
                    f"a {entry.kind.value} of {leg.micro} micro-{entry.currency} would leave {leg.account} with {after}"
                )
    posted = post(entry, *tx.journal_end())
    tx.add_entry(posted)
    return posted
