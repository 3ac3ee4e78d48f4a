"""The first tables: archive, readings, money, commands, events, outbox.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _counters()
    _archive()
    _readings()
    _money()
    _commands_and_messages()
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def _text(name: str, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _int(name: str, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False)


def _number(name: str, counted: bool = True) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, autoincrement="auto" if counted else False, nullable=False)


def _counters() -> None:
    op.create_table(
        "meta",
        _text("key"),
        _text("value"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_meta")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "head",
        _text("name"),
        _int("number"),
        _text("hash"),
        sa.CheckConstraint("number >= 0", name=op.f("ck_head_number")),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_head")),
        sqlite_with_rowid=False,
    )
    heads = sa.table("head", sa.column("name"), sa.column("number"), sa.column("hash"))
    starts = {"journal": "0" * 64, "outbox": "", "published": "", "acknowledged": ""}
    op.bulk_insert(heads, [{"name": name, "number": 0, "hash": hash} for name, hash in starts.items()])


def _archive() -> None:
    op.create_table(
        "tariff",
        _text("id"),
        _text("currency"),
        _text("prices"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tariff")),
    )
    op.create_table(
        "account",
        _text("id"),
        _text("holder"),
        _text("currency"),
        _text("tariff"),
        _text("policy"),
        _text("load_limit", nullable=True),
        _text("agreement", nullable=True),
        _flag("never_cut"),
        _int("protect_until_ms", nullable=True),
        _flag("closed"),
        _text("credit"),
        _int("warned_ms", nullable=True),
        _text("limit_phase"),
        _int("limit_since_ms"),
        _int("limit_spent"),
        sa.CheckConstraint("limit_spent >= 0", name=op.f("ck_account_limit_spent")),
        sa.ForeignKeyConstraint(["tariff"], ["tariff.id"], name=op.f("fk_account_tariff")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
    )
    op.create_table(
        "meter",
        _text("id"),
        _text("line"),
        _text("address"),
        _text("protocol"),
        _text("profile"),
        _text("account", nullable=True),
        _text("point"),
        _text("switch"),
        _text("switch_line"),
        _flag("feedback"),
        _flag("cut_with_account"),
        _int("settle_ms"),
        _int("max_power_w"),
        _int("count_wh"),
        _text("desired"),
        _text("observed"),
        _int("observed_ms", nullable=True),
        _text("cut_reasons"),
        sa.CheckConstraint("desired IN ('closed', 'open')", name=op.f("ck_meter_desired")),
        sa.CheckConstraint("count_wh > 0 AND max_power_w > 0 AND settle_ms >= 0", name=op.f("ck_meter_bounds")),
        sa.ForeignKeyConstraint(["account"], ["account.id"], name=op.f("fk_meter_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter")),
    )
    op.create_index("ix_meter_account", "meter", ["account"])


def _readings() -> None:
    op.create_table(
        "reading",
        _number("id"),
        _text("meter"),
        _text("point"),
        _text("quality"),
        _text("source"),
        _int("asked_ms"),
        _int("answered_ms"),
        _int("stored_ms"),
        _text("items"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading")),
    )
    op.create_index("ix_reading_meter_answered_ms", "reading", ["meter", "answered_ms"])
    op.create_table(
        "latest",
        _text("meter"),
        _text("quantity"),
        _text("value", nullable=True),
        _text("unit"),
        _text("obis", nullable=True),
        _int("answered_ms"),
        sa.PrimaryKeyConstraint("meter", "quantity", name=op.f("pk_latest")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "billing",
        _text("meter"),
        _int("confirmed_ms", nullable=True),
        _text("confirmed", nullable=True),
        _int("candidate_ms", nullable=True),
        _text("candidate", nullable=True),
        _int("first_wh", nullable=True),
        _text("held", nullable=True),
        sa.CheckConstraint("(candidate_ms IS NULL) = (candidate IS NULL)", name=op.f("ck_billing_candidate")),
        sa.CheckConstraint("(confirmed_ms IS NULL) = (confirmed IS NULL)", name=op.f("ck_billing_confirmed")),
        sa.PrimaryKeyConstraint("meter", name=op.f("pk_billing")),
    )


def _money() -> None:
    op.create_table(
        "entry",
        _number("number", counted=False),
        _text("kind"),
        _text("currency"),
        _int("at_ms"),
        _text("ref"),
        _text("previous"),
        _text("hash"),
        sa.CheckConstraint("length(hash) = 64 AND length(previous) = 64", name=op.f("ck_entry_hash")),
        sa.CheckConstraint("number > 0", name=op.f("ck_entry_number")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_entry")),
    )
    op.create_table(
        "leg",
        _int("entry"),
        _int("position"),
        _text("account"),
        _int("micro"),
        sa.CheckConstraint("position >= 0", name=op.f("ck_leg_position")),
        sa.ForeignKeyConstraint(["entry"], ["entry.number"], name=op.f("fk_leg_entry")),
        sa.PrimaryKeyConstraint("entry", "position", name=op.f("pk_leg")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_leg_account_entry", "leg", ["account", "entry"])
    op.create_table(
        "balance",
        _text("currency"),
        _text("account"),
        _int("micro"),
        sa.PrimaryKeyConstraint("account", "currency", name=op.f("pk_balance")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "payment",
        _text("bank"),
        _text("institution"),
        _text("scope"),
        _text("serial"),
        _text("account"),
        _int("amount_micro"),
        _text("currency"),
        _text("accounting_date"),
        _text("paid_at"),
        _text("channel"),
        _text("status"),
        _int("at_ms"),
        _text("receipt", nullable=True),
        _text("problem", nullable=True),
        _text("detail", nullable=True),
        _int("entry", nullable=True),
        sa.CheckConstraint("status <> 'posted' OR entry IS NOT NULL", name=op.f("ck_payment_posted")),
        sa.CheckConstraint(
            "status <> 'refused' OR (problem IS NOT NULL AND receipt IS NULL AND entry IS NULL)", name=op.f("ck_payment_refused")
        ),
        sa.CheckConstraint("status IN ('posted', 'reversed', 'refused')", name=op.f("ck_payment_status")),
        sa.CheckConstraint("amount_micro > 0", name=op.f("ck_payment_amount")),
        sa.ForeignKeyConstraint(["entry"], ["entry.number"], name=op.f("fk_payment_entry")),
        sa.PrimaryKeyConstraint("bank", "institution", "scope", "serial", name=op.f("pk_payment")),
        sa.UniqueConstraint("entry", name=op.f("uq_payment_entry")),
    )


def _commands_and_messages() -> None:
    op.create_table(
        "command",
        _number("number"),
        _text("id"),
        _text("meter"),
        _text("line"),
        _text("account", nullable=True),
        _text("verb"),
        _text("cause"),
        _text("origin"),
        _text("state"),
        _int("created_ms"),
        _int("expires_ms"),
        _int("changed_ms"),
        _int("read_at_ms", nullable=True),
        _int("attempts"),
        _int("readbacks"),
        _text("evidence"),
        _text("reason", nullable=True),
        _flag("final"),
        sa.CheckConstraint("attempts >= 0 AND readbacks >= 0", name=op.f("ck_command_counts")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_command")),
        sa.UniqueConstraint("id", name=op.f("uq_command_id")),
    )
    op.create_index("ix_command_meter_number", "command", ["meter", "number"])
    zero, false = sa.text("final IS 0"), sa.text("final IS false")
    op.create_index("ix_command_open", "command", ["line", "number"], sqlite_where=zero, postgresql_where=false)
    op.create_table(
        "event",
        _number("id"),
        _text("kind"),
        _int("at_ms"),
        _text("meter", nullable=True),
        _text("account", nullable=True),
        _text("data"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_table(
        "outbox",
        _number("seq", counted=False),
        _text("topic"),
        _text("subject"),
        _int("at_ms"),
        _text("body"),
        _int("published_ms", nullable=True),
        _int("acknowledged_ms", nullable=True),
        sa.CheckConstraint("seq > 0", name=op.f("ck_outbox_seq")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_outbox")),
    )
    waiting = sa.text("acknowledged_ms IS NULL")
    op.create_index("ix_outbox_waiting", "outbox", ["seq"], sqlite_where=waiting, postgresql_where=waiting)


# What may never change: entries and their legs, and who paid how much under which identity. And what may only grow by one.

PAYMENT_CONTENT = "bank, institution, scope, serial, account, amount_micro, currency"
HOLE = "a ledger entry follows the one before without a hole"
FIRST_ENTRY = f"NEW.number = 1 AND NEW.previous = '{'0' * 64}'"
FOLLOWS = "EXISTS (SELECT 1 FROM entry WHERE number = NEW.number - 1 AND hash = NEW.previous)"


def _guard_sqlite() -> None:
    for table in ("entry", "leg"):
        for act in ("UPDATE", "DELETE"):
            _sqlite_trigger(f"{table}_no_{act.lower()}", f"BEFORE {act} ON {table}", "the ledger is append-only")
    _sqlite_trigger("payment_no_delete", "BEFORE DELETE ON payment", "a payment is kept for ever")
    _sqlite_trigger("payment_content", f"BEFORE UPDATE OF {PAYMENT_CONTENT} ON payment", "the content of a payment never changes")
    chained = f"AFTER INSERT ON entry WHEN NOT (({FIRST_ENTRY}) OR {FOLLOWS})"
    _sqlite_trigger("entry_chained", chained, HOLE)


def _sqlite_trigger(name: str, when: str, sentence: str) -> None:
    op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{sentence}'); END")


def _guard_postgresql() -> None:
    op.execute(
        """CREATE FUNCTION wattgate_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; END $$"""
    )
    op.execute(
        f"""CREATE FUNCTION wattgate_chained() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT (({FIRST_ENTRY}) OR {FOLLOWS}) THEN
                RAISE EXCEPTION '{HOLE}' USING ERRCODE = 'integrity_constraint_violation';
            END IF;
            RETURN NULL;
        END $$"""
    )
    for table, sentence in (("entry", "the ledger is append-only"), ("leg", "the ledger is append-only")):
        _postgresql_trigger(f"{table}_no_change", f"BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW", sentence)
        _postgresql_trigger(f"{table}_no_truncate", f"BEFORE TRUNCATE ON {table} FOR EACH STATEMENT", sentence)
    kept = "a payment is kept for ever"
    _postgresql_trigger("payment_no_delete", "BEFORE DELETE ON payment FOR EACH ROW", kept)
    _postgresql_trigger("payment_no_truncate", "BEFORE TRUNCATE ON payment FOR EACH STATEMENT", kept)
    content = f"BEFORE UPDATE OF {PAYMENT_CONTENT} ON payment FOR EACH ROW"
    _postgresql_trigger("payment_content", content, "the content of a payment never changes")
    op.execute("CREATE TRIGGER entry_chained AFTER INSERT ON entry FOR EACH ROW EXECUTE FUNCTION wattgate_chained()")


def _postgresql_trigger(name: str, when: str, sentence: str) -> None:
    op.execute(f"CREATE TRIGGER {name} {when} EXECUTE FUNCTION wattgate_refuse('{sentence}')")
