"""The tables of cut permissions, people, their acts, notices and findings; beside schema.py only because that is long enough."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
)

from gateway.adapters.store.columns import NUMBER, flag, whole, words
from gateway.adapters.store.schema import metadata

ALONE_MS = 15 * 60 * 1000
"""Who asked for something may approve it no sooner than this, where nobody else is there (prepayment.md 6)."""

permission = Table(
    "permission",
    metadata,
    Column("number", NUMBER, primary_key=True, autoincrement=False),
    words("account", nullable=True),
    words("cause"),
    words("origin"),
    whole("given_ms"),
    whole("until_ms"),
    words("evidence"),
    whole("withdrawn_ms", nullable=True),
    CheckConstraint("number > 0", "number"),
    CheckConstraint("until_ms >= given_ms", "span"),
    Index(None, "account", "number"),
)

spent = Table(
    "spent",
    metadata,
    Column("number", NUMBER, primary_key=True),
    words("budget"),
    words("key"),
    words("meter"),
    whole("at_ms"),
    CheckConstraint("budget <> '' AND at_ms >= 0", "budget"),
    Index(None, "budget", "at_ms"),
)
"""Cuts by the budgets that they came out of."""

approval = Table(
    "approval",
    metadata,
    Column("number", NUMBER, primary_key=True),
    words("id"),
    words("act"),
    words("subject"),
    words("body"),
    words("asked_by"),
    whole("asked_ms"),
    whole("expires_ms"),
    words("state"),
    words("decided_by", nullable=True),
    whole("decided_ms", nullable=True),
    words("reason"),
    UniqueConstraint("id"),
    CheckConstraint("expires_ms > asked_ms", "span"),
    CheckConstraint("state IN ('asked', 'approved', 'refused', 'expired')", "state"),
    CheckConstraint("state <> 'asked' OR (decided_by IS NULL AND decided_ms IS NULL)", "asked"),
    CheckConstraint("state NOT IN ('approved', 'refused') OR (decided_by IS NOT NULL AND decided_ms IS NOT NULL)", "decided"),
    CheckConstraint("state <> 'approved' OR decided_ms < expires_ms", "in_time"),
    CheckConstraint(f"state <> 'approved' OR decided_by <> asked_by OR decided_ms - asked_ms >= {ALONE_MS}", "second"),
)
_asked = approval.c.state == literal_column("'asked'")
Index("ix_approval_asked", approval.c.number, sqlite_where=_asked, postgresql_where=_asked)

person = Table(
    "person",
    metadata,
    Column("name", Text, primary_key=True),
    words("roles"),
    words("token_hash"),
    whole("created_ms"),
    whole("revoked_ms", nullable=True),
    sqlite_with_rowid=False,
)
_has_token = person.c.token_hash != literal_column("''")
Index("ix_person_token", person.c.token_hash, unique=True, sqlite_where=_has_token, postgresql_where=_has_token)

audit = Table(
    "audit",
    metadata,
    Column("number", NUMBER, primary_key=True, autoincrement=False),
    whole("at_ms"),
    words("who"),
    words("act"),
    words("subject"),
    words("data"),
    words("previous"),
    words("hash"),
    CheckConstraint("number > 0", "number"),
    CheckConstraint("length(hash) = 64 AND length(previous) = 64", "hash"),
)

notice = Table(
    "notice",
    metadata,
    Column("number", NUMBER, primary_key=True),
    words("account"),
    words("step"),
    words("channel"),
    words("to"),
    words("values"),
    whole("created_ms"),
    words("state"),
    whole("tries"),
    whole("next_ms"),
    whole("changed_ms"),
    words("detail"),
    CheckConstraint("state IN ('queued', 'accepted', 'delivered', 'failed')", "state"),
    CheckConstraint("tries >= 0", "tries"),
    Index(None, "account", "created_ms"),
    Index(None, "created_ms"),
)
_queued = notice.c.state == literal_column("'queued'")
Index("ix_notice_due", notice.c.next_ms, notice.c.number, sqlite_where=_queued, postgresql_where=_queued)

finding = Table(
    "finding",
    metadata,
    words("kind"),
    words("subject"),
    whole("since_ms"),
    words("text"),
    words("data"),
    PrimaryKeyConstraint("kind", "subject"),
    sqlite_with_rowid=False,
)

no_cut_calendar = Table("no_cut_calendar", metadata, Column("id", Text, primary_key=True), words("body"), sqlite_with_rowid=False)

wallet = Table(
    "wallet",
    metadata,
    Column("meter", Text, ForeignKey("meter.id"), primary_key=True),
    whole("count"),
    whole("balance_micro"),
    whole("overdraft_micro"),
    whole("read_ms"),
    flag("opened"),
    whole("held_since_ms", nullable=True),
    Column("memory", Text, nullable=False, server_default="{}"),
    CheckConstraint("count >= 0", "count"),
    sqlite_with_rowid=False,
)
