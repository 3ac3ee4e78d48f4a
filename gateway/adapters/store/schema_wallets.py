"""The table of money on its way into meters (domain/wallets.py)."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, UniqueConstraint, literal_column

from gateway.adapters.store.columns import NUMBER, whole, words
from gateway.adapters.store.schema import metadata

delivery = Table(
    "delivery",
    metadata,
    Column("number", NUMBER, primary_key=True),
    words("id"),
    words("account"),
    Column("meter", ForeignKey("meter.id"), nullable=False),
    words("act"),
    whole("micro"),
    words("currency"),
    whole("created_ms"),
    whole("due_ms", nullable=True),
    whole("epoch"),
    words("state"),
    whole("changed_ms"),
    whole("count", nullable=True),
    whole("entry"),
    whole("attempts"),
    whole("sent_ms", nullable=True),
    whole("look_ms", nullable=True),
    whole("next_ms"),
    whole("refusals"),
    words("reason"),
    UniqueConstraint("id"),
    CheckConstraint("act IN ('top_up', 'refund')", "act"),
    CheckConstraint("micro > 0 AND micro % 10000 = 0", "micro"),
    CheckConstraint("state IN ('queued', 'sent', 'uncertain', 'in_meter', 'returned_to_balance')", "state"),
    CheckConstraint("attempts >= 0 AND refusals >= 0 AND (count IS NULL OR count > 0)", "count"),
    Index(None, "account", "number"),
)
_open = delivery.c.state.in_([literal_column(f"'{state}'") for state in ("queued", "sent", "uncertain")])
Index("ix_delivery_open", delivery.c.meter, delivery.c.number, sqlite_where=_open, postgresql_where=_open)
_bought = (delivery.c.state == literal_column("'in_meter'")) & (delivery.c.act == literal_column("'top_up'"))
Index(
    "ix_delivery_once",
    delivery.c.meter,
    delivery.c.epoch,
    delivery.c.count,
    unique=True,
    sqlite_where=_bought,
    postgresql_where=_bought,
)
"""A purchase count of a meter is one purchase, whatever code says."""
