"""What the uplink remembers: keys, orders that came signed, anchors.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

KEPT = "an order of the centre is kept for ever"
ANSWERED = "an order that is answered never changes"
OPEN = "state IN ('quarantined', 'queued')"


def upgrade() -> None:
    op.create_table(
        "uplink_key",
        *(_text(name) for name in ("kid", "public", "role", "holder", "scope")),
        _int("created_ms"),
        *(_int(name, nullable=True) for name in ("from_ms", "until_ms", "revoked_ms")),
        sa.Column("filed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_uplink_key")),
        sa.CheckConstraint("role IN ('commands', 'centre')", name=op.f("ck_uplink_key_role")),
    )
    op.create_table(
        "uplink_order",
        _number(),
        *(_text(name) for name in ("id", "kid")),
        _int("counter"),
        _text("verb"),
        *(_text(name, nullable=True) for name in ("meter", "account")),
        _text("digest"),
        _int("issued_ms"),
        _int("expires_ms", nullable=True),
        _int("received_ms"),
        *(_text(name) for name in ("args", "said", "token", "state")),
        _int("changed_ms"),
        *(_text(name) for name in ("code", "reason", "answer")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_uplink_order")),
        sa.UniqueConstraint("id", name=op.f("uq_uplink_order_id")),
    )
    op.create_index("ix_uplink_order_kid_counter", "uplink_order", ["kid", "counter"])
    op.create_index("ix_uplink_order_kid_meter_counter", "uplink_order", ["kid", "meter", "counter"])
    op.create_index("ix_uplink_order_open", "uplink_order", ["number"], sqlite_where=sa.text(OPEN), postgresql_where=sa.text(OPEN))
    op.create_table(
        "anchor",
        _number(),
        _int("at_ms"),
        _text("epoch"),
        _int("audit_number"),
        _text("audit_hash"),
        _int("ledger_number"),
        _text("ledger_hash"),
        _text("jws"),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_anchor")),
    )
    _outbox()
    over = "OLD.state NOT IN ('quarantined', 'queued')"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER uplink_order_answered BEFORE UPDATE ON uplink_order WHEN {over} "
            f"BEGIN SELECT RAISE(ABORT, '{ANSWERED}'); END"
        )
        op.execute(f"CREATE TRIGGER uplink_order_no_delete BEFORE DELETE ON uplink_order BEGIN SELECT RAISE(ABORT, '{KEPT}'); END")
    else:
        each = "FOR EACH ROW"
        op.execute(f"CREATE TRIGGER uplink_order_answered BEFORE UPDATE ON uplink_order {each} WHEN ({over}) {_refuse(ANSWERED)}")
        op.execute(f"CREATE TRIGGER uplink_order_no_delete BEFORE DELETE ON uplink_order {each} {_refuse(KEPT)}")


def _outbox() -> None:
    """How large the outbox is, counted as it grows and shrinks; and its classes."""
    waits = sa.text("acknowledged_ms IS NULL")
    op.create_index("ix_outbox_class", "outbox", ["topic", "seq"], sqlite_where=waits, postgresql_where=waits)
    size = "SELECT CAST(COALESCE(SUM(LENGTH(body)), 0) AS TEXT) FROM outbox"
    op.execute(f"UPDATE head SET hash = ({size}) WHERE name = 'outbox'")
    gone = "(SELECT number FROM head WHERE name = 'outbox') - (SELECT COUNT(*) FROM outbox)"
    op.execute(f"INSERT INTO head (name, number, hash) SELECT 'removed', {gone}, '0'")
    op.execute("INSERT INTO head (name, number, hash) VALUES ('dropped', 0, '')")


def _refuse(sentence: str) -> str:
    return f"EXECUTE FUNCTION wattgate_refuse('{sentence}')"


def _number() -> sa.Column[int]:
    return sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement="auto", nullable=False)


def _text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _int(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)
