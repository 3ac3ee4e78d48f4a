"""The central system's tables. All names begin with `central_`, so that they may stand in one database with a gateway's."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

VERSION = "2"

metadata = MetaData()

NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""SQLite makes only INTEGER the row's own number (64 bits as well)."""


def _text(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def _int(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _message() -> Column[int]:
    return Column("message", NUMBER, ForeignKey("central_message.id"), primary_key=True)


meta = Table("central_meta", metadata, Column("key", Text, primary_key=True), _text("value"))

gateway = Table("central_gateway", metadata, Column("gateway", Text, primary_key=True), _text("state"), _int("at_ms"))

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
"""Every message once. kind: reading, event, balance, result; what it says stands in the table of that name, or in unreadable."""

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

OLDER = {"1": ("ALTER TABLE central_reading ADD COLUMN taken_ms BIGINT",)}
"""What brings the tables of an older version to the next one."""

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

command = Table(
    "central_command",
    metadata,
    Column("id", Text, primary_key=True),
    _text("gateway"),
    _int("counter"),
    _text("payload"),
    _int("sent_ms"),
    UniqueConstraint("gateway", "counter"),
)
"""Commands as they were sent, written before they leave."""
