"""The tables of bank lines' traces and of direct debit (domain/traces.py, domain/mandates.py)."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, PrimaryKeyConstraint, Table, UniqueConstraint, literal_column

from gateway.adapters.store.columns import flag, whole, words
from gateway.adapters.store.schema import metadata

trace = Table(
    "bank_trace",
    metadata,
    *(words(name) for name in ("bank", "original", "scope", "serial", "parts")),
    flag("early"),
    PrimaryKeyConstraint("bank", "original", "scope", "serial"),
)
mandate = Table(
    "mandate",
    metadata,
    words("id"),
    words("bank"),
    Column("account", ForeignKey("account.id"), nullable=False),
    words("payer"),
    words("currency"),
    *(whole(name) for name in ("below_micro", "upto_micro", "most_micro")),
    words("state"),
    whole("signed_ms"),
    whole("ended_ms", nullable=True),
    PrimaryKeyConstraint("id"),
    CheckConstraint("state IN ('signed', 'ended')", "state"),
    CheckConstraint("most_micro > 0 AND upto_micro >= below_micro", "amounts"),
)
_signed = mandate.c.state == literal_column("'signed'")
Index("ix_mandate_once", mandate.c.account, unique=True, sqlite_where=_signed, postgresql_where=_signed)
"""Nobody is debited for the same account at two banks."""

batch = Table(
    "debit_batch",
    metadata,
    *(words(name) for name in ("id", "bank", "accounting_date", "currency")),
    *(whole(name) for name in ("count", "sum_micro", "made_ms")),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("bank", "accounting_date"),
)
line = Table(
    "debit_line",
    metadata,
    Column("batch", ForeignKey("debit_batch.id"), nullable=False),
    whole("number"),
    *(words(name) for name in ("bank", "serial")),
    Column("mandate", ForeignKey("mandate.id"), nullable=False),
    *(words(name) for name in ("account", "payer")),
    whole("amount_micro"),
    *(words(name) for name in ("currency", "state", "said")),
    PrimaryKeyConstraint("batch", "number"),
    UniqueConstraint("bank", "serial"),
    CheckConstraint("amount_micro > 0", "amount"),
    CheckConstraint("state IN ('sent', 'paid', 'failed', 'unbooked')", "state"),
)
_sent = line.c.state == literal_column("'sent'")
Index("ix_debit_line_open", line.c.mandate, unique=True, sqlite_where=_sent, postgresql_where=_sent)
"""What was asked for is not asked for again before the bank has answered."""
