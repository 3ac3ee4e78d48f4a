"""What banks bring: keys, nonces, reversals, day files and their differences, settlements, mandates.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


NAMED = ("bank", "institution", "scope", "serial")
DECIDED = "what became of a reversal or a refund never changes"
FOR_EVER = "what banks took back, paid over and closed is kept for ever"
APPENDED = ("bank_settlement", "bank_day", "bank_difference")


def upgrade() -> None:
    _direct_debit()
    _signatures()
    _reversals()
    _days()
    _guard()


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _int(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _to(table: str, columns: Sequence[str], keys: Sequence[str], name: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(columns, [f"{table}.{key}" for key in keys], name=op.f(name))


def _to_entry(table: str) -> tuple[sa.Constraint, ...]:
    return (
        sa.ForeignKeyConstraint(["entry"], ["entry.number"], name=op.f(f"fk_{table}_entry")),
        sa.UniqueConstraint("entry", name=op.f(f"uq_{table}_entry")),
    )


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def _reversals() -> None:
    """Payments taken back, and given back; lists of a bank's day."""
    op.create_index("ix_payment_day", "payment", ["bank", "accounting_date", "institution", "scope", "serial"])
    op.create_index("ix_payment_account", "payment", ["account", "accounting_date"])
    op.create_table(
        "bank_reversal",
        *(_text(name) for name in (*NAMED, "reversal_serial", "accounting_date", "account")),
        _int("amount_micro"),
        *(_text(name) for name in ("currency", "reason", "requested_at", "origin", "state")),
        _int("at_ms"),
        _int("decided_ms", nullable=True),
        _int("entry", nullable=True),
        *(_text(name) for name in ("document", "detail")),
        sa.PrimaryKeyConstraint(*NAMED, name=op.f("pk_bank_reversal")),
        _to("payment", NAMED, NAMED, "fk_bank_reversal_bank_institution_scope_serial"),
        *_to_entry("bank_reversal"),
        _check("bank_reversal", "amount", "amount_micro > 0"),
        _check("bank_reversal", "state", "state IN ('pending', 'done', 'tombstone', 'stands')"),
        _check("bank_reversal", "origin", "origin IN ('bank', 'resolution')"),
        _check("bank_reversal", "done", "(state = 'done') = (entry IS NOT NULL)"),
    )
    op.create_index("ix_bank_reversal_day", "bank_reversal", ["bank", "accounting_date", "institution", "scope", "serial"])
    waits = sa.text("state = 'pending'")
    op.create_index("ix_bank_reversal_open", "bank_reversal", ["at_ms"], sqlite_where=waits, postgresql_where=waits)
    original = [f"original_{name}" for name in NAMED]
    op.create_table(
        "bank_refund",
        *(_text(name) for name in (*NAMED, *original, "accounting_date", "account")),
        _int("amount_micro"),
        *(_text(name) for name in ("currency", "reason", "state")),
        _int("at_ms"),
        _int("entry", nullable=True),
        _text("document"),
        sa.PrimaryKeyConstraint(*NAMED, name=op.f("pk_bank_refund")),
        _to("payment", original, NAMED, "fk_bank_refund_original_bank"),
        *_to_entry("bank_refund"),
        _check("bank_refund", "amount", "amount_micro > 0"),
        _check("bank_refund", "state", "state IN ('asked', 'paid', 'voided')"),
        _check("bank_refund", "paid", "(state = 'paid') = (entry IS NOT NULL)"),
    )
    op.create_index("ix_bank_refund_day", "bank_refund", ["bank", "accounting_date", "institution", "scope", "serial"])
    op.create_index("ix_bank_refund_original", "bank_refund", original)


def _days() -> None:
    """Settlements; uploads of a day's file with their differences; what was decided; closed days; running sums for limits."""
    day = ("bank", "accounting_date")
    version = (*day, "version")
    op.create_table(
        "bank_settlement",
        *(_text(name) for name in ("bank", "fund_batch", "accounting_date")),
        _int("amount_micro"),
        _text("currency"),
        _int("at_ms"),
        _int("entry"),
        _text("document"),
        sa.PrimaryKeyConstraint("bank", "fund_batch", name=op.f("pk_bank_settlement")),
        *_to_entry("bank_settlement"),
        _check("bank_settlement", "amount", "amount_micro > 0"),
    )
    op.create_index("ix_bank_settlement_day", "bank_settlement", list(day))
    op.create_table(
        "bank_day",
        *(_text(name) for name in day),
        *(_int(name) for name in ("version", "lines")),
        _text("totals"),
        _int("closed_ms"),
        sa.PrimaryKeyConstraint(*day, name=op.f("pk_bank_day")),
    )
    op.create_table(
        "bank_taking",
        *(_text(name) for name in (*day, "part")),
        *(_int(name) for name in ("count", "micro")),
        sa.PrimaryKeyConstraint(*day, "part", name=op.f("pk_bank_taking")),
    )
    op.create_table(
        "bank_file",
        *(_text(name) for name in day),
        _int("version"),
        *(_text(name) for name in ("state", "body")),
        sa.PrimaryKeyConstraint(*day, "version", name=op.f("pk_bank_file")),
        _check("bank_file", "state", "state IN ('running', 'done', 'failed')"),
    )
    op.create_table(
        "bank_difference",
        *(_text(name) for name in day),
        *(_int(name) for name in ("version", "number")),
        *(_text(name) for name in ("about", "kind", "body")),
        sa.PrimaryKeyConstraint(*day, "version", "number", name=op.f("pk_bank_difference")),
        _to("bank_file", version, version, "fk_bank_difference_bank_accounting_date_version"),
    )
    op.create_table(
        "bank_resolution",
        *(_text(name) for name in (*day, "about", "state", "body")),
        sa.PrimaryKeyConstraint(*day, "about", name=op.f("pk_bank_resolution")),
        _check("bank_resolution", "state", "state IN ('asked', 'done')"),
    )


