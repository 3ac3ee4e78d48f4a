"""How one partner speaks ISO 8583, taken from a table in data: nothing of a dialect stands in code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocols.bank.keywrap import MOST_CHECK_DIGITS, WRAPS, key_length
from protocols.bank.mac import ALGORITHMS
from protocols.profile_table import Table

NO_MAC = "none"
KINDS = ("network", "inquiry", "payment", "reversal")
RESULTS = (
    "ok", "format", "unknown_message", "mac", "sender", "not_signed_on", "unknown_account", "account_closed", "amount_out_of_range",
    "currency_mismatch", "limit_exceeded", "over_hoarding_limit", "invalid", "serial_conflict", "reversed", "delivered",
    "day_closed", "pending", "not_open", "other",
)  # fmt: skip
"""Every meaning that an answer may have; a table gives each of them its code for field 39."""

CUT_OVER = "cut_over"
"""The network message that dates payments: it may come without a MAC only where the table says so of itself."""

NETWORK_ACTS = ("sign_on", "sign_off", CUT_OVER, "echo", "key_exchange")
IN_FIELD_90 = (11, 7, 32, 33)
"""What names an original, beside its MTI and in this order: 6, 10, 11 and 11 digits."""

_FORM = re.compile(r"(n|an|ans|b|z)(\.{0,3})([0-9]{1,3})", re.ASCII)
_NEEDED: Final[dict[int, str]] = {4: "n12", 7: "n10", 11: "n6", 39: "an2", 49: "n3", 64: "b8", 70: "n3", 90: "n42", 128: "b8"}
"""Fields that we take apart or fill in ourselves: a table may leave out what it never sends, but not give it another form."""


@dataclass(frozen=True, slots=True)
class FieldForm:
    """kind: n digits, an letters and digits, ans any text, b bytes, z a track. most: longest, in characters, digits or bytes.
    length_digits: of the length before it, 0 for a fixed length."""

    kind: str
    most: int
    length_digits: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: all of a field behind a prefix; digits: how many it has, 0 for any number."""

    field: int
    prefix: str
    digits: int = 0


@dataclass(frozen=True, slots=True)
class KeyForm:
    """How a new key of MACs comes: in hex behind a prefix in a field, or as a b field's bytes; check: hex digits of its check value
    behind it. wrapped: by which algorithm of keywrap.WRAPS. by_new: the message that brings it is sealed with the key itself, not
    with the one before."""

    field: int
    prefix: str
    wrapped: str
    check: int
    by_new: bool


@dataclass(frozen=True, slots=True)
class Dialect:
    """A partner's table. numbers, lengths: `text` or `bcd`. inclusive: a frame's length counts its own two bytes.

    messages: MTI to the kinds it may be. processing: codes of field 3 by kind; a kind without any takes every code. network: codes
    of field 70 to what they ask for. results: meaning to code of field 39. mac: the algorithm's name. open_kinds: those
    that may come without a MAC. key: how new keys of MACs come; None where they come by hand only.
    """

    name: str
    charset: str
    binary_bitmap: bool
    numbers: str
    lengths: str
    inclusive: bool
    header_bytes: int
    fields: Mapping[int, FieldForm]
    messages: Mapping[str, tuple[str, ...]]
    processing: Mapping[str, tuple[str, ...]]
    always: tuple[int, ...]
    where_sent: tuple[int, ...]
    reversal_repeats: tuple[int, ...]
    account: Place
    balance: Place
    currencies: Mapping[str, str]
    network: Mapping[str, str]
    mac: str
    open_kinds: frozenset[str]
    results: Mapping[str, str]
    key: KeyForm | None = None


