"""Running balances on legs that their entry seals, reversals, transfers, closings; tariffs whole, terms and use by period.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

MOST = 2**62
LEG_BOUNDS = f"micro BETWEEN {-MOST} AND {MOST} AND after BETWEEN {-MOST} AND {MOST}"
BALANCE_BOUNDS = f"micro BETWEEN {-MOST} AND {MOST}"
RUNNING = """SELECT leg.entry, leg.position, sum(leg.micro)
    OVER (PARTITION BY entry.currency, leg.account ORDER BY leg.entry, leg.position) AS after
    FROM leg JOIN entry ON entry.number = leg.entry"""

BORN_MS, FURTHEST_MS = 1_577_836_800_000, 5 * 366 * 86_400_000

UNSEALED = "the legs of an entry are complete"
UNBALANCED = "a ledger entry balances over at least two legs"
INEXACT = "a reversal mirrors its entry leg by leg"
APPEND_ONLY = "the ledger is append-only"
CONTENT = "what a transfer is about never changes"
ONCE = "a transfer ends once"
RECEIPT = "the entry, the date and the receipt of a payment never change"

MIRRORED = """(SELECT count(*) FROM leg WHERE entry = NEW.entry) = (SELECT count(*) FROM leg WHERE entry = NEW.reverses)
    AND NOT EXISTS (SELECT 1 FROM leg a LEFT JOIN leg b ON b.entry = NEW.reverses AND b.position = a.position
        WHERE a.entry = NEW.entry AND (b.account IS NULL OR b.account <> a.account OR b.micro <> -a.micro))
    AND (SELECT currency FROM entry WHERE number = NEW.entry) = (SELECT currency FROM entry WHERE number = NEW.reverses)"""
TRANSFER_CONTENT = "id, account, currency, micro, source, target, begun_ms, due_ms, pending"
APPENDED = ("reversal", "closing")


def upgrade() -> None:
    op.add_column("account", sa.Column("terms", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("tariff", sa.Column("body", sa.Text(), nullable=True))
    op.add_column("entry", sa.Column("booked_ms", sa.BigInteger(), nullable=False, server_default="0"))
    sqlite = op.get_bind().dialect.name == "sqlite"
    if sqlite:
        _rebuild_sqlite()
    else:
        _alter_postgresql()
    _hanging_on_entries()
    op.create_table(
        "period_use",
        _text("account"),
        _text("tariff"),
        _text("period"),
        _text("body"),
        sa.PrimaryKeyConstraint("account", "tariff", "period", name=op.f("pk_period_use")),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name=op.f("fk_period_use_account")),
        sa.ForeignKeyConstraint(["tariff"], ["tariff.id"], name=op.f("fk_period_use_tariff")),
        sqlite_with_rowid=False,
    )
    if sqlite:
        _guard_sqlite()
    else:
        _guard_postgresql()


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _int(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False)


def _to_entry(table: str, column: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], ["entry.number"], name=op.f(f"fk_{table}_{column}"))


def _rebuild_sqlite() -> None:
    """SQLite changes no constraints of a table: it is written anew."""
    op.execute("DROP TRIGGER entry_no_update")
    _booked()
    _sqlite("entry_no_update", "BEFORE UPDATE ON entry", APPEND_ONLY)
    op.create_table(
        "leg_new",
        _int("entry"),
        _int("position"),
        _text("account"),
        _int("micro"),
        _int("after"),
        sa.ForeignKeyConstraint(["entry"], ["entry.number"], name=op.f("fk_leg_entry"), deferrable=True, initially="DEFERRED"),
        sa.PrimaryKeyConstraint("entry", "position", name=op.f("pk_leg")),
        sa.CheckConstraint("position >= 0", name=op.f("ck_leg_position")),
        sa.CheckConstraint(LEG_BOUNDS, name=op.f("ck_leg_bounds")),
        sqlite_with_rowid=False,
    )
    op.execute(
        f"""INSERT INTO leg_new (entry, position, account, micro, after)
        SELECT leg.entry, leg.position, leg.account, leg.micro, running.after FROM leg
        JOIN ({RUNNING}) AS running ON running.entry = leg.entry AND running.position = leg.position
        ORDER BY leg.entry, leg.position"""
    )
    op.drop_table("leg")
    op.rename_table("leg_new", "leg")
    op.create_index("ix_leg_account_entry", "leg", ["account", "entry"])
    op.create_table(
        "balance_new",
        _text("currency"),
        _text("account"),
        _int("micro"),
        sa.PrimaryKeyConstraint("account", "currency", name=op.f("pk_balance")),
        sa.CheckConstraint(BALANCE_BOUNDS, name=op.f("ck_balance_bounds")),
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO balance_new (currency, account, micro) SELECT currency, account, micro FROM balance")
    op.drop_table("balance")
    op.rename_table("balance_new", "balance")


def _booked() -> None:
    """The journal's time, by the rule of ledger.booked as it is now."""
    connection, now_ms, booked = op.get_bind(), 0, []
    for number, at_ms in connection.execute(sa.text("SELECT number, at_ms FROM entry ORDER BY number")):
        if now_ms < BORN_MS or at_ms <= now_ms + FURTHEST_MS:
            now_ms = max(now_ms, at_ms)
        booked.append({"n": number, "ms": now_ms})
    if booked:
        connection.execute(sa.text("UPDATE entry SET booked_ms = :ms WHERE number = :n"), booked)


