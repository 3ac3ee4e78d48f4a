"""Why a bill is held and since when, the ratio and capacity of registers, and the clocks of the meters.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table, column in (
        ("meter", _int("capacity_wh", "1000000000")),
        ("meter", sa.Column("ratio", sa.Text(), nullable=False, server_default="1")),
        ("billing", _int("held_ms")),
        ("billing", _int("suspects", "0")),
        ("billing", _int("suspect_ms")),
        ("billing", sa.Column("suspect", sa.Text(), nullable=True)),
        ("billing", _int("moved_ms", "0")),
        ("billing", _int("still_ms", "0")),
        ("billing", _int("still_wms", "0")),
        ("billing", _int("renewals", "0")),
    ):
        op.add_column(table, column)
    op.create_table(
        "clock",
        sa.Column("meter", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        _int("offset_ms"),
        _int("within_ms"),
        _int("seen_ms"),
        sa.Column("tried_ms", sa.BigInteger(), nullable=False),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column("sent", sa.Text(), nullable=True),
        _int("sent_ms"),
        _int("off_ms"),
        sa.Column("unheeded", sa.BigInteger(), nullable=False),
        sa.Column("written", sa.Text(), nullable=False),
        sa.Column("refused", sa.Text(), nullable=False),
        _int("blocked_ms"),
        sa.PrimaryKeyConstraint("meter", name=op.f("pk_clock")),
        sqlite_with_rowid=False,
    )


def _int(name: str, default: str | None = None) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=default is None, server_default=default)