def dialect(data: Mapping[str, object], name: str = "iso8583") -> Dialect:
    """From a parsed TOML document. ProfileError says in one sentence what is wrong with it."""
    table = Table(data, name)
    fields = _fields(table.table("fields"))
    identity, mac = table.table("identity"), table.table("mac")
    sealed = mac.choice("algorithm", (*ALGORITHMS, NO_MAC))
    found = Dialect(
        name=table.take("name", str),
        charset=_charset(table),
        binary_bitmap=table.choice("bitmap", ("hex", "binary")) == "binary",
        numbers=table.choice("numbers", ("text", "bcd")),
        lengths=table.choice("lengths", ("text", "bcd")),
        inclusive=table.choice("frame", ("exclusive", "inclusive")) == "inclusive",
        header_bytes=table.whole("header_bytes", 0, 32, 0),
        fields=fields,
        messages=_messages(table.table("messages")),
        processing=_lists(table.table("processing"), ("inquiry", "payment"), r"[0-9]{6}"),
        always=_numbers(identity, "always", fields),
        where_sent=_numbers(identity, "where_sent", fields),
        reversal_repeats=_numbers(identity, "reversal_repeats", fields),
        account=_place(table.table("account"), fields),
        balance=_place(table.table("balance"), fields, digits=True),
        currencies=_texts(table.table("currency"), r"[0-9]{3}", r"[A-Z]{3}"),
        network={code: act for act, codes in _lists(table.table("network"), NETWORK_ACTS, r"[0-9]{3}").items() for code in codes},
        mac=sealed,
        open_kinds=_open_kinds(mac),
        results=_results(table.table("result")),
        key=_key(table.table("key"), fields, sealed) if table.has("key") else None,
    )
    identity.done()
    table.done()
    _agree(found, table)
    return found


def _charset(table: Table) -> str:
    name = table.take("charset", str)
    try:
        if len("0".encode(name)) != 1:
            raise LookupError
    except LookupError:
        raise table.fail("charset", f"must be one with a byte for a digit, like ascii or cp500, not {name!r}") from None
    return name


def _fields(table: Table) -> dict[int, FieldForm]:
    found = {}
    for key in table.unasked():
        text = table.take(key, str)
        match = _FORM.fullmatch(text)
        if not key.isascii() or not key.isdecimal() or not 2 <= int(key) <= 128 or int(key) == 65:
            raise table.fail(key, "is no field: they are 2 to 128 without 65")
        if match is None or int(match[3]) == 0 or (match[2] and len(match[3]) > len(match[2])):
            raise table.fail(key, f"must look like n6, ans..25 or b8, not {text!r}")
        if _NEEDED.get(int(key), text) != text:
            raise table.fail(key, f"must be {_NEEDED[int(key)]}, which is what we take apart, not {text}")
        if match[2] == ".":
            raise table.fail(key, "has a length of one digit, which no edition knows")
        found[int(key)] = FieldForm(match[1], int(match[3]), len(match[2]))
    return found


def _messages(table: Table) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for kind, mtis in _lists(table, KINDS, r"[0-9]{2}[0-9][02468]").items():
        for mti in mtis:
            found[mti] = (*found.get(mti, ()), kind)
            if len(found[mti]) > 1 and set(found[mti]) != {"inquiry", "payment"}:
                raise table.fail(kind, f"has {mti}, which is {found[mti][0]} already")
    return found


def _lists(table: Table, names: tuple[str, ...], form: str) -> dict[str, tuple[str, ...]]:
    found = {}
    for name in names:
        texts = table.each(name, str, [])
        for text in texts:
            if re.fullmatch(form, text, re.ASCII) is None:
                raise table.fail(name, f"has {text!r}, which is no such code")
        found[name] = texts
    table.done()
    return found


def _numbers(table: Table, key: str, fields: Mapping[int, FieldForm]) -> tuple[int, ...]:
    found = table.each(key, int, [])
    for number in found:
        if number not in fields or fields[number].kind == "b":
            raise table.fail(key, f"has {number}, which is no text field of this table")
    return tuple(dict.fromkeys(found))


