"""The tables of what banks bring after a payment: reversals, refunds, settlements, days and their differences (contract.md 3)."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, PrimaryKeyConstraint, Table, UniqueConstraint, literal_column

from gateway.adapters.store.columns import whole, words
from gateway.adapters.store.schema import metadata, payment

NAMED = ("bank", "institution", "scope", "serial")
ORIGINAL = tuple(f"original_{name}" for name in NAMED)
DAY = ("bank", "accounting_date")
_OF_PAYMENT = [f"payment.{name}" for name in NAMED]
_in_day = ("bank", "accounting_date", "institution", "scope", "serial")

Index("ix_payment_day", *(payment.c[name] for name in _in_day))
Index("ix_payment_account", payment.c.account, payment.c.accounting_date)

reversal = Table(
    "bank_reversal",
    metadata,
    *(words(name) for name in (*NAMED, "reversal_serial", "accounting_date", "account")),
    whole("amount_micro"),
    *(words(name) for name in ("currency", "reason", "requested_at", "origin", "state")),
    whole("at_ms"),
    whole("decided_ms", nullable=True),
    whole("entry", nullable=True),
    words("document"),
    words("detail"),
    PrimaryKeyConstraint(*NAMED),
    ForeignKeyConstraint(NAMED, _OF_PAYMENT),
    ForeignKeyConstraint(["entry"], ["entry.number"]),
    UniqueConstraint("entry"),
    CheckConstraint("amount_micro > 0", "amount"),
    CheckConstraint("state IN ('pending', 'done', 'tombstone', 'stands')", "state"),
    CheckConstraint("origin IN ('bank', 'resolution')", "origin"),
    CheckConstraint("(state = 'done') = (entry IS NOT NULL)", "done"),
)
Index("ix_bank_reversal_day", *(reversal.c[name] for name in _in_day))
waits = reversal.c.state == literal_column("'pending'")
Index("ix_bank_reversal_open", reversal.c.at_ms, sqlite_where=waits, postgresql_where=waits)

refund = Table(
    "bank_refund",
    metadata,
    *(words(name) for name in (*NAMED, *ORIGINAL, "accounting_date", "account")),
    whole("amount_micro"),
    *(words(name) for name in ("currency", "reason", "state")),
    whole("at_ms"),
    whole("entry", nullable=True),
    words("document"),
    PrimaryKeyConstraint(*NAMED),
    ForeignKeyConstraint(ORIGINAL, _OF_PAYMENT, name="fk_bank_refund_original_bank"),
    ForeignKeyConstraint(["entry"], ["entry.number"]),
    UniqueConstraint("entry"),
    CheckConstraint("amount_micro > 0", "amount"),
    CheckConstraint("state IN ('asked', 'paid', 'voided')", "state"),
    CheckConstraint("(state = 'paid') = (entry IS NOT NULL)", "paid"),
)
Index("ix_bank_refund_day", *(refund.c[name] for name in _in_day))
Index("ix_bank_refund_original", *(refund.c[name] for name in ORIGINAL))

settlement = Table(
    "bank_settlement",
    metadata,
    *(words(name) for name in ("bank", "fund_batch", "accounting_date")),
    whole("amount_micro"),
    words("currency"),
    whole("at_ms"),
    whole("entry"),
    words("document"),
    PrimaryKeyConstraint("bank", "fund_batch"),
    ForeignKeyConstraint(["entry"], ["entry.number"]),
    UniqueConstraint("entry"),
    CheckConstraint("amount_micro > 0", "amount"),
    Index("ix_bank_settlement_day", *DAY),
)

closed_day = Table(
    "bank_day",
    metadata,
    *(words(name) for name in DAY),
    whole("version"),
    whole("lines"),
    words("totals"),
    whole("closed_ms"),
    PrimaryKeyConstraint(*DAY),
)

taking = Table(
    "bank_taking",
    metadata,
    *(words(name) for name in (*DAY, "part")),
    whole("count"),
    whole("micro"),
    PrimaryKeyConstraint(*DAY, "part"),
)
"""Running sums of a day for the limits on it; a row stands only where somebody asked."""

day_file = Table(
    "bank_file",
    metadata,
    *(words(name) for name in DAY),
    whole("version"),
    words("state"),
    words("body"),
    PrimaryKeyConstraint(*DAY, "version"),
    CheckConstraint("state IN ('running', 'done', 'failed')", "state"),
)

difference = Table(
    "bank_difference",
    metadata,
    *(words(name) for name in DAY),
    whole("version"),
    whole("number"),
    *(words(name) for name in ("about", "kind", "body")),
    PrimaryKeyConstraint(*DAY, "version", "number"),
    ForeignKeyConstraint([*DAY, "version"], [f"bank_file.{name}" for name in (*DAY, "version")]),
)

resolution = Table(
    "bank_resolution",
    metadata,
    *(words(name) for name in (*DAY, "about", "state", "body")),
    PrimaryKeyConstraint(*DAY, "about"),
    CheckConstraint("state IN ('asked', 'done')", "state"),
)
