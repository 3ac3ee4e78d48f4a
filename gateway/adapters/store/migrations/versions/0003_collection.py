"""Schemes, slots, completeness and records of meters; the moment of values of the past; daily sums after the retention.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

PAST = sa.text("taken_ms IS NOT NULL")
EXPECTED = sa.text("state = 'expected'")
LIVE = sa.text("state = 'expected' AND source = 'live'")


def upgrade() -> None:
    op.add_column("reading", sa.Column("taken_ms", sa.BigInteger(), nullable=True))
    op.create_index("ix_reading_past", "reading", ["meter", "source", "taken_ms"], sqlite_where=PAST, postgresql_where=PAST)
    _schemes_and_slots()
    _tallies()


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _int(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _schemes_and_slots() -> None:
    op.create_table(
        "scheme",
        _text("id"),
        _text("want"),
        _text("cron"),
        _int("window_ms"),
        _int("step_ms"),
        _int("priority"),
        _int("retries"),
        _int("target"),
        _text("meters"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scheme")),
    )
    op.create_table(
        "slot",
        _text("meter"),
        _text("want"),
        _int("at_ms"),
        _text("scheme"),
        _text("line"),
        _text("source"),
        _int("late_ms"),
        _int("next_ms"),
        _int("retries"),
        _text("state"),
        _int("tries"),
        _int("read_ms", nullable=True),
        _text("quality", nullable=True),
        sa.CheckConstraint("state IN ('expected', 'read', 'unavailable')", name=op.f("ck_slot_state")),
        sa.CheckConstraint("(state = 'read') = (read_ms IS NOT NULL)", name=op.f("ck_slot_read")),
        sa.PrimaryKeyConstraint("meter", "want", "at_ms", name=op.f("pk_slot")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_slot_due", "slot", ["line", "want", "next_ms"], sqlite_where=EXPECTED, postgresql_where=EXPECTED)
    op.create_index("ix_slot_window", "slot", ["line", "want", "late_ms"], sqlite_where=EXPECTED, postgresql_where=EXPECTED)
    op.create_index("ix_slot_live", "slot", ["late_ms"], sqlite_where=LIVE, postgresql_where=LIVE)


def _tallies() -> None:
    op.create_table(
        "completeness",
        _text("day"),
        _text("scheme"),
        _text("line"),
        _int("expected"),
        _int("read"),
        _int("in_time"),
        _int("unavailable"),
        sa.Column("judged", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("day", "scheme", "line", name=op.f("pk_completeness")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "meter_record",
        _text("meter"),
        _text("kind"),
        _text("key"),
        _int("at_ms"),
        sa.PrimaryKeyConstraint("meter", "kind", "key", name=op.f("pk_meter_record")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "day_sum",
        _text("meter"),
        _text("day"),
        _text("quantity"),
        _text("unit"),
        _int("count"),
        _text("first"),
        _int("first_ms"),
        _text("last"),
        _int("last_ms"),
        _text("lowest"),
        _text("highest"),
        sa.CheckConstraint("count > 0", name=op.f("ck_day_sum_count")),
        sa.PrimaryKeyConstraint("meter", "day", "quantity", name=op.f("pk_day_sum")),
        sqlite_with_rowid=False,
    )
