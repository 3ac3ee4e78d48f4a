"""What an ISO 8583 message of a partner asks for, and the message that answers it: fields to values and back, by its dialect."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from protocols.bank.iso8583 import BadMessage, Message
from protocols.bank.iso8583_table import IN_FIELD_90, Dialect
from protocols.bank.keywrap import key_length

_SERIAL = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_HEX = re.compile(r"[0-9A-Fa-f]+", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_WIDTHS = {11: 6, 7: 10, 32: 11, 33: 11}


@dataclass(frozen=True, slots=True)
class Named:
    """What makes a payment this payment. serial: unique for ever. original: what field 90 of its reversal says, without the MTI.

    parts: the fields of its identity that field 90 does not carry, by number, where they were sent.
    """

    serial: str
    original: str
    parts: Mapping[str, str]


def kind_of(dialect: Dialect, message: Message) -> str | None:
    """network, inquiry, payment or reversal; None for what this partner does not send. A repeat (0201, 0421) is of its kind."""
    kinds = dialect.messages.get(first_sent(message.mti), ())
    for kind in kinds:
        codes = dialect.processing.get(kind, ())
        if not codes or message.get(3) in codes:
            return kind
    return None


def first_sent(mti: str) -> str:
    """The MTI without its mark of a repeat (0401 is 0400 again)."""
    return mti[:3] + str(int(mti[3]) & ~1)


def named(dialect: Dialect, message: Message) -> Named:
    """The identity of a payment by its own fields. BadMessage where one of them is missing."""
    missing = [number for number in (*dialect.always, 7, 11) if not message.get(number)]
    if missing:
        raise BadMessage(f"field {missing[0]} is missing, which is part of what names a payment", message)
    return _named(dialect, message.fields)


def original(dialect: Dialect, message: Message) -> Named:
    """The identity of the payment that a reversal is about: by field 90, and by what it repeats of it. BadMessage otherwise."""
    told = message.get(90)
    if not told:
        raise BadMessage("field 90 is missing, which names the original", message)
    if "payment" not in dialect.messages.get(first_sent(told[:4]), ()):
        raise BadMessage(f"field 90 names an original {told[:4]}, which is no payment", message)
    fields, at = {}, 4
    for number in IN_FIELD_90:
        fields[number] = told[at : at + _WIDTHS[number]]
        at += _WIDTHS[number]
    if not fields[33].strip("0"):
        del fields[33]
    repeated = {number: message.get(number) for number in dialect.reversal_repeats if message.get(number)}
    return _named(dialect, {**repeated, **fields})


def _named(dialect: Dialect, fields: Mapping[int, str]) -> Named:
    values = {number: _plain(number, fields.get(number, "")) for number in {*dialect.always, *dialect.where_sent, *IN_FIELD_90}}
    ordered = [values[number] for number in (*dialect.always, *dialect.where_sent)]
    serial = joined(ordered)
    key = "-".join(values[number].rjust(_WIDTHS[number], "0") for number in IN_FIELD_90)
    beside = {number for number in (*dialect.always, *dialect.where_sent) if number not in IN_FIELD_90}
    return Named(serial, key, {str(number): values[number] for number in sorted(beside) if values[number]})


def joined(ordered: Sequence[str]) -> str:
    """The serial that these make together; a hash of them where they are no token, or have the mark between them in them."""
    serial = "-".join(ordered)
    if _SERIAL.fullmatch(serial) is None or any("-" in value for value in ordered):
        return "h-" + hashlib.sha256(json.dumps(list(ordered)).encode()).hexdigest()[:48]
    return serial


def institution(text: str) -> str:
    """An institution as it stands in field 90, with zeros before it; empty where it is none."""
    return text.rjust(11, "0") if text.strip("0") else ""


def _plain(number: int, text: str) -> str:
    """32 and 33 stand in field 90 with zeros before them, text with blanks behind it: neither makes it another payment."""
    return institution(text) if number in (32, 33) else text.rstrip(" ")


def account(dialect: Dialect, message: Message) -> str:
    """Which account is meant. BadMessage where there is none of an account's form."""
    place = dialect.account
    text = message.get(place.field).rstrip(" ")
    if not text.startswith(place.prefix) or _ID.fullmatch(text[len(place.prefix) :]) is None:
        raise BadMessage(f"field {place.field} names no account", message)
    return text[len(place.prefix) :]


def amount(message: Message) -> int:
    """Field 4 in the currency's smallest unit, greater than zero. BadMessage otherwise."""
    text = message.get(4)
    if not text.strip("0"):
        raise BadMessage("field 4 is no amount greater than zero", message)
    return int(text)


def currency(dialect: Dialect, message: Message) -> str:
    """Field 49 in letters. BadMessage for one that the table does not name."""
    found = dialect.currencies.get(message.get(49))
    if found is None:
        raise BadMessage("field 49 is no currency of this partner's", message)
    return found


def new_key(dialect: Dialect, message: Message) -> tuple[bytes, str]:
    """A new key of MACs as it was sent, wrapped, and its check value (capital hex digits). BadMessage where there is none."""
    form = dialect.key
    text = message.get(form.field).rstrip(" ") if form is not None else ""
    if form is None or not text.startswith(form.prefix) or _HEX.fullmatch(text[len(form.prefix) :]) is None:
        raise BadMessage("no new key is in the field where it stands", message)
    text, digits = text[len(form.prefix) :], 2 * key_length(dialect.mac)
    if len(text) != digits + form.check:
        raise BadMessage(f"a new key and its check value have {digits + form.check} hex digits, not {len(text)}", message)
    return bytes.fromhex(text[:digits]), text[digits:].upper()


def settled_on(message: Message, today: date) -> date | None:
    """Field 15, the accounting date, in the year that brings it nearest; None where it is not sent. BadMessage for no day."""
    text = message.get(15)
    if not text:
        return None
    return near(f"{text}000000", datetime(today.year, today.month, today.day)).date()


def sent_at(message: Message, now: datetime) -> datetime:
    """The partner's own time, of fields 13 and 12 where both are sent, else of 7, nearest to `now`, both in its zone (naive)."""
    own = message.get(13) + message.get(12)
    return near(own if len(own) == 10 else message.get(7), now)


def near(text: str, now: datetime) -> datetime:
    """Of a month, day and time without a year (10 digits) the moment nearest to now. BadMessage for none."""
    found = []
    for year in (now.year - 1, now.year, now.year + 1):
        try:
            found.append(datetime.strptime(f"{year:04d}{text}", "%Y%m%d%H%M%S"))
        except ValueError:
            continue
    if not found or len(text) != 10:
        raise BadMessage(f"{text} is no month, day and time")
    return min(found, key=lambda moment: abs(moment - now))


def answer(dialect: Dialect, message: Message, result: str, balance: int | None = None) -> Message:
    """The answer to a message: its fields again, field 39, and the balance in the currency's smallest unit where it fits.

    result: one of iso8583_table.RESULTS, or a partner's own code of two characters.
    """
    place = dialect.balance
    fields = {number: text for number, text in message.fields.items() if number not in (39, place.field)}
    fields[39] = dialect.results.get(result, result)
    shown = "" if balance is None else f"{balance:0{place.digits}d}"
    if shown and len(shown) == place.digits:
        fields[place.field] = place.prefix + shown
    return Message(f"{int(first_sent(message.mti)) + 10:04d}", fields, message.header)
