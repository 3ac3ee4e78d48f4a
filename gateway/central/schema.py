"""The central system's tables. All names begin with `central_`, so that they may stand in one database with a gateway's."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = "4"

metadata = MetaData()

NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""SQLite makes only INTEGER the row's own number (64 bits as well)."""


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def _int(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _message() -> Column[int]:
    """The row of central_message that it belongs to. Not declared so: both are written in one transaction, and never alone; looking
    for it again cost PostgreSQL a third of its time."""
    return Column("message", NUMBER, primary_key=True)


meta = Table("central_meta", metadata, Column("key", Text, primary_key=True), _text("value"))

gateway = Table("central_gateway", metadata, Column("gateway", Text, primary_key=True), _text("state"), _int("at_ms"))
"""What a gateway or its will last said of it: online, offline."""

message = Table(
    "central_message",
    metadata,
    Column("id", NUMBER, primary_key=True),
    _text("gateway"),
    _text("epoch"),
    _int("seq"),
    _text("kind"),
    _text("subject"),
    Column("backlog", Boolean, nullable=False),
    _int("received_ms"),
    UniqueConstraint("gateway", "epoch", "seq"),
)
"""Every message once. kind: reading, event, balance, result, anchor; what it says stands in that table, or in unreadable."""

stream = Table(
    "central_stream",
    metadata,
    Column("gateway", Text, primary_key=True),
    Column("epoch", Text, primary_key=True),
    _int("ordinal"),
    _text("accounted"),
    _int("low"),
    _int("upto"),
    _int("top"),
    Column("dropped", Boolean, nullable=False),
    _int("heard_ms"),
)
"""One gateway's numbers of one epoch: what needs no delivery any more, as ranges. ordinal: which epoch of the gateway it is, 1 the
first. dropped: whether anything of it was. Changed in the transaction that stores the messages, so that every instance knows."""

dropped = Table(
    "central_dropped",
    metadata,
    Column("id", NUMBER, primary_key=True),
    _text("gateway"),
    _text("epoch"),
    _int("first"),
    _int("last"),
    _text("why"),
    Index("central_dropped_first", "gateway", "epoch", "first"),
    Index("central_dropped_last", "gateway", "epoch", "last"),
)
"""Numbers that count as received although nothing of them is here. why: `policy` as the gateway's events name them, `lost` asked
for in vain, `before` of an earlier epoch."""

reading = Table(
    "central_reading",
    metadata,
    _message(),
    _text("gateway"),
    _text("meter"),
    _text("point"),
    _text("quality"),
    _text("source"),
    _int("asked_ms"),
    _int("answered_ms"),
    _int("stored_ms"),
    Column("taken_ms", BigInteger, nullable=True),
    Index("central_reading_meter", "gateway", "meter", "answered_ms"),
)

item = Table(
    "central_item",
    metadata,
    _message(),
    Column("position", Integer, primary_key=True),
    _text("quantity"),
    _text("obis", nullable=True),
    _text("value", nullable=True),
    _text("unit"),
)
"""The values of a reading in their order; value is a decimal string, NULL for a filler."""

event = Table(
    "central_event",
    metadata,
    _message(),
    _text("gateway"),
    _text("meter", nullable=True),
    _text("account", nullable=True),
    _text("kind"),
    _int("at_ms"),
    _text("data"),
    Index("central_event_at", "gateway", "at_ms"),
)

balance = Table(
    "central_balance",
    metadata,
    _message(),
    _text("gateway"),
    _text("account"),
    _text("balance"),
    _text("currency"),
    _text("credit"),
    _int("at_ms"),
    Index("central_balance_account", "gateway", "account", "at_ms"),
)

result = Table(
    "central_result",
    metadata,
    _message(),
    _text("gateway"),
    _text("command"),
    _text("meter", nullable=True),
    _text("verb", nullable=True),
    _text("cause", nullable=True),
    _text("origin", nullable=True),
    _text("state"),
    Column("final", Boolean, nullable=False),
    _text("evidence"),
    _text("reason", nullable=True),
    _int("at_ms"),
    Index("central_result_command", "gateway", "command"),
)

unreadable = Table("central_unreadable", metadata, _message(), _text("why"), Column("payload", LargeBinary, nullable=False))
"""Messages with a readable envelope and a body that is none of ours: kept as they came, nothing is lost by a misunderstanding."""

anchor = Table("central_anchor", metadata, _message(), _text("gateway"), _int("at_ms"), _text("jws"))
"""Anchors as they came, good or not."""

head = Table(
    "central_head",
    metadata,
    _message(),
    Column("book", Text, primary_key=True),
    _text("gateway"),
    _text("epoch"),
    _int("anchor"),
    _int("number"),
    _text("hash"),
    Index("central_head_number", "gateway", "book", "number"),
    Index("central_head_anchor", "gateway", "book", "epoch", "anchor"),
)
"""What a gateway signed with a key we know: at its anchor of this number, entry `number` of its book (audit, ledger) was the last
and had this hash."""

finding = Table(
    "central_finding",
    metadata,
    Column("id", NUMBER, primary_key=True),
    _text("gateway"),
    _text("kind"),
    _text("subject"),
    _text("text"),
    _int("at_ms"),
    Column("closed_ms", BigInteger, nullable=True),
    _text("closed_by", nullable=True),
    UniqueConstraint("gateway", "kind", "subject"),
)
"""What a person has to look at, each once."""

order = Table(
    "central_order",
    metadata,
    Column("id", Text, primary_key=True),
    _text("gateway"),
    _text("kid"),
    _int("counter"),
    _text("verb"),
    _text("payload"),
    _int("made_ms"),
    Column("expires_ms", BigInteger, nullable=True),
    Column("sent_ms", BigInteger, nullable=True),
    _int("tries"),
    _text("state"),
    Column("final", Boolean, nullable=False),
    Column("state_ms", BigInteger, nullable=True),
    _text("reason", nullable=True),
    UniqueConstraint("kid", "gateway", "counter"),
    Index("central_order_open", "final", "sent_ms"),
)
"""Commands as they are sent, signed, written before they leave. state: what the gateway last said, `new` before it said any."""

UNSIGNED = "unsigned"
"""What stands for the key of a command that nobody signed."""

counter = Table(
    "central_counter", metadata, Column("kid", Text, primary_key=True), Column("gateway", Text, primary_key=True), _int("last")
)
"""The highest counter that a key has used towards a gateway, for ever."""

lease = Table("central_lease", metadata, Column("name", Text, primary_key=True), _text("holder"), _int("until_ms"))
"""Which instance does what only one should do."""

payment = Table(
    "central_payment",
    metadata,
    Column("bank", Text, primary_key=True),
    Column("institution", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("serial", Text, primary_key=True),
    _text("account"),
    _text("gateway"),
    _int("amount_micro"),
    _text("currency"),
    _text("accounting_date"),
    _text("paid_at"),
    _text("channel"),
    _text("status"),
    _text("delivery"),
    _text("receipt", nullable=True),
    _text("receipt_jws", nullable=True),
    _text("reversal", nullable=True),
    _text("reversal_state"),
    _text("reversal_serial"),
    _text("reversal_date"),
    Column("reversal_reason", Text, nullable=False, server_default=""),
    Column("reversal_requested", Text, nullable=False, server_default=""),
    _int("reversal_ms"),
    _text("problem", nullable=True),
    _text("detail", nullable=True),
    _text("voucher", nullable=True),
    _int("at_ms"),
    Index("central_payment_day", "bank", "accounting_date"),
    Index("central_payment_account", "bank", "accounting_date", "account"),
    Index("central_payment_reversed", "bank", "reversal_date"),
    Index("central_payment_voucher", "voucher"),
)
"""What banks paid in at the centre, under the payment's identity for ever; also refusals and tombstones. voucher: the order that
takes it to its gateway. reversal: what the bank was told of it, once it is decided; reversal_state: as domain/bank_acts has it, or
empty."""

takings = Table(
    "central_takings",
    metadata,
    Column("bank", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("part", Text, primary_key=True),
    _int("count"),
    _int("micro"),
)
"""Running sums of a bank's day, where a limit on it was ever asked about. part: empty for all of it, or `channel:NAME`."""

nonce = Table(
    "central_nonce",
    metadata,
    Column("number", NUMBER, primary_key=True),
    _text("kid"),
    _text("nonce"),
    _int("expires_ms"),
    UniqueConstraint("kid", "nonce"),
)
"""What banks' signatures used up, in the order of its coming."""

audit = Table(
    "central_audit",
    metadata,
    Column("number", NUMBER, primary_key=True, autoincrement=False),
    _int("at_ms"),
    _text("who"),
    _text("act"),
    _text("subject"),
    _text("data"),
    _text("previous"),
    _text("hash"),
)
"""Every act of money in a hash chain (domain/audit_chain), written in the transaction that does it."""

receipt_key = Table("central_receipt_key", metadata, Column("kid", Text, primary_key=True), _text("x"), _int("since_ms"))
"""Public halves of all keys that ever signed receipts here, of whatever instance: published for ever."""

day_book = Table(
    "central_day_book",
    metadata,
    Column("bank", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    _int("at_ms"),
    _text("sha256"),
    _text("state"),
    _text("result"),
)
"""What a bank's file of an accounting date came to, each upload a version. state: running, done, failed. result: JSON, as told."""

resolution = Table(
    "central_resolution",
    metadata,
    Column("bank", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("about", Text, primary_key=True),
    _text("action"),
    _text("reason"),
    _text("asked_by"),
    _int("asked_ms"),
    _text("state"),
    _text("decided_by", nullable=True),
    Column("decided_ms", BigInteger, nullable=True),
    _text("told"),
)
"""What is to become of a difference (about: domain/differences). state: asked by one person, done by a second."""

closed_day = Table(
    "central_closed_day",
    metadata,
    Column("bank", Text, primary_key=True),
    Column("day", Text, primary_key=True),
    Column("version", Integer, nullable=False),
    _int("closed_ms"),
)
"""Accounting dates that are agreed: nothing is booked or undone on them any more."""
