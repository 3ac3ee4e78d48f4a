"""What a partner asks over ISO 8583 and what becomes of it: the same books as over HTTP (contract.md 3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from gateway.adapters.store import Store
from gateway.domain import ledger
from gateway.domain.bank_terms import PartnerTerms, SerialScope
from gateway.domain.ledger import Entry, EntryKind, Leg
from gateway.domain.records import Payment
from gateway.domain.requests import PaymentIdentity
from gateway.domain.units import MICRO
from gateway.services.ports import MoneyHeld, Tx, Unavailable
from gateway.services.post_entry import post_entry
from protocols.bank.iso8583 import Message
from protocols.bank.iso8583_table import dialect
from tests.gateway.adapters.iso8583_line import BANK, SITE, Line, network, settle
from tests.gateway.services.memory_tx import MemoryStore
from tests.protocols.bank.tables import KEY, document, packed

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "prepayment.json").read_text("utf-8"))["iso8583"]["messages"]


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    settle(store)
    return store


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Line]:
    """A line into a real store."""
    with Store.open(str(tmp_path / "store.sqlite3"), inline=True) as store:
        settle(store)
        yield Line(store)


@pytest.fixture
def line(store: MemoryStore) -> Line:
    return Line(store)


def balance(line: Line, name: str = "A-1") -> int:
    """Fen."""
    micro: int = line.store.read_now(lambda tx: tx.balance(ledger.customer(name), "CNY"))
    return micro // 10_000


def payments(line: Line) -> list[Payment]:
    def look(tx: Tx) -> list[Payment]:
        found = [posted.entry.ref for posted in tx.entries(0, 1000) if "serial" in posted.entry.ref]
        both = (tx.payment(PaymentIdentity(ref["bank"], "", ref["scope"], ref["serial"])) for ref in found)
        return [payment for payment in both if payment is not None]

    return line.store.read_now(look)


async def test_a_payment_is_credited_once_and_every_repeat_gets_the_same_answer(line: Line) -> None:
    payment = line.payment(fen=10_000)
    first = await line.send(payment)
    assert first is not None and (first.mti, first.get(39), first.get(48)) == ("0210", "00", "BAL=000000012000")
    assert {n: first.get(n) for n in payment.fields if n != 48} == {n: t for n, t in payment.fields.items() if n != 48}
    again = await line.send(replace(payment, mti="0201"))
    assert again == first and balance(line) == 12_000
    line.again()
    assert await line.send(payment) == first and len(payments(line)) == 1
    [booked] = payments(line)
    assert booked.identity == PaymentIdentity(BANK, "", "", "1121120000-000001-00001234567--261100000001-TERM0001")
    assert (booked.accounting_date, booked.paid_at, booked.channel) == ("2026-11-21", "2026-11-21T04:00:00+00:00", "iso8583")
    assert line.woken == 3 and line.heard == 3


async def test_the_vectors_own_payment_and_reversal_are_understood(store: MemoryStore) -> None:
    line = Line(store, now=lambda: 1_768_440_690_000, dialect=dialect(document(mac={"algorithm": "none"})))  # 2026-01-15
    raw = {vector["name"].split(" (")[0]: vector["raw_ascii"].encode() for vector in VECTORS}
    pay = Message(line.codec.decode(raw["payment 0200"]).message.mti, line.codec.decode(raw["payment 0200"]).message.fields)
    answer = await line.send(replace(pay, fields={**pay.fields, 48: "ACCT=A-1"}))
    assert answer is not None and answer.get(39) == "00"
    answer = await line.raw(raw["reversal 0400 of STAN 000004"])
    assert answer is not None and line.codec.encode(answer) == raw["reversal response 0410"]
    assert balance(line) == 2000 and [each.status for each in payments(line)] == ["reversed"]
    for name, response in (("sign-on 0800", "sign-on response 0810"), ("echo 0800", ""), ("cut-over 0800", "")):
        answer = await line.raw(raw[name])
        assert answer is not None and (answer.mti, answer.get(39)) == ("0810", "00")
        assert not response or line.codec.encode(answer) == raw[response]
    assert line.days == {BANK: date(2026, 1, 16)}


async def test_the_same_trace_with_other_content_is_a_conflict(line: Line) -> None:
    payment = line.payment()
    assert await line.code(payment) == "00"
    for field, text in ((4, "000000006000"), (48, "ACCT=A-2")):
        assert await line.code(Message("0201", {**payment.fields, field: text})) == "94"
    assert balance(line) == 7000 and balance(line, "A-2") == 100


@pytest.mark.parametrize(("field", "text"), [(37, "X99999999999"), (41, "TERM0002"), (33, "99"), (11, "777777"), (7, "1121120001")])
async def test_each_field_of_the_identity_makes_another_payment(line: Line, field: int, text: str) -> None:
    payment = line.payment()
    assert await line.code(payment) == "00"
    assert await line.code(Message("0200", {**payment.fields, field: text})) == "00"
    assert balance(line) == 12_000


async def test_a_partner_of_another_identity_repeats_with_other_times(store: MemoryStore) -> None:
    table = dialect(document(identity={"always": [11, 13, 41], "where_sent": [], "reversal_repeats": [41]}))
    line = Line(store, dialect=table)
    payment = line.payment()
    assert await line.code(payment) == "00"
    assert await line.code(Message("0201", {**payment.fields, 7: "1121120505"})) == "00"
    assert balance(line) == 7000


async def test_a_reversal_takes_back_and_is_answered_so_for_ever(line: Line) -> None:
    payment = line.payment()
    assert await line.code(payment) == "00"
    reversal = line.reversal(payment)
    for mti, answered in (("0400", "0410"), ("0401", "0410"), ("0420", "0430"), ("0421", "0430")):
        answer = await line.send(replace(reversal, mti=mti))
        assert answer is not None and (answer.mti, answer.get(39)) == (answered, "00")
    assert balance(line) == 2000
    assert await line.code(payment) == "25" and balance(line) == 2000
    assert await line.code(line.reversal(payment, f11="888888")) == "00"  # another message about the same payment


@pytest.mark.parametrize("without", [(), (37,), (41,), (37, 41)])
async def test_a_reversal_that_overtakes_its_payment_keeps_it_out(line: Line, without: tuple[int, ...]) -> None:
    payment = line.payment()
    early = line.reversal(payment)
    early = Message(early.mti, {n: text for n, text in early.fields.items() if n not in without})
    assert await line.code(early) == "00"
    for mti in ("0200", "0201", "0200"):
        assert await line.code(replace(payment, mti=mti)) == "25"
    assert await line.code(replace(early, mti="0401")) == "00"
    assert balance(line) == 2000 and payments(line) == []
    assert await line.code(line.payment()) == "00"


@pytest.mark.parametrize("without", [(37,), (41,), (37, 41)])
async def test_field_90_alone_finds_the_original(line: Line, without: tuple[int, ...]) -> None:
    payment = line.payment(f33="42")
    assert await line.code(payment) == "00"
    late = line.reversal(payment)
    assert await line.code(Message("0400", {n: text for n, text in late.fields.items() if n not in without})) == "00"
    assert balance(line) == 2000


async def test_a_reversal_that_fits_two_payments_touches_neither(line: Line) -> None:
    payment = line.payment()
    other = Message("0200", {**payment.fields, 41: "TERM0002"})
    assert await line.code(payment) == await line.code(other) == "00"
    reversal = line.reversal(payment)
    vague = Message("0400", {n: text for n, text in reversal.fields.items() if n != 41 and n != 37})
    assert await line.code(vague) == "30" and balance(line) == 12_000
    assert await line.code(reversal) == "00" and balance(line) == 7000
    assert await line.code(line.reversal(other)) == "00" and balance(line) == 2000


async def test_a_reversal_of_another_amount_is_none(line: Line) -> None:
    payment = line.payment()
    await line.code(payment)
    assert await line.code(line.reversal(payment, f4="000000004999")) == "30"
    assert balance(line) == 7000


async def test_another_partner_s_payment_is_out_of_reach(line: Line, store: MemoryStore) -> None:
    payment = line.payment()
    await line.code(payment)
    stranger = Line(store, terms=PartnerTerms("abc"))
    assert await stranger.code(stranger.reversal(payment)) == "00"  # a tombstone of its own
    assert balance(line) == 7000
    assert await stranger.code(payment) == "25" and balance(line) == 7000


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({48: "ACCT=A-9"}, "14"), ({48: "ACCT=A-3"}, "78"), ({49: "840"}, "12"), ({4: "099999999999"}, "13"),
        ({4: "000000000000"}, "30"), ({49: "999"}, "30"), ({48: "A-1"}, "30"), ({7: "1331120000"}, "00"), ({13: "0230"}, "30"),
        ({15: "1125"}, "30"), ({15: "1122"}, "00"), ({15: "1120"}, "00"), ({3: "310000"}, "12"), ({3: "999999"}, "12"),
    ],
)  # fmt: skip
async def test_what_is_refused_has_its_code_and_is_refused_again(line: Line, change: dict[int, str], code: str) -> None:
    payment = Message("0200", {**line.payment().fields, **change})
    assert await line.code(payment) == await line.code(payment) == code
    assert balance(line) == (7000 if code == "00" else 2000)


async def test_a_refusal_on_the_merits_stays_and_one_for_its_form_does_not(line: Line) -> None:
    payment = line.payment(account="A-9")
    assert await line.code(payment) == "14"
    assert await line.code(Message("0200", {**payment.fields, 48: "ACCT=A-1"})) == "14"
    other = line.payment(f15="1201")
    assert await line.code(other) == "30"
    assert await line.code(Message("0200", {**other.fields, 15: "1121"})) == "00"


async def test_a_wrong_mac_moves_nothing_and_is_no_sign_of_life(line: Line) -> None:
    payment = line.payment()
    for key in (KEY[::-1], None):
        assert await line.code(payment, key) == "A0"
        assert await line.code(line.reversal(payment), key) == "A0"
    for key in (KEY[::-1],):
        assert await line.code(network("301"), key) == "A0"
    data = bytearray(line.codec.encode(payment, KEY))
    data[data.index(b"ACCT=A-1") + 7] ^= 1
    answer = await line.raw(bytes(data))
    assert answer is not None and answer.get(39) == "A0"
    assert balance(line) == 2000 and line.heard == 0 and payments(line) == []
    assert line.partner.counted.answered == {"mac": 6}
    assert await line.code(payment) == "00"  # the same payment, rightly sealed, is the first of its name


async def test_keys_change_without_a_restart(line: Line) -> None:
    new = bytes(range(16))
    line.keys.insert(0, new)
    assert await line.code(line.payment(), KEY) == await line.code(line.payment(), new) == "00"
    line.keys.pop()
    assert await line.code(line.payment(), KEY) == "A0"


async def test_network_messages_need_no_mac_and_are_heard(line: Line) -> None:
    for code in ("001", "301", "002"):
        assert await line.code(network(code), None) == await line.code(network(code)) == "00"
    assert line.heard == 6
    assert await line.code(network("161"), None) == "12"


async def test_a_cut_over_has_a_mac_like_the_payments_that_it_dates(line: Line) -> None:
    assert await line.code(network("201", f15="1122"), None) == "A0" and BANK not in line.days and line.heard == 0
    assert await line.code(network("201", f15="1122")) == "00"


async def test_a_cut_over_moves_the_accounting_date_and_outlives_a_restart(line: Line) -> None:
    assert await line.code(network("201", f15="1122")) == "00"
    assert await line.code(line.payment()) == "00"
    assert payments(line)[0].accounting_date == "2026-11-22"
    kept = line.store.read_now(lambda tx: tx.meta("iso8583_day:" + BANK))
    assert kept == "2026-11-22"
    assert await line.code(network("201", f15="1130")) == "30" and line.days[BANK] == date(2026, 11, 22)


async def test_a_cut_over_of_long_ago_is_no_date_for_today(line: Line) -> None:
    line.days[BANK] = date(2026, 11, 19)
    assert await line.code(line.payment()) == "00" and payments(line)[0].accounting_date == "2026-11-21"


async def test_around_new_year_days_lie_in_the_nearest_year(store: MemoryStore) -> None:
    line = Line(store, now=lambda: 1_798_732_740_000)  # 2026-12-31T15:59 UTC, 23:59 in Shanghai
    payment = line.payment(f7="1231235859", f12="000001", f13="0101", f15="0101")
    assert await line.code(payment) == "00"
    [booked] = payments(line)
    assert (booked.accounting_date, booked.paid_at) == ("2027-01-01", "2026-12-31T16:00:01+00:00")


async def test_before_sign_on_and_after_sign_off_only_reversals_are_taken(store: MemoryStore) -> None:
    line = Line(store, sign_on=True)
    payment = line.payment()
    assert await line.code(payment) == "91"
    assert await line.code(network("001")) == "00" and await line.code(payment) == "00"
    assert await line.code(network("002")) == "00"
    assert await line.code(line.payment()) == "91" and await line.code(inquiry()) == "91"
    assert await line.code(line.reversal(payment)) == "00" and balance(line) == 2000


def inquiry(account: str = "A-1") -> Message:
    return Message("0100", {3: "310000", 7: "1121120000", 11: "000777", 32: "1234567", 48: f"ACCT={account}", 49: "156"})


async def test_an_inquiry_tells_the_balance_and_moves_nothing(line: Line) -> None:
    answer = await line.send(inquiry())
    assert answer is not None and (answer.mti, answer.get(39), answer.get(48)) == ("0110", "00", "BAL=000000002000")
    assert await line.code(inquiry("A-9")) == "14"
    assert await line.code(Message("0100", {**inquiry().fields, 49: "840"})) == "12"
    assert await line.code(inquiry(), None) == "A0"


async def test_a_debt_has_a_sign(line: Line) -> None:
    payment = line.payment(account="A-2")
    await line.code(payment)
    line.store.write_now(lambda tx: spend(tx, 60 * MICRO))
    await line.code(line.reversal(payment))
    answer = await line.send(inquiry("A-2"))
    assert answer is not None and answer.get(48) == "BAL=-00000005900"


def spend(tx: Tx, micro: int) -> None:
    legs = (Leg(ledger.customer("A-2"), -micro), Leg("revenue:energy", micro))
    post_entry(tx, Entry(EntryKind.CHARGE, "CNY", legs, 1_795_233_600_000, {}))


async def test_who_is_not_the_institution_agreed_on_is_refused(store: MemoryStore) -> None:
    line = Line(store, institutions=frozenset({"00000000042"}))
    assert await line.code(line.payment()) == "03" and balance(line) == 2000
    assert await line.code(line.payment(f32="42")) == "00"


async def test_unknown_messages_fields_and_answers(line: Line) -> None:
    assert await line.code(Message("0600", line.payment().fields)) == "12"
    assert await line.code(Message("0800", {7: "1121120000", 11: "000001", 70: "999"})) == "12"
    for mti in ("0210", "0410", "0810", "0230", "0240"):
        assert await line.send(Message(mti, line.payment().fields)) is None
    bitmap = b"0000000800000000"
    unknown = await line.raw(b"0200" + b"0220000800000000" + b"1121120000" + b"000009" + b"1")
    assert unknown is not None and (unknown.mti, unknown.get(39), unknown.get(11)) == ("0210", "30", "000009")
    assert await line.raw(b"0210" + bitmap) is None and await line.raw(b"") is None and await line.raw(b"\xff" * 30) is None


@pytest.mark.parametrize("number", [90, 4, 49, 7, 11])
async def test_a_reversal_without_what_it_needs_is_refused_by_its_form(line: Line, number: int) -> None:
    payment = line.payment()
    await line.code(payment)
    whole = line.reversal(payment)
    code = await line.code(Message("0400", {n: text for n, text in whole.fields.items() if n != number}))
    assert code == ("00" if number == 11 else "30")
    assert balance(line) == (2000 if number == 11 else 7000)


async def test_a_reversal_of_what_is_no_payment_is_refused(line: Line) -> None:
    payment = line.payment()
    told = line.reversal(payment)
    assert await line.code(Message("0400", {**told.fields, 90: "0800" + told.get(90)[4:]})) == "30"


async def test_serials_by_the_day_are_found_by_field_90_too(store: MemoryStore) -> None:
    line = Line(store, terms=PartnerTerms(BANK, serial_scope=SerialScope.ACCOUNTING_DATE))
    payment = line.payment(f15="1120")
    assert await line.code(payment) == "00"
    assert payments(line)[0].identity.scope == "2026-11-20"
    assert await line.code(line.reversal(payment, f15="1121")) == "00" and balance(line) == 2000
    early = line.payment(f15="1120")
    assert await line.code(line.reversal(early, f15="1121")) == "00"
    assert await line.code(early) == "25" and balance(line) == 2000


async def test_in_the_no_trade_window_what_is_known_is_answered_and_nothing_new_is_taken(store: MemoryStore) -> None:
    line = Line(store)
    paid = line.payment()
    assert await line.code(paid) == "00"
    window = PartnerTerms(BANK, no_trade=(11 * 60, 13 * 60))
    line.site_now = lambda: replace(SITE, banks={BANK: window})
    assert await line.code(paid) == "00"
    waits = line.payment()
    assert await line.code(waits) == "90"
    line.site_now = lambda: SITE
    assert await line.code(waits) == "00" and balance(line) == 12_000


@pytest.mark.parametrize(("trouble", "code"), [(Unavailable("full"), None), (MoneyHeld("restored"), "90")])
async def test_a_store_that_cannot_say_is_silence_and_a_held_one_says_so(
    line: Line, monkeypatch: pytest.MonkeyPatch, trouble: Exception, code: str | None
) -> None:
    async def fail(usecase: Callable[[Tx], object]) -> object:
        raise trouble

    monkeypatch.setattr(line, "write", fail)
    for message in (line.payment(), line.reversal(line.payment())):
        answer = await line.send(message)
        assert (None if answer is None else answer.get(39)) == code


async def test_whoever_waits_too_long_hears_nothing_and_the_posting_goes_on(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, write = asyncio.Event(), line.store.write

    async def slow(usecase: Callable[[Tx], object]) -> object:
        await gate.wait()
        return await write(usecase)

    monkeypatch.setattr(line, "write", slow)
    monkeypatch.setattr("gateway.adapters.iso8583_partner.ANSWER_WITHIN_S", 0.01)
    payment = line.payment()
    assert await line.send(payment) is None and balance(line) == 2000
    gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert balance(line) == 7000 and await line.code(payment) == "00" and balance(line) == 7000


async def test_another_dialect_has_the_same_books(store: MemoryStore) -> None:
    line = Line(store, dialect=packed())
    payment = replace(line.payment(f15="1121"), header=b"\x60\x00\x01\x00\x00")
    answer = await line.send(payment)
    assert answer is not None and answer.header == payment.header and answer.get(39) == "00"
    assert await line.code(replace(line.reversal(payment), header=payment.header)) == "00" and balance(line) == 2000


async def test_many_at_once_are_each_credited_once(disk: Line) -> None:
    sent = [disk.payment(fen=100) for _ in range(20)]
    answers = await asyncio.gather(*(disk.code(each) for each in sent * 5))
    assert set(answers) == {"00"} and balance(disk) == 2000 + 2000 and len(payments(disk)) == 20


async def test_a_real_store_remembers_traces_across_a_restart_of_the_line(disk: Line) -> None:
    paid, early = disk.payment(), disk.payment()
    assert await disk.code(paid) == await disk.code(disk.reversal(early)) == "00"
    disk.again()
    vague = Message("0400", {n: text for n, text in disk.reversal(paid).fields.items() if n not in (37, 41)})
    assert await disk.code(vague) == "00" and await disk.code(paid) == await disk.code(early) == "25"
    assert balance(disk) == 2000
