"""Permissions, budgets, approvals, people, the audit log, notices, findings, calendars, wallets; who holds an account's money.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ALONE_MS = 15 * 60 * 1000
APPEND_ONLY = "the audit log is append-only"
HOLE = "a row of the audit log follows the one before without a hole"
GRANTED = "what a permission is about never changes"
KEPT = "a permission is kept for ever"
ASKED = "what was asked never changes"
ONCE = "an approval is decided once"

FOLLOWS = f"""(NEW.number = 1 AND NEW.previous = '{"0" * 64}')
    OR EXISTS (SELECT 1 FROM audit WHERE number = NEW.number - 1 AND hash = NEW.previous)"""
PERMISSION_CONTENT = "number, account, cause, origin, given_ms, evidence"
APPROVAL_CONTENT = "number, id, act, subject, body, asked_by, asked_ms, expires_ms"


def upgrade() -> None:
    _permissions()
    _approvals()
    _people()
    _notices()
    _wallets()
    _more_columns()
    _partial("ix_transfer_open", "transfer", ["account"], "state IN ('pending', 'uncertain')")
    heads = sa.table("head", sa.column("name"), sa.column("number"), sa.column("hash"))
    starts = {"audit": "0" * 64, "permission": ""}
    op.bulk_insert(heads, [{"name": name, "number": 0, "hash": hash} for name, hash in starts.items()])
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def _text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _int(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _number(counted: bool = True) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("number", kind, autoincrement="auto" if counted else False, nullable=False)


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def _permissions() -> None:
    op.create_table(
        "permission",
        _number(counted=False),
        _text("account", nullable=True),
        *(_text(name) for name in ("cause", "origin")),
        *(_int(name) for name in ("given_ms", "until_ms")),
        _text("evidence"),
        _int("withdrawn_ms", nullable=True),
        _key("permission", "number"),
        _check("permission", "number", "number > 0"),
        _check("permission", "span", "until_ms >= given_ms"),
    )
    op.create_index("ix_permission_account_number", "permission", ["account", "number"])
    op.create_table(
        "spent",
        _number(),
        *(_text(name) for name in ("budget", "key", "meter")),
        _int("at_ms"),
        _key("spent", "number"),
        _check("spent", "budget", "budget <> '' AND at_ms >= 0"),
    )
    op.create_index("ix_spent_budget_at_ms", "spent", ["budget", "at_ms"])


def _approvals() -> None:
    decided = "state NOT IN ('approved', 'refused') OR (decided_by IS NOT NULL AND decided_ms IS NOT NULL)"
    second = f"state <> 'approved' OR decided_by <> asked_by OR decided_ms - asked_ms >= {ALONE_MS}"
    op.create_table(
        "approval",
        _number(),
        *(_text(name) for name in ("id", "act", "subject", "body", "asked_by")),
        *(_int(name) for name in ("asked_ms", "expires_ms")),
        _text("state"),
        _text("decided_by", nullable=True),
        _int("decided_ms", nullable=True),
        _text("reason"),
        _key("approval", "number"),
        sa.UniqueConstraint("id", name=op.f("uq_approval_id")),
        _check("approval", "span", "expires_ms > asked_ms"),
        _check("approval", "state", "state IN ('asked', 'approved', 'refused', 'expired')"),
        _check("approval", "asked", "state <> 'asked' OR (decided_by IS NULL AND decided_ms IS NULL)"),
        _check("approval", "decided", decided),
        _check("approval", "in_time", "state <> 'approved' OR decided_ms < expires_ms"),
        _check("approval", "second", second),
    )
    _partial("ix_approval_asked", "approval", ["number"], "state = 'asked'")


def _partial(name: str, table: str, columns: list[str], where: str, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def _people() -> None:
    op.create_table(
        "person",
        *(_text(name) for name in ("name", "roles", "token_hash")),
        _int("created_ms"),
        _int("revoked_ms", nullable=True),
        _key("person", "name"),
        sqlite_with_rowid=False,
    )
    _partial("ix_person_token", "person", ["token_hash"], "token_hash != ''", unique=True)
    op.create_table(
        "audit",
        _number(counted=False),
        _int("at_ms"),
        *(_text(name) for name in ("who", "act", "subject", "data", "previous", "hash")),
        _key("audit", "number"),
        _check("audit", "number", "number > 0"),
        _check("audit", "hash", "length(hash) = 64 AND length(previous) = 64"),
    )


def _notices() -> None:
    op.create_table(
        "notice",
        _number(),
        *(_text(name) for name in ("account", "step", "channel", "to", "values")),
        _int("created_ms"),
        _text("state"),
        *(_int(name) for name in ("tries", "next_ms", "changed_ms")),
        _text("detail"),
        _key("notice", "number"),
        _check("notice", "state", "state IN ('queued', 'accepted', 'delivered', 'failed')"),
        _check("notice", "tries", "tries >= 0"),
    )
    op.create_index("ix_notice_account_created_ms", "notice", ["account", "created_ms"])
    op.create_index("ix_notice_created_ms", "notice", ["created_ms"])
    _partial("ix_notice_due", "notice", ["next_ms", "number"], "state = 'queued'")
    op.create_table(
        "finding",
        *(_text(name) for name in ("kind", "subject")),
        _int("since_ms"),
        *(_text(name) for name in ("text", "data")),
        _key("finding", "kind", "subject"),
        sqlite_with_rowid=False,
    )


def _wallets() -> None:
    op.create_table("no_cut_calendar", _text("id"), _text("body"), _key("no_cut_calendar", "id"), sqlite_with_rowid=False)
    op.create_table(
        "wallet",
        _text("meter"),
        *(_int(name) for name in ("count", "balance_micro", "overdraft_micro", "read_ms")),
        sa.Column("opened", sa.Boolean(), nullable=False),
        _int("held_since_ms", nullable=True),
        _key("wallet", "meter"),
        sa.ForeignKeyConstraint(["meter"], ["meter.id"], name=op.f("fk_wallet_meter")),
        _check("wallet", "count", "count >= 0"),
        sqlite_with_rowid=False,
    )


def _more_columns() -> None:
    """As text where a constraint comes along: SQLite takes one only together with its column."""
    op.execute(
        """ALTER TABLE account ADD COLUMN authority TEXT DEFAULT 'gateway' NOT NULL
        CONSTRAINT ck_account_authority CHECK (authority IN ('gateway', 'meter'))"""
    )
    for name in ("standing", "protect", "limit_memory", "reach"):
        op.add_column("account", sa.Column(name, sa.Text(), nullable=False, server_default="{}"))
    for table in ("account", "meter"):
        op.add_column(table, sa.Column("filed", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("account", _int("limit_due_ms", nullable=True))
    _partial("ix_account_limit_due", "account", ["limit_due_ms"], "limit_due_ms IS NOT NULL")
    op.execute("ALTER TABLE command ADD COLUMN permission BIGINT CONSTRAINT fk_command_permission REFERENCES permission (number)")


def _guard_sqlite() -> None:
    for act in ("UPDATE", "DELETE"):
        _sqlite(f"audit_no_{act.lower()}", f"BEFORE {act} ON audit", APPEND_ONLY)
    _sqlite("audit_chained", f"AFTER INSERT ON audit WHEN NOT ({FOLLOWS})", HOLE)
    _sqlite("permission_content", f"BEFORE UPDATE OF {PERMISSION_CONTENT} ON permission", GRANTED)
    _sqlite("permission_no_delete", "BEFORE DELETE ON permission", KEPT)
    _sqlite("approval_content", f"BEFORE UPDATE OF {APPROVAL_CONTENT} ON approval", ASKED)
    _sqlite("approval_once", "BEFORE UPDATE ON approval WHEN OLD.state <> 'asked'", ONCE)


def _sqlite(name: str, when: str, sentence: str) -> None:
    op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{sentence}'); END")


def _guard_postgresql() -> None:
    for table, sentence in (("audit", APPEND_ONLY), ("permission", KEPT)):
        _postgresql(f"{table}_no_delete", f"BEFORE DELETE ON {table} FOR EACH ROW", sentence)
        _postgresql(f"{table}_no_truncate", f"BEFORE TRUNCATE ON {table} FOR EACH STATEMENT", sentence)
    _postgresql("audit_no_change", "BEFORE UPDATE ON audit FOR EACH ROW", APPEND_ONLY)
    _postgresql("permission_content", f"BEFORE UPDATE OF {PERMISSION_CONTENT} ON permission FOR EACH ROW", GRANTED)
    _postgresql("approval_content", f"BEFORE UPDATE OF {APPROVAL_CONTENT} ON approval FOR EACH ROW", ASKED)
    _postgresql("approval_once", "BEFORE UPDATE ON approval FOR EACH ROW WHEN (OLD.state <> 'asked')", ONCE)
    op.execute(
        f"""CREATE FUNCTION wattgate_audit_chained() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT ({FOLLOWS}) THEN
                RAISE EXCEPTION '{HOLE}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NULL;
        END $$"""
    )
    op.execute("CREATE TRIGGER audit_chained AFTER INSERT ON audit FOR EACH ROW EXECUTE FUNCTION wattgate_audit_chained()")


def _postgresql(name: str, when: str, sentence: str) -> None:
    op.execute(f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION wattgate_refuse('{sentence}')")
