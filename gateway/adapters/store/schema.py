"""The tables. Money in micro-units and energy in Wh are BIGINT, times UTC milliseconds BIGINT, documents JSON in TEXT.

Constraints carry what may never break (once-only identities, dense numbers); triggers for append-only stand in the migrations.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    true,
)

from gateway.adapters.store.columns import NUMBER
from gateway.adapters.store.columns import flag as _flag
from gateway.adapters.store.columns import whole as _int
from gateway.adapters.store.columns import words as _text

MOST_MICRO = 2**62
"""domain.ledger's own bound of legs and balances."""

NAMES = {
    "pk": "pk_%(table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
}
metadata = MetaData(naming_convention=NAMES)

meta = Table("meta", metadata, Column("key", Text, primary_key=True), _text("value"), sqlite_with_rowid=False)

head = Table(
    "head",
    metadata,
    Column("name", Text, primary_key=True),
    _int("number"),
    _text("hash"),
    CheckConstraint("number >= 0", "number"),
    sqlite_with_rowid=False,
)
"""Where a dense sequence stands: `journal` and `audit` (with the hash of its last row), `outbox` (with the length of all bodies
that ever came in), `permission`; and counts: `published`, `acknowledged`, `dropped` by policy, `removed` (with their length)."""

tariff = Table(
    "tariff",
    metadata,
    Column("id", Text, primary_key=True),
    _text("currency"),
    _text("body", nullable=True),
)

account = Table(
    "account",
    metadata,
    Column("id", Text, primary_key=True),
    _text("holder"),
    _text("currency"),
    Column("tariff", Text, ForeignKey("tariff.id"), nullable=False),
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
    Column("limit_seen_ms", BigInteger, nullable=False, server_default="0"),
    Column("terms", Text, nullable=False, server_default="{}"),
    _text("priced_since", nullable=True),
    _text("debt", nullable=True),
    Column("authority", Text, nullable=False, server_default="gateway"),
    Column("standing", Text, nullable=False, server_default="{}"),
    Column("protect", Text, nullable=False, server_default="{}"),
    Column("limit_memory", Text, nullable=False, server_default="{}"),
    Column("reach", Text, nullable=False, server_default="{}"),
    Column("filed", Boolean, nullable=False, server_default=true()),
    _int("limit_due_ms", nullable=True),
    CheckConstraint("authority IN ('gateway', 'meter')", "authority"),
    CheckConstraint("limit_spent >= 0", "limit_spent"),
)
_limit_due = account.c.limit_due_ms.is_not(None)
Index("ix_account_limit_due", account.c.limit_due_ms, sqlite_where=_limit_due, postgresql_where=_limit_due)

meter = Table(
    "meter",
    metadata,
    Column("id", Text, primary_key=True),
    _text("line"),
    _text("address"),
    _text("protocol"),
    _text("profile"),
    Column("account", Text, ForeignKey("account.id"), nullable=True),
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
    Column("capacity_wh", BigInteger, nullable=False, server_default="1000000000"),
    Column("ratio", Text, nullable=False, server_default="1"),
    Column("filed", Boolean, nullable=False, server_default=true()),
    CheckConstraint("desired IN ('closed', 'open')", "desired"),
    CheckConstraint("count_wh > 0 AND max_power_w > 0 AND settle_ms >= 0", "bounds"),
    Index(None, "account"),
)

reading = Table(
    "reading",
    metadata,
    Column("id", NUMBER, primary_key=True),
    _text("meter"),
    _text("point"),
    _text("quality"),
    _text("source"),
    _int("asked_ms"),
    _int("answered_ms"),
    _int("stored_ms"),
    _text("items"),
    _int("taken_ms", nullable=True),
    Index(None, "meter", "answered_ms"),
)
_of_the_past = reading.c.taken_ms.is_not(None)
Index(
    "ix_reading_past",
    reading.c.meter,
    reading.c.source,
    reading.c.taken_ms,
    sqlite_where=_of_the_past,
    postgresql_where=_of_the_past,
)

latest = Table(
    "latest",
    metadata,
    _text("meter"),
    _text("quantity"),
    _text("value", nullable=True),
    _text("unit"),
    _text("obis", nullable=True),
    _int("answered_ms"),
    PrimaryKeyConstraint("meter", "quantity"),
    sqlite_with_rowid=False,
)

