"""Tables of the archive that stand in the store alone, beside the configuration file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.domain.life import Filing, FilingKind
from gateway.services.ports import Tx

_PREFIX = "filing:"


def filings(tx: Tx) -> Sequence[Filing]:
    """All of them, by kind and id."""
    found = []
    for key, body in sorted(tx.metas_of(_PREFIX).items()):
        _, kind, ident = key.split(":", 2)
        found.append(Filing(FilingKind(kind), ident, body))
    return found


def keep_filings(tx: Tx, changed: Iterable[Filing]) -> None:
    """Put them in, or take them out."""
    for filing in changed:
        tx.set_meta(f"{_PREFIX}{filing.kind.value}:{filing.id}", filing.body or "")
