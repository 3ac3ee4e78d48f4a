"""A partner with other MTIs, codes and places has the same books: nothing is hard-wired. And repeats until they are answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.domain.bank_terms import Limits, PartnerTerms
from gateway.domain.units import MICRO
from gateway.services.ports import Tx, Unavailable
from protocols.bank.iso8583 import Message
from protocols.bank.iso8583_table import RESULTS, dialect
from tests.gateway.adapters.iso8583_line import BANK, SITE, Line, network, settle
from tests.gateway.adapters.test_iso8583 import balance
from tests.gateway.services.memory_tx import MemoryStore
from tests.protocols.bank.tables import document


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    settle(store)
    return store


@pytest.fixture
def line(store: MemoryStore) -> Line:
    return Line(store)


def other() -> dict[str, object]:
    """Inquiries are 0200 with another field 3, reversals 0420 only; other codes of fields 70 and 39; the account in field 2."""
    codes = {name: f"{number:02d}" for number, name in enumerate(RESULTS)} | {"ok": "ZZ", "format": "X1"}
    return document(
        messages={"network": ["0820"], "inquiry": ["0200"], "payment": ["0200"], "reversal": ["0420"]},
        processing={"inquiry": ["300000"], "payment": ["190000", "190001"]},
        network={"sign_on": ["061"], "sign_off": ["062"], "cut_over": ["065"], "echo": ["270", "271"]},
        account={"field": 102, "prefix": ""}, balance={"field": 54, "prefix": "", "digits": 12}, result=codes,
        currency={"001": "CNY"},
    )  # fmt: skip


async def test_a_partner_with_everything_elsewhere(store: MemoryStore) -> None:
    line = Line(store, dialect=dialect(other()), sign_on=True)
    fields = {n: text for n, text in line.payment().fields.items() if n not in (3, 48, 49)}
    pay = Message("0200", {**fields, 3: "190001", 49: "001", 102: "A-1"})
    ask = Message("0200", {**pay.fields, 3: "300000"})
    codes = line.dialect.results
    assert await line.code(pay) == codes["not_signed_on"]
    assert await line.code(network("001")) == codes["unknown_message"], "0800 is none of this partner's"
    assert await line.code(Message("0820", network("061").fields)) == "ZZ"
    answer = await line.send(ask)
    assert answer is not None and (answer.mti, answer.get(39), answer.get(54)) == ("0210", "ZZ", "000000002000")
    answer = await line.send(replace(pay, mti="0201"))
    assert answer is not None and (answer.mti, answer.get(39), answer.get(54)) == ("0210", "ZZ", "000000007000")
    assert await line.code(Message("0200", {**pay.fields, 3: "500000"})) == codes["unknown_message"]
    assert await line.code(Message("0200", {**pay.fields, 49: "156"})) == "X1", "a currency of other tables"
    reversal = line.reversal(pay)
    assert await line.code(reversal) == codes["unknown_message"], "0400 is none of its messages"
    assert await line.code(replace(reversal, mti="0421")) == "ZZ" and balance(line) == 2000
    assert await line.code(pay) == codes["reversed"]
    assert [await line.code(Message("0820", network(code).fields)) for code in ("271", "062")] == ["ZZ", "ZZ"]


async def test_repeats_go_on_until_they_are_answered_and_then_say_what_is(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    payment = line.payment()
    reversal = line.reversal(payment)

    async def away(usecase: Callable[[Tx], object]) -> object:
        raise Unavailable("no store")

    async def unheard(message: Message, *mtis: str) -> None:
        with monkeypatch.context() as broken:
            broken.setattr(line, "write", away)
            assert [await line.send(replace(message, mti=mti)) for mti in mtis] == [None] * len(mtis)

    await unheard(payment, "0200", "0201", "0201")
    assert await line.code(replace(payment, mti="0201")) == "00" and balance(line) == 7000
    await unheard(reversal, "0400", "0401", "0420", "0421", "0421")
    assert await line.code(replace(reversal, mti="0421")) == "00" and balance(line) == 2000
    await unheard(payment, "0201")
    assert await line.code(replace(payment, mti="0201")) == "25"


async def test_a_reversal_repeated_until_answered_finds_the_payment_that_comes_between(line: Line) -> None:
    """0400 is lost on its way, 0200 comes late, 0401 comes: the payment is undone, and a later repeat of it stays out."""
    payment = line.payment()
    assert await line.code(payment) == "00"
    assert await line.code(line.reversal(payment, "0401")) == "00" and balance(line) == 2000
    assert await line.code(replace(payment, mti="0201")) == "25"


@pytest.mark.parametrize(("first", "answered"), [("0101", "0110"), ("0801", "0810")])
async def test_repeats_of_questions_are_questions(line: Line, first: str, answered: str) -> None:
    asks = {3: "310000", 7: "1121120000", 11: "000777", 32: "1234567", 48: "ACCT=A-1", 49: "156"}
    message = Message(first, asks) if first == "0101" else replace(network("301"), mti=first)
    answer = await line.send(message)
    assert answer is not None and (answer.mti, answer.get(39)) == (answered, "00")


async def test_a_bank_s_limits_hold_on_this_line_too(store: MemoryStore) -> None:
    terms = PartnerTerms(BANK, limits=Limits(payment_micro=40 * MICRO), channels={"iso8583": Limits(account_day_count=1)})
    line = Line(store, terms=terms, site_now=lambda: replace(SITE, banks={BANK: terms}))
    over = line.payment(fen=4001)
    assert await line.code(over) == await line.code(over) == line.dialect.results["amount_out_of_range"]
    assert await line.code(line.payment(fen=4000)) == "00"
    assert await line.code(line.payment(fen=100)) == line.dialect.results["limit_exceeded"]
    assert await line.code(line.payment("A-2", fen=100)) == "00" and balance(line) == 6000
