"""What the uplink says, as JSON of at most 256 KiB (contract.md 5).

Parsing is strict. One sentence says what is wrong: a key twice, unknown or missing, a wrong type, a float, unstorable text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import Meta

from protocols.errors import ProtocolError
from protocols.uplink.moments import parse_moment
from protocols.uplink.topics import Up, valid_id

PAYLOAD_LIMIT = 256 * 1024
"""Bytes of one payload: what the contract allows; brokers and small gateways choke on more."""

RANGES_LIMIT = 1000
"""Ranges in one ack or resend: some 20 KiB; a stream with more holes is told in several messages."""

Json = None | bool | int | str | list["Json"] | dict[str, "Json"]
Id = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,64}\\Z")]
Name = Annotated[str, Meta(pattern="^[A-Za-z0-9_.:-]{1,64}\\Z")]
Text = Annotated[str, Meta(max_length=2000)]
Moment = Annotated[str, Meta(max_length=40, extra_json_schema={"format": "date-time"})]
Number = Annotated[str, Meta(pattern=r"^-?(0|[1-9][0-9]{0,29})(\.[0-9]{1,12})?\Z")]
Seq = Annotated[int, Meta(ge=1, le=2**63 - 1)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Ranges = Annotated[tuple[tuple[Seq, Seq], ...], Meta(max_length=RANGES_LIMIT)]


class BadMessage(ProtocolError):
    """A payload that is none of ours; the text is one sentence. `id`: of the command it names, where it names one readably."""

    def __init__(self, text: str, id: str | None = None) -> None:
        self.id = id
        super().__init__(" ".join(text.split())[:400])  # it may quote the payload


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What every `up` message carries: store epoch, dense number, lowest number still to be delivered, late news or not."""

    epoch: Id
    seq: Seq
    low: Seq
    backlog: bool


class Item(_Strict, frozen=True):
    """One value: a decimal string with the register's own resolution, None where the meter gave a filler."""

    quantity: Name
    value: Number | None
    unit: Annotated[str, Meta(max_length=16)]
    obis: Annotated[str, Meta(max_length=32)] | None = None


