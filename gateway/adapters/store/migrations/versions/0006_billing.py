"""Tariffs are price lists only; an account's debt; estimates that wait for a freeze; how far fees are booked.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("tariff", "prices")
    for name in ("priced_since", "debt"):
        op.add_column("account", sa.Column(name, sa.Text(), nullable=True))
    op.create_table(
        "estimate",
        sa.Column("entry", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        *(_text(name) for name in ("meter", "account", "tariff")),
        _int("from_ms"),
        _int("to_ms"),
        _text("points"),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_estimate")),
        sa.ForeignKeyConstraint(["entry"], ["entry.number"], name=op.f("fk_estimate_entry")),
        *_of_account_and_tariff("estimate"),
        sa.CheckConstraint("from_ms < to_ms", name=op.f("ck_estimate_span")),
    )
    op.create_index("ix_estimate_meter_to_ms", "estimate", ["meter", "to_ms"])
    op.create_table(
        "accrual",
        *(_text(name) for name in ("account", "tariff")),
        *(_int(name) for name in ("until_ms", "late_ms", "late_per_mille_micro")),
        _text("varh"),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_accrual")),
        *_of_account_and_tariff("accrual"),
        sqlite_with_rowid=False,
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _int(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _of_account_and_tariff(table: str) -> list[sa.ForeignKeyConstraint]:
    return [sa.ForeignKeyConstraint([name], [f"{name}.id"], name=op.f(f"fk_{table}_{name}")) for name in ("account", "tariff")]