def _guard() -> None:
    """What is decided stays: only whether a reversal belongs to the day's statement may still be said (origin)."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    kept = ", ".join((*NAMED, "reversal_serial", "accounting_date", "amount_micro", "currency", "state", "entry", "document"))
    _trigger(sqlite, "bank_reversal_decided", f"BEFORE UPDATE OF {kept} ON bank_reversal", DECIDED, "OLD.state <> 'pending'")
    _trigger(sqlite, "bank_refund_decided", "BEFORE UPDATE ON bank_refund", DECIDED, "OLD.state <> 'asked'")
    for table in APPENDED:
        _trigger(sqlite, f"{table}_no_update", f"BEFORE UPDATE ON {table}", FOR_EVER)
    for table in (*APPENDED, "bank_reversal", "bank_refund", "bank_file", "bank_resolution"):
        _trigger(sqlite, f"{table}_no_delete", f"BEFORE DELETE ON {table}", FOR_EVER)


def _trigger(sqlite: bool, name: str, when: str, sentence: str, wrong: str = "") -> None:
    if sqlite:
        of = f" WHEN {wrong}" if wrong else ""
        op.execute(f"CREATE TRIGGER {name} {when}{of} BEGIN SELECT RAISE(ABORT, '{sentence}'); END")
    else:
        of = f" WHEN ({wrong})" if wrong else ""
        op.execute(f"CREATE TRIGGER {name} {when} FOR EACH ROW{of} EXECUTE FUNCTION wattgate_refuse('{sentence}')")


def _signatures() -> None:
    op.add_column("payment", sa.Column("receipt_jws", sa.Text(), nullable=True))
    op.create_table(
        "bank_nonce",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement="auto", nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_bank_nonce")),
        sa.UniqueConstraint("key", "nonce", name=op.f("uq_bank_nonce_key_nonce")),
    )


def _direct_debit() -> None:
    """What lines of banks call a payment by; mandates, batches of debits and their lines."""
    text, whole, primary = sa.Text(), sa.BigInteger(), sa.PrimaryKeyConstraint
    naming = ("bank", "original", "scope", "serial")
    op.create_table(
        "bank_trace",
        *(sa.Column(name, text, nullable=False) for name in (*naming, "parts")),
        sa.Column("early", sa.Boolean(), nullable=False),
        primary(*naming, name=op.f("pk_bank_trace")),
    )
    op.create_table(
        "mandate",
        *(sa.Column(name, text, nullable=False) for name in ("id", "bank", "account", "payer", "currency")),
        *(sa.Column(name, whole, nullable=False) for name in ("below_micro", "upto_micro", "most_micro")),
        sa.Column("state", text, nullable=False),
        sa.Column("signed_ms", whole, nullable=False),
        sa.Column("ended_ms", whole, nullable=True),
        primary("id", name=op.f("pk_mandate")),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name=op.f("fk_mandate_account")),
        sa.CheckConstraint("state IN ('signed', 'ended')", name=op.f("ck_mandate_state")),
        sa.CheckConstraint("most_micro > 0 AND upto_micro >= below_micro", name=op.f("ck_mandate_amounts")),
    )
    signed, sent = sa.text("state = 'signed'"), sa.text("state = 'sent'")
    op.create_index("ix_mandate_once", "mandate", ["account"], unique=True, sqlite_where=signed, postgresql_where=signed)
    op.create_table(
        "debit_batch",
        *(sa.Column(name, text, nullable=False) for name in ("id", "bank", "accounting_date", "currency")),
        *(sa.Column(name, whole, nullable=False) for name in ("count", "sum_micro", "made_ms")),
        primary("id", name=op.f("pk_debit_batch")),
        sa.UniqueConstraint("bank", "accounting_date", name=op.f("uq_debit_batch_bank_accounting_date")),
    )
    op.create_table(
        "debit_line",
        sa.Column("batch", text, nullable=False),
        sa.Column("number", whole, nullable=False),
        *(sa.Column(name, text, nullable=False) for name in ("bank", "serial", "mandate", "account", "payer")),
        sa.Column("amount_micro", whole, nullable=False),
        *(sa.Column(name, text, nullable=False) for name in ("currency", "state", "said")),
        primary("batch", "number", name=op.f("pk_debit_line")),
        sa.UniqueConstraint("bank", "serial", name=op.f("uq_debit_line_bank_serial")),
        sa.ForeignKeyConstraint(["batch"], ["debit_batch.id"], name=op.f("fk_debit_line_batch")),
        sa.ForeignKeyConstraint(["mandate"], ["mandate.id"], name=op.f("fk_debit_line_mandate")),
        sa.CheckConstraint("amount_micro > 0", name=op.f("ck_debit_line_amount")),
        sa.CheckConstraint("state IN ('sent', 'paid', 'failed', 'unbooked')", name=op.f("ck_debit_line_state")),
    )
    op.create_index("ix_debit_line_open", "debit_line", ["mandate"], unique=True, sqlite_where=sent, postgresql_where=sent)
