"""Partners' tables: shipped ones are sound, and each way to be wrong has its sentence."""

from __future__ import annotations

import copy
from datetime import date, datetime
from typing import Any

import pytest

from protocols.bank.iso8583 import BadMessage, Message
from protocols.bank.iso8583_meaning import (
    account,
    amount,
    answer,
    currency,
    first_sent,
    kind_of,
    named,
    original,
    sent_at,
    settled_on,
)
from protocols.bank.iso8583_table import RESULTS, dialect
from protocols.profiles import ProfileError
from tests.protocols.bank.tables import document, shipped

TABLE = shipped()
PAID = {3: "500000", 4: "000000010000", 7: "0115093130", 11: "000004", 32: "1234567", 37: "260115000004", 41: "TERM0001", 49: "156"}


def changed(**deep: Any) -> dict[str, object]:
    """The shipped table with keys changed inside its tables; None takes one out."""
    found: dict[str, Any] = copy.deepcopy(document())
    for key, value in deep.items():
        if not isinstance(value, dict):
            found[key] = value
            continue
        for inner, each in value.items():
            found[key].pop(inner, None) if each is None else found[key].__setitem__(inner, each)
    return found


@pytest.mark.parametrize(
    ("deep", "says"),
    [
        ({"charset": "utf-16"}, "charset must be"), ({"charset": "nope"}, "charset"),
        ({"bitmap": "octal"}, "bitmap must be one of"),
        ({"frame": "maybe"}, "frame"), ({"header_bytes": 33}, "header_bytes"), ({"more": 1}, "more is not a key"),
        ({"fields": {"48": "ans....999"}}, "must look like"), ({"fields": {"48": "ans..999"}}, "must look like"),
        ({"fields": {"65": "n1"}}, "is no field"), ({"fields": {"x": "n1"}}, "is no field"),
        ({"fields": {"48": "an.9"}}, "one digit"),
        ({"fields": {"4": "n11"}}, "must be n12"), ({"fields": {"90": None}}, "must have 90"),
        ({"fields": {"64": None}}, "must have 64"),
        ({"messages": {"payment": ["0201"]}}, "no such code"), ({"messages": {"reversal": ["0200"]}}, "is payment already"),
        ({"messages": {"gift": []}}, "gift is not a key"), ({"processing": {"payment": ["5"]}}, "no such code"),
        ({"identity": {"always": []}}, "at least one"), ({"identity": {"always": [5]}}, "no text field"),
        ({"identity": {"reversal_repeats": [102]}}, "part of the identity"), ({"account": {"field": 64}}, "no text field"),
        ({"balance": {"digits": 0}}, "digits"), ({"account": {"field": 39, "prefix": "ACCT="}}, "no room"),
        ({"currency": {"156": "yuan"}}, "no such pair"), ({"network": {"echo": ["9"]}}, "no such code"),
        ({"mac": {"algorithm": "xor"}}, "must be one of"), ({"mac": {"without": ["payment"]}}, "always has a MAC"),
        ({"result": {"ok": None}}, "ok is missing"), ({"result": {"format": "00"}}, "nothing else"),
        ({"result": {"mac": "A"}}, "two"),
    ],
)  # fmt: skip
def test_a_table_that_is_none_is_refused_in_a_sentence(deep: dict[str, object], says: str) -> None:
    with pytest.raises(ProfileError, match=says):
        dialect(changed(**deep), "partner.toml")


def test_every_meaning_has_a_code() -> None:
    assert set(TABLE.results) == set(RESULTS) and list(TABLE.results.values()).count("00") == 1


def test_one_mti_may_be_told_apart_by_its_processing_code() -> None:
    both = dialect(changed(messages={"inquiry": ["0200"], "payment": ["0200"]}))
    assert [kind_of(both, Message("0200", {3: code})) for code in ("310000", "500000", "000000")] == ["inquiry", "payment", None]
    assert kind_of(TABLE, Message("0201", PAID)) == "payment" and kind_of(TABLE, Message("0421", PAID)) == "reversal"
    assert [first_sent(mti) for mti in ("0200", "0201", "0421", "0801")] == ["0200", "0200", "0420", "0800"]


def test_a_payment_is_named_by_its_own_fields_and_found_by_field_90() -> None:
    told = named(TABLE, Message("0200", PAID))
    assert told.serial == "0115093130-000004-00001234567--260115000004-TERM0001"
    assert told.parts == {"37": "260115000004", "41": "TERM0001"}
    back = {4: PAID[4], 37: PAID[37], 41: PAID[41], 90: "0200" + "000004" + "0115093130" + "00001234567" + "0" * 11}
    assert original(TABLE, Message("0400", back)) == told
    assert original(TABLE, Message("0400", {90: back[90]})).original == told.original


@pytest.mark.parametrize("text", ["T E/RM 1", "TERM-001"])
def test_a_name_that_is_no_serial_becomes_one(text: str) -> None:
    first, second = (named(TABLE, Message("0200", {**PAID, 41: each})) for each in (text, text.replace("1", "2")))
    assert first.serial.startswith("h-") and len(first.serial) == 50 and first.serial != second.serial
    assert first == named(TABLE, Message("0200", {**PAID, 41: text}))


def test_zeros_before_and_blanks_behind_make_no_other_payment() -> None:
    assert named(TABLE, Message("0200", {**PAID, 32: "00001234567", 33: "000"})) == named(TABLE, Message("0200", PAID))
    short = named(TABLE, Message("0200", {**PAID, 41: "T       "}))
    assert short == named(TABLE, Message("0200", {**PAID, 41: "T"}))


@pytest.mark.parametrize(
    ("text", "now", "found"),
    [
        ("0115093130", datetime(2026, 1, 15), datetime(2026, 1, 15, 9, 31, 30)),
        ("1231235959", datetime(2027, 1, 1), datetime(2026, 12, 31, 23, 59, 59)),
        ("0101000000", datetime(2026, 12, 31), datetime(2027, 1, 1)),
        ("0229120000", datetime(2027, 3, 1), datetime(2028, 2, 29, 12)),
    ],
)
def test_a_moment_without_a_year_lies_in_the_nearest(text: str, now: datetime, found: datetime) -> None:
    assert sent_at(Message("0200", {7: text}), now) == found
    assert sent_at(Message("0200", {7: "0601000000", 13: text[:4], 12: text[4:]}), now) == found


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadMessage, match="no month, day and time"):
        sent_at(Message("0200", {7: "0229120000"}), datetime(2026, 6, 1))
    with pytest.raises(BadMessage, match="no month"):
        settled_on(Message("0200", {15: "1301"}), date(2026, 1, 1))
    assert settled_on(Message("0200", {}), date(2026, 1, 1)) is None
    for ask, fields in ((account, {48: "ACCT="}), (account, {48: "x"}), (currency, {49: "999"}), (account, {})):
        with pytest.raises(BadMessage):
            ask(TABLE, Message("0200", fields))
    with pytest.raises(BadMessage):
        amount(Message("0200", {4: "0" * 12}))


@pytest.mark.parametrize(("balance", "shown"), [(25037, "BAL=000000025037"), (-5, "BAL=-00000000005"), (10**12, ""), (None, "")])
def test_an_answer_says_the_balance_where_it_fits(balance: int | None, shown: str) -> None:
    told = answer(TABLE, Message("0201", {**PAID, 48: "ACCT=1", 39: "99"}, b"h"), "ok", balance)
    assert (told.mti, told.get(39), told.get(48), told.header, told.get(37)) == ("0210", "00", shown, b"h", PAID[37])