billing = Table(
    "billing",
    metadata,
    Column("meter", Text, primary_key=True),
    _int("confirmed_ms", nullable=True),
    _text("confirmed", nullable=True),
    _int("candidate_ms", nullable=True),
    _text("candidate", nullable=True),
    _int("first_wh", nullable=True),
    _text("held", nullable=True),
    _int("held_ms", nullable=True),
    Column("suspects", BigInteger, nullable=False, server_default="0"),
    _int("suspect_ms", nullable=True),
    _text("suspect", nullable=True),
    Column("moved_ms", BigInteger, nullable=False, server_default="0"),
    Column("still_ms", BigInteger, nullable=False, server_default="0"),
    Column("still_wms", BigInteger, nullable=False, server_default="0"),
    Column("renewals", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("(confirmed_ms IS NULL) = (confirmed IS NULL)", "confirmed"),
    CheckConstraint("(candidate_ms IS NULL) = (candidate IS NULL)", "candidate"),
)

clock = Table(
    "clock",
    metadata,
    Column("meter", Text, primary_key=True),
    _text("state"),
    _int("offset_ms", nullable=True),
    _int("within_ms", nullable=True),
    _int("seen_ms", nullable=True),
    _int("tried_ms"),
    _int("tries"),
    _text("sent", nullable=True),
    _int("sent_ms", nullable=True),
    _int("off_ms", nullable=True),
    _int("unheeded"),
    _text("written"),
    _text("refused"),
    _int("blocked_ms", nullable=True),
    sqlite_with_rowid=False,
)

entry = Table(
    "entry",
    metadata,
    Column("number", NUMBER, primary_key=True, autoincrement=False),
    _text("kind"),
    _text("currency"),
    _int("at_ms"),
    _text("ref"),
    _text("previous"),
    _text("hash"),
    Column("booked_ms", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("number > 0", "number"),
    CheckConstraint("length(hash) = 64 AND length(previous) = 64", "hash"),
)

leg = Table(
    "leg",
    metadata,
    Column("entry", BigInteger, ForeignKey("entry.number", deferrable=True, initially="DEFERRED"), nullable=False),
    _int("position"),
    _text("account"),
    _int("micro"),
    _int("after"),
    PrimaryKeyConstraint("entry", "position"),
    CheckConstraint("position >= 0", "position"),
    CheckConstraint(f"micro BETWEEN {-MOST_MICRO} AND {MOST_MICRO} AND after BETWEEN {-MOST_MICRO} AND {MOST_MICRO}", "bounds"),
    Index(None, "account", "entry"),
    sqlite_with_rowid=False,
)
"""Legs come before their entry, whose insertion then seals them: so a database can see that an entry balances.

after: the account's balance with this leg, in the entry's currency.
"""

balance = Table(
    "balance",
    metadata,
    _text("currency"),
    _text("account"),
    _int("micro"),
    PrimaryKeyConstraint("account", "currency"),
    CheckConstraint(f"micro BETWEEN {-MOST_MICRO} AND {MOST_MICRO}", "bounds"),
    sqlite_with_rowid=False,
)

reversal = Table(
    "reversal",
    metadata,
    Column("entry", NUMBER, ForeignKey("entry.number"), primary_key=True, autoincrement=False),
    Column("reverses", BigInteger, ForeignKey("entry.number"), nullable=False),
    UniqueConstraint("reverses"),
    CheckConstraint("reverses < entry", "order"),
)

transfer = Table(
    "transfer",
    metadata,
    Column("id", Text, primary_key=True),
    _text("account"),
    _text("currency"),
    _int("micro"),
    _text("source"),
    _text("target"),
    _int("begun_ms"),
    _int("due_ms", nullable=True),
    _text("state"),
    Column("pending", BigInteger, ForeignKey("entry.number"), nullable=False),
    Column("resolved", BigInteger, ForeignKey("entry.number"), nullable=True),
    _int("resolved_ms", nullable=True),
    UniqueConstraint("pending"),
    UniqueConstraint("resolved"),
    CheckConstraint("micro > 0", "micro"),
    CheckConstraint("state IN ('pending', 'uncertain', 'posted', 'voided')", "state"),
    CheckConstraint("(state IN ('posted', 'voided')) = (resolved IS NOT NULL)", "resolved"),
    CheckConstraint("(resolved IS NULL) = (resolved_ms IS NULL)", "resolved_ms"),
)
_due = (transfer.c.state == literal_column("'pending'")) & transfer.c.due_ms.is_not(None)
Index("ix_transfer_due", transfer.c.due_ms, sqlite_where=_due, postgresql_where=_due)
_open = transfer.c.state.in_([literal_column("'pending'"), literal_column("'uncertain'")])
Index("ix_transfer_open", transfer.c.account, sqlite_where=_open, postgresql_where=_open)

closing = Table(
    "closing",
    metadata,
    Column("entry", NUMBER, ForeignKey("entry.number"), primary_key=True, autoincrement=False),
    Column("upto", BigInteger, ForeignKey("entry.number"), nullable=False),
    _text("hash"),
    _text("state"),
    UniqueConstraint("upto"),
    CheckConstraint("upto < entry", "order"),
)
"""What stood in the journal's books at its entry `upto`; the closing's entry keeps the digest of it."""

period_use = Table(
    "period_use",
    metadata,
    Column("account", Text, ForeignKey("account.id"), nullable=False),
    Column("tariff", Text, ForeignKey("tariff.id"), nullable=False),
    _text("period"),
    _text("body"),
    PrimaryKeyConstraint("account", "tariff", "period"),
    sqlite_with_rowid=False,
)

estimate = Table(
    "estimate",
    metadata,
    Column("entry", NUMBER, ForeignKey("entry.number"), primary_key=True, autoincrement=False),
    _text("meter"),
    Column("account", Text, ForeignKey("account.id"), nullable=False),
    Column("tariff", Text, ForeignKey("tariff.id"), nullable=False),
    _int("from_ms"),
    _int("to_ms"),
    _text("points"),
    CheckConstraint("from_ms < to_ms", "span"),
    Index(None, "meter", "to_ms"),
)
"""Charges of energy that was shared out over a boundary, until the readings of all boundaries are known or too old to come."""

accrual = Table(
    "accrual",
    metadata,
    Column("account", Text, ForeignKey("account.id"), primary_key=True),
    Column("tariff", Text, ForeignKey("tariff.id"), nullable=False),
    _int("until_ms"),
    _int("late_ms"),
    _int("late_per_mille_micro"),
    _text("varh"),
    sqlite_with_rowid=False,
)
"""How far what time brings is booked: fees of the account's tariff, and late fees on its debt."""

payment = Table(
    "payment",
    metadata,
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
    _text("receipt_jws", nullable=True),
    PrimaryKeyConstraint("bank", "institution", "scope", "serial"),
    ForeignKeyConstraint(["entry"], ["entry.number"]),
    UniqueConstraint("entry"),
    CheckConstraint("amount_micro > 0", "amount"),
    CheckConstraint("status IN ('posted', 'reversed', 'refused')", "status"),
    CheckConstraint("status <> 'posted' OR entry IS NOT NULL", "posted"),
    CheckConstraint("status <> 'refused' OR (problem IS NOT NULL AND receipt IS NULL AND entry IS NULL)", "refused"),
)

command = Table(
    "command",
    metadata,
    Column("number", NUMBER, primary_key=True),
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
    Column("permission", BigInteger, ForeignKey("permission.number"), nullable=True),
    UniqueConstraint("id"),
    CheckConstraint("attempts >= 0 AND readbacks >= 0", "counts"),
    Index(None, "meter", "number"),
)
_still_open = command.c.final.is_(False)
Index("ix_command_open", command.c.line, command.c.number, sqlite_where=_still_open, postgresql_where=_still_open)

event = Table(
    "event",
    metadata,
    Column("id", NUMBER, primary_key=True),
    _text("kind"),
    _int("at_ms"),
    _text("meter", nullable=True),
    _text("account", nullable=True),
    _text("data"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", NUMBER, primary_key=True, autoincrement=False),
    _text("topic"),
    _text("subject"),
    _int("at_ms"),
    _text("body"),
    _int("published_ms", nullable=True),
    _int("acknowledged_ms", nullable=True),
    CheckConstraint("seq > 0", "seq"),
)
_waiting = outbox.c.acknowledged_ms.is_(None)
Index("ix_outbox_waiting", outbox.c.seq, sqlite_where=_waiting, postgresql_where=_waiting)
Index("ix_outbox_class", outbox.c.topic, outbox.c.seq, sqlite_where=_waiting, postgresql_where=_waiting)

scheme = Table(
    "scheme",
    metadata,
    Column("id", Text, primary_key=True),
    _text("want"),
    _text("cron"),
    _int("window_ms"),
    _int("step_ms"),
    _int("priority"),
    _int("retries"),
    _int("target"),
    _text("meters"),
)

slot = Table(
    "slot",
    metadata,
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
    PrimaryKeyConstraint("meter", "want", "at_ms"),
    CheckConstraint("state IN ('expected', 'read', 'unavailable')", "state"),
    CheckConstraint("(state = 'read') = (read_ms IS NOT NULL)", "read"),
    sqlite_with_rowid=False,
)
_expected = slot.c.state == literal_column("'expected'")
Index("ix_slot_due", slot.c.line, slot.c.want, slot.c.next_ms, sqlite_where=_expected, postgresql_where=_expected)
Index("ix_slot_window", slot.c.line, slot.c.want, slot.c.late_ms, sqlite_where=_expected, postgresql_where=_expected)
_live = _expected & (slot.c.source == literal_column("'live'"))
Index("ix_slot_live", slot.c.late_ms, sqlite_where=_live, postgresql_where=_live)

completeness = Table(
    "completeness",
    metadata,
    _text("day"),
    _text("scheme"),
    _text("line"),
    _int("expected"),
    _int("read"),
    _int("in_time"),
    _int("unavailable"),
    _flag("judged"),
    PrimaryKeyConstraint("day", "scheme", "line"),
    sqlite_with_rowid=False,
)

meter_record = Table(
    "meter_record",
    metadata,
    _text("meter"),
    _text("kind"),
    _text("key"),
    _int("at_ms"),
    PrimaryKeyConstraint("meter", "kind", "key"),
    sqlite_with_rowid=False,
)
"""Records of meters' own event memories that were told once; kept for ever, a meter has ten of a kind and makes few."""

day_sum = Table(
    "day_sum",
    metadata,
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
    PrimaryKeyConstraint("meter", "day", "quantity"),
    CheckConstraint("count > 0", "count"),
    sqlite_with_rowid=False,
)
"""What is left of readings whose retention is over; values are decimal strings."""