def _place(table: Table, fields: Mapping[int, FieldForm], *, digits: bool = False) -> Place:
    number = table.whole("field", 2, 128)
    if number not in fields or fields[number].kind == "b":
        raise table.fail("field", f"is {number}, which is no text field of this table")
    found = Place(number, table.take("prefix", str, ""), table.whole("digits", 1, 20) if digits else 0)
    table.done()
    if len(found.prefix) + found.digits >= fields[number].most + digits:
        raise table.fail("prefix", "leaves no room in the field")
    return found


def _texts(table: Table, key_form: str, form: str) -> dict[str, str]:
    found = {}
    for key in table.unasked():
        text = table.take(key, str)
        if re.fullmatch(key_form, key, re.ASCII) is None or re.fullmatch(form, text, re.ASCII) is None:
            raise table.fail(key, f"= {text!r} is no such pair")
        found[key] = text
    return found


def _open_kinds(table: Table) -> frozenset[str]:
    kinds = table.each("without", str, [])
    table.done()
    if not set(kinds) <= {"network", CUT_OVER, "inquiry"}:
        raise table.fail("without", "may name network, cut_over and inquiry: what moves money always has a MAC")
    return frozenset(kinds)


def _key(table: Table, fields: Mapping[int, FieldForm], mac: str) -> KeyForm:
    number = table.whole("field", 2, 128)
    if number not in fields or fields[number].kind not in ("an", "ans", "b"):
        raise table.fail("field", f"is {number}, which is no field of letters or bytes of this table")
    found = KeyForm(
        number,
        table.take("prefix", str, ""),
        table.choice("wrapped", tuple(WRAPS), "sm4-ecb" if mac.startswith("sm4") else "3des-ecb"),
        table.whole("check", 0, MOST_CHECK_DIGITS, 6),
        table.choice("sealed_by", ("old", "new"), "old") == "new",
    )
    table.done()
    if fields[number].kind == "b" and (found.prefix or found.check % 2):
        raise table.fail("field", f"is {number}, which holds bytes: no prefix, and an even number of digits to check")
    return found


def _results(table: Table) -> dict[str, str]:
    found = {}
    for name in RESULTS:
        found[name] = table.take(name, str)
        if re.fullmatch(r"[A-Z0-9]{2}", found[name], re.ASCII) is None:
            raise table.fail(name, f"must be two letters or digits, not {found[name]!r}")
    table.done()
    if any(code == found["ok"] for name, code in found.items() if name != "ok"):
        raise table.fail("ok", "must be the code of nothing else")
    return found


def _agree(found: Dialect, table: Table) -> None:
    """What only the whole table shows."""
    if not found.always:
        raise table.fail("identity", "always must name at least one field")
    if set(found.reversal_repeats) - {*found.always, *found.where_sent}:
        raise table.fail("identity", "reversal_repeats must be part of the identity")
    needed = {7, 11, 39}
    kinds = {kind for several in found.messages.values() for kind in several}
    needed |= {4, 49, 32} if "payment" in kinds else set()
    needed |= {90} if "reversal" in kinds else set()
    needed |= {70} if found.network else set()
    needed |= {64, 128} if found.mac != NO_MAC else set()
    _agree_on_keys(found, table)
    missing = sorted(needed - set(found.fields))
    if missing:
        raise table.fail("fields", f"must have {', '.join(str(number) for number in missing)}, which the messages named here carry")


def _agree_on_keys(found: Dialect, table: Table) -> None:
    if "key_exchange" not in found.network.values() or found.mac == NO_MAC:
        return
    if found.key is None:
        raise table.fail("network", "has a code for key_exchange, which needs a table [key]")
    size, block, form = key_length(found.mac), WRAPS[found.key.wrapped][1], found.fields[found.key.field]
    if size % block:
        raise table.fail("key", f"wrapped = {found.key.wrapped} has multiples of {block} bytes; a key for {found.mac} has {size}")
    digits = 2 * size + found.key.check
    if len(found.key.prefix) + digits > (2 * form.most if form.kind == "b" else form.most):
        raise table.fail("key", f"field {found.key.field} has no room for {digits} hex digits")