def _alter_postgresql() -> None:
    op.execute("ALTER TABLE entry DISABLE TRIGGER entry_no_change")
    _booked()
    op.execute("ALTER TABLE entry ENABLE TRIGGER entry_no_change")
    op.add_column("leg", _int("after", nullable=True))
    op.execute("ALTER TABLE leg DISABLE TRIGGER leg_no_change")
    op.execute(
        f"""UPDATE leg SET after = running.after FROM ({RUNNING}) AS running
        WHERE running.entry = leg.entry AND running.position = leg.position"""
    )
    op.execute("ALTER TABLE leg ENABLE TRIGGER leg_no_change")
    op.alter_column("leg", "after", nullable=False)
    op.drop_constraint("fk_leg_entry", "leg")
    op.create_foreign_key(op.f("fk_leg_entry"), "leg", "entry", ["entry"], ["number"], deferrable=True, initially="DEFERRED")
    op.create_check_constraint(op.f("ck_leg_bounds"), "leg", LEG_BOUNDS)
    op.create_check_constraint(op.f("ck_balance_bounds"), "balance", BALANCE_BOUNDS)


def _hanging_on_entries() -> None:
    op.create_table(
        "reversal",
        _number("entry"),
        _int("reverses"),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_reversal")),
        _to_entry("reversal", "entry"),
        _to_entry("reversal", "reverses"),
        sa.UniqueConstraint("reverses", name=op.f("uq_reversal_reverses")),
        sa.CheckConstraint("reverses < entry", name=op.f("ck_reversal_order")),
    )
    op.create_table(
        "transfer",
        *(_text(name) for name in ("id", "account", "currency")),
        _int("micro"),
        *(_text(name) for name in ("source", "target")),
        _int("begun_ms"),
        _int("due_ms", nullable=True),
        _text("state"),
        _int("pending"),
        _int("resolved", nullable=True),
        _int("resolved_ms", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_transfer")),
        _to_entry("transfer", "pending"),
        _to_entry("transfer", "resolved"),
        sa.UniqueConstraint("pending", name=op.f("uq_transfer_pending")),
        sa.UniqueConstraint("resolved", name=op.f("uq_transfer_resolved")),
        sa.CheckConstraint("micro > 0", name=op.f("ck_transfer_micro")),
        sa.CheckConstraint("state IN ('pending', 'uncertain', 'posted', 'voided')", name=op.f("ck_transfer_state")),
        sa.CheckConstraint("(state IN ('posted', 'voided')) = (resolved IS NOT NULL)", name=op.f("ck_transfer_resolved")),
        sa.CheckConstraint("(resolved IS NULL) = (resolved_ms IS NULL)", name=op.f("ck_transfer_resolved_ms")),
    )
    due = sa.text("state = 'pending' AND due_ms IS NOT NULL")
    op.create_index("ix_transfer_due", "transfer", ["due_ms"], sqlite_where=due, postgresql_where=due)
    op.create_table(
        "closing",
        _number("entry"),
        _int("upto"),
        _text("hash"),
        _text("state"),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_closing")),
        _to_entry("closing", "entry"),
        _to_entry("closing", "upto"),
        sa.UniqueConstraint("upto", name=op.f("uq_closing_upto")),
        sa.CheckConstraint("upto < entry", name=op.f("ck_closing_order")),
    )


def _guard_sqlite() -> None:
    for act in ("UPDATE", "DELETE"):
        for table in ("leg", *APPENDED):
            _sqlite(f"{table}_no_{act.lower()}", f"BEFORE {act} ON {table}", APPEND_ONLY)
    _sqlite("leg_late", "BEFORE INSERT ON leg WHEN EXISTS (SELECT 1 FROM entry WHERE number = NEW.entry)", UNSEALED)
    unsound = "count(*) < 2 OR sum(micro) <> 0 OR sum(typeof(micro) <> 'integer') <> 0"
    _sqlite("entry_sealed", f"AFTER INSERT ON entry WHEN (SELECT {unsound} FROM leg WHERE entry = NEW.number)", UNBALANCED)
    _sqlite("reversal_exact", f"AFTER INSERT ON reversal WHEN NOT ({MIRRORED})", INEXACT)
    _sqlite("transfer_content", f"BEFORE UPDATE OF {TRANSFER_CONTENT} ON transfer", CONTENT)
    _sqlite("transfer_once", "BEFORE UPDATE ON transfer WHEN OLD.resolved IS NOT NULL", ONCE)
    _sqlite("transfer_no_delete", "BEFORE DELETE ON transfer", APPEND_ONLY)
    _sqlite("payment_receipt", "BEFORE UPDATE OF entry, accounting_date, receipt ON payment", RECEIPT)


def _sqlite(name: str, when: str, sentence: str) -> None:
    op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{sentence}'); END")


def _guard_postgresql() -> None:
    _postgresql_check("leg_late", "BEFORE INSERT ON leg", "EXISTS (SELECT 1 FROM entry WHERE number = NEW.entry)", UNSEALED)
    unsound = "(SELECT count(*) < 2 OR sum(micro) <> 0 FROM leg WHERE entry = NEW.number)"
    _postgresql_check("entry_sealed", "AFTER INSERT ON entry", unsound, UNBALANCED)
    _postgresql_check("reversal_exact", "AFTER INSERT ON reversal", f"NOT ({MIRRORED})", INEXACT)
    for table in APPENDED:
        _postgresql(f"{table}_no_change", f"BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW", APPEND_ONLY)
        _postgresql(f"{table}_no_truncate", f"BEFORE TRUNCATE ON {table} FOR EACH STATEMENT", APPEND_ONLY)
    _postgresql("transfer_content", f"BEFORE UPDATE OF {TRANSFER_CONTENT} ON transfer FOR EACH ROW", CONTENT)
    _postgresql("transfer_once", "BEFORE UPDATE ON transfer FOR EACH ROW WHEN (OLD.resolved IS NOT NULL)", ONCE)
    _postgresql("transfer_no_delete", "BEFORE DELETE ON transfer FOR EACH ROW", APPEND_ONLY)
    _postgresql("transfer_no_truncate", "BEFORE TRUNCATE ON transfer FOR EACH STATEMENT", APPEND_ONLY)
    _postgresql("payment_receipt", "BEFORE UPDATE OF entry, accounting_date, receipt ON payment FOR EACH ROW", RECEIPT)


def _postgresql(name: str, when: str, sentence: str) -> None:
    op.execute(f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION wattgate_refuse('{sentence}')")


def _postgresql_check(name: str, when: str, wrong: str, sentence: str) -> None:
    op.execute(
        f"""CREATE FUNCTION wattgate_{name}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF {wrong} THEN
                RAISE EXCEPTION '{sentence}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NEW;
        END $$"""
    )
    op.execute(f"CREATE TRIGGER {name} {when} FOR EACH ROW EXECUTE FUNCTION wattgate_{name}()")