class ReadingMessage(Envelope, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One reading of the meter in the topic. asked, answered, stored: RFC 3339; taken: when the meter itself took the values, where
    that is not when it answered."""

    point: Annotated[str, Meta(max_length=64)]
    items: Annotated[tuple[Item, ...], Meta(max_length=1000)]
    quality: Literal["single", "confirmed", "suspect", "estimated"]
    source: Literal["live", "freeze", "curve"]
    asked: Moment
    answered: Moment
    stored: Moment
    taken: Moment | None = None

    def __post_init__(self) -> None:
        for moment in (self.asked, self.answered, self.stored, self.taken or self.stored):
            parse_moment(moment)


class EventMessage(Envelope, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happened, past tense. account: a pseudonym. data: what belongs to this kind of event."""

    kind: Name
    at: Moment
    meter: Id | None = None
    account: Id | None = None
    data: dict[str, object] = {}

    def __post_init__(self) -> None:
        parse_moment(self.at)


class BalanceMessage(Envelope, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Balance and credit state of the account (pseudonym) in the topic, after a change."""

    balance: Number
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}\\Z")]
    credit: Name
    at: Moment

    def __post_init__(self) -> None:
        parse_moment(self.at)


class ResultMessage(Envelope, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A state of the command in the topic. `final`: no other will follow. meter, verb: None for what could not be read. code: which
    of the known reasons it was refused for. answer: what the verb brought, as a receipt's number."""

    command: Id
    state: Name
    final: bool
    at: Moment
    meter: Id | None = None
    verb: Name | None = None
    cause: Text | None = None
    origin: Name | None = None
    evidence: tuple[Name, ...] = ()
    reason: Text | None = None
    code: Name | None = None
    answer: dict[str, object] = {}

    def __post_init__(self) -> None:
        parse_moment(self.at)


class AnchorMessage(Envelope, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the audit log and the ledger end at this moment. jws: the same heads, signed by the gateway's own key."""

    at: Moment
    jws: Annotated[str, Meta(max_length=4000)]

    def __post_init__(self) -> None:
        parse_moment(self.at)


UpMessage = ReadingMessage | EventMessage | BalanceMessage | ResultMessage | AnchorMessage


class Status(_Strict, frozen=True):
    """The retained state of a gateway, also its will."""

    state: Literal["online", "offline"]
    at: Moment


class Ack(_Strict, frozen=True):
    """These numbers are safe at the centre: all up to `upto`, and the ranges `also` (inclusive)."""

    epoch: Id
    upto: Count
    also: Ranges = ()

    def __post_init__(self) -> None:
        _check_ranges(self.also)


class Resend(_Strict, frozen=True):
    """The centre misses these ranges (inclusive)."""

    epoch: Id
    ranges: Ranges

    def __post_init__(self) -> None:
        _check_ranges(self.ranges)


M = TypeVar("M", bound=msgspec.Struct)

_UP: dict[Up, type[UpMessage]] = {
    Up.READING: ReadingMessage,
    Up.EVENT: EventMessage,
    Up.BALANCE: BalanceMessage,
    Up.RESULT: ResultMessage,
    Up.ANCHOR: AnchorMessage,
}
_encoder = msgspec.json.Encoder()


def encode(message: msgspec.Struct) -> bytes:
    """UTF-8 JSON of a message; BadMessage when it is larger than PAYLOAD_LIMIT."""
    payload = _encoder.encode(message)
    if len(payload) > PAYLOAD_LIMIT:
        raise BadMessage(f"a message of {len(payload)} bytes is larger than the {PAYLOAD_LIMIT} that are allowed")
    return payload


def decode_up(kind: Up, payload: bytes) -> UpMessage:
    """A message of the class that its topic says."""
    return _decode(payload, _UP[kind], f"this {kind.value} message")


def decode_envelope(payload: bytes) -> Envelope:
    """Only epoch, seq, low and backlog, whatever else stands there: enough to keep and acknowledge what cannot be understood."""
    return _decode(payload, Envelope, "this message")


def decode_ack(payload: bytes) -> Ack:
    """An acknowledgement of the centre."""
    return _decode(payload, Ack, "this ack")


def decode_resend(payload: bytes) -> Resend:
    """A request of the centre."""
    return _decode(payload, Resend, "this resend request")


def decode_status(payload: bytes) -> Status:
    """A gateway's state."""
    return _decode(payload, Status, "this status")


def build(kind: Up, fields: dict[str, Json]) -> UpMessage:
    """A message of our own making, held to the same rules as a foreign one."""
    return convert_object(fields, _UP[kind], f"this {kind.value} message")


def _decode(payload: bytes, form: type[M], what: str) -> M:
    return convert_object(parse_object(payload, what), form, what)


def convert_object(fields: dict[str, Json], form: type[M], what: str) -> M:
    """Parsed fields as a message; BadMessage names it by `what`, and by its id where that can be read."""
    try:
        return msgspec.convert(fields, form, strict=True)
    except msgspec.ValidationError as wrong:
        named = fields.get("id")
        raise BadMessage(f"{what} is wrong: {wrong}", named if isinstance(named, str) and valid_id(named) else None) from None


def parse_object(payload: bytes, what: str) -> dict[str, Json]:
    """A JSON object of at most PAYLOAD_LIMIT bytes, without floats or keys that stand twice; BadMessage names it by `what`."""
    if len(payload) > PAYLOAD_LIMIT:
        raise BadMessage(f"{what} has {len(payload)} bytes, more than the {PAYLOAD_LIMIT} that are allowed")
    try:
        text = payload.decode("utf-8")
        parsed = _decoder.decode(text)
        if "\\u" in text:  # only an escape can bring in what UTF-8 cannot hold
            _check_text(parsed)
    except UnicodeDecodeError:
        raise BadMessage(f"{what} is not UTF-8") from None
    except RecursionError:
        raise BadMessage(f"{what} is nested too deeply") from None
    except ValueError as wrong:
        raise BadMessage(f"{what} is not the JSON we read: {wrong}") from None
    if not isinstance(parsed, dict):
        raise BadMessage(f"{what} is not a JSON object")
    return parsed


def _object(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice[:64]!r} stands there twice")
    return found


def _no_float(text: str) -> Json:
    raise ValueError(f"the number {text[:40]} is not an integer; decimals are strings")


def _check_text(value: Json) -> None:
    """Lone surrogates cannot be written as UTF-8, and PostgreSQL stores no NUL."""
    if isinstance(value, str):
        if "\x00" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise ValueError("a text holds a NUL or half a character")
    elif isinstance(value, list):
        for element in value:
            _check_text(element)
    elif isinstance(value, dict):
        for key, element in value.items():
            _check_text(key)
            _check_text(element)


def _check_ranges(ranges: tuple[tuple[int, int], ...]) -> None:
    for first, last in ranges:
        if last < first:
            raise ValueError(f"the range [{first}, {last}] ends before it begins")


_decoder = json.JSONDecoder(object_pairs_hook=_object, parse_float=_no_float, parse_constant=_no_float)
