"""The tables of what the uplink remembers: keys, signed orders and anchors (contract.md 5)."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Table, UniqueConstraint, literal_column

from gateway.adapters.store.columns import NUMBER, flag, whole, words
from gateway.adapters.store.schema import metadata

uplink_key = Table(
    "uplink_key",
    metadata,
    Column("kid", words("kid").type, primary_key=True),
    words("public"),
    words("role"),
    words("holder"),
    words("scope"),
    whole("created_ms"),
    whole("from_ms", nullable=True),
    whole("until_ms", nullable=True),
    whole("revoked_ms", nullable=True),
    flag("filed"),
    CheckConstraint("role IN ('commands', 'centre')", "role"),
)

uplink_order = Table(
    "uplink_order",
    metadata,
    Column("number", NUMBER, primary_key=True),
    words("id"),
    words("kid"),
    whole("counter"),
    words("verb"),
    words("meter", nullable=True),
    words("account", nullable=True),
    words("digest"),
    whole("issued_ms"),
    whole("expires_ms", nullable=True),
    whole("received_ms"),
    words("args"),
    words("said"),
    words("token"),
    words("state"),
    whole("changed_ms"),
    words("code"),
    words("reason"),
    words("answer"),
    UniqueConstraint("id"),
    Index(None, "kid", "counter"),
    Index(None, "kid", "meter", "counter"),
)
waits = uplink_order.c.state.in_([literal_column(f"'{state}'") for state in ("quarantined", "queued")])
Index("ix_uplink_order_open", uplink_order.c.number, sqlite_where=waits, postgresql_where=waits)

anchor = Table(
    "anchor",
    metadata,
    Column("number", NUMBER, primary_key=True),
    whole("at_ms"),
    words("epoch"),
    whole("audit_number"),
    words("audit_hash"),
    whole("ledger_number"),
    words("ledger_hash"),
    words("jws"),
)
