"""The one way into the journal."""

from __future__ import annotations

from gateway.domain.ledger import Entry, PostedEntry, post
from gateway.services.ports import Tx


def post_entry(tx: Tx, entry: Entry) -> PostedEntry:
    """Append an entry to the journal and move the balances by its legs."""
    posted = post(entry, *tx.journal_end())
    tx.add_entry(posted)
    return posted
