"""Money on its way into meters; what is remembered of their wallets.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ENDED = "a delivery that has ended never changes"
KEPT = "a delivery is kept for ever"
OVER = "OLD.state IN ('in_meter', 'returned_to_balance')"


def upgrade() -> None:
    op.add_column("wallet", sa.Column("memory", sa.Text(), nullable=False, server_default="{}"))
    op.create_table(
        "delivery",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement="auto", nullable=False),
        *(_text(name) for name in ("id", "account", "meter", "act")),
        _int("micro"),
        _text("currency"),
        _int("created_ms"),
        _int("due_ms", nullable=True),
        _int("epoch"),
        _text("state"),
        _int("changed_ms"),
        _int("count", nullable=True),
        *(_int(name) for name in ("entry", "attempts")),
        *(_int(name, nullable=True) for name in ("sent_ms", "look_ms")),
        *(_int(name) for name in ("next_ms", "refusals")),
        _text("reason"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_delivery")),
        sa.UniqueConstraint("id", name=op.f("uq_delivery_id")),
        sa.ForeignKeyConstraint(["meter"], ["meter.id"], name=op.f("fk_delivery_meter")),
        _check("act", "act IN ('top_up', 'refund')"),
        _check("micro", "micro > 0 AND micro % 10000 = 0"),
        _check("state", "state IN ('queued', 'sent', 'uncertain', 'in_meter', 'returned_to_balance')"),
        _check("count", "attempts >= 0 AND refusals >= 0 AND (count IS NULL OR count > 0)"),
    )
    op.create_index("ix_delivery_account_number", "delivery", ["account", "number"])
    _partial("ix_delivery_open", ["meter", "number"], "state IN ('queued', 'sent', 'uncertain')")
    _partial("ix_delivery_once", ["meter", "epoch", "count"], "state = 'in_meter' AND act = 'top_up'", unique=True)
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"CREATE TRIGGER delivery_ended BEFORE UPDATE ON delivery WHEN {OVER} BEGIN SELECT RAISE(ABORT, '{ENDED}'); END")
        op.execute(f"CREATE TRIGGER delivery_no_delete BEFORE DELETE ON delivery BEGIN SELECT RAISE(ABORT, '{KEPT}'); END")
    else:
        each = "FOR EACH ROW"
        op.execute(f"CREATE TRIGGER delivery_ended BEFORE UPDATE ON delivery {each} WHEN ({OVER}) {_refuse(ENDED)}")
        op.execute(f"CREATE TRIGGER delivery_no_delete BEFORE DELETE ON delivery {each} {_refuse(KEPT)}")


def _refuse(sentence: str) -> str:
    return f"EXECUTE FUNCTION wattgate_refuse('{sentence}')"


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _int(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _check(name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_delivery_{name}"))


def _partial(name: str, columns: list[str], where: str, unique: bool = False) -> None:
    op.create_index(name, "delivery", columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
