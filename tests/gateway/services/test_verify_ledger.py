"""The verifier finds each kind of tampering (prepayment.md "What we decided" 8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from gateway.domain.ledger import Entry, EntryKind, Leg, post
from gateway.domain.price_list import Rate
from gateway.domain.readings import Registers
from gateway.services.ports import Tx
from gateway.services.post_entry import post_entry
from gateway.services.verify_ledger import PAGE, verify_ledger
from tests.gateway.services.house import House, account, meter
from tests.gateway.services.memory_tx import MemoryStore, MemoryTx


def books() -> tuple[House, MemoryTx]:
    """An opening, a charge, a top-up, and another charge; a second meter that used nothing."""
    store = MemoryStore()
    house = House(store)
    house.settle(meter("m1"), meter("m2"), balance="100").block("m2", "5.00")
    house.exhaust(total="1.00")
    house.topup("50.00")
    house.later(minutes=1).block(total="3.00")
    return house, store.tx


def test_sound_books(house: House) -> None:
    house.settle(balance="100").exhaust(total="1.00")
    house.topup("50.00")
    assert house.do(verify_ledger) == (3, None)


def test_an_empty_journal_is_sound(house: House) -> None:
    assert house.do(verify_ledger) == (0, None)


def change(number: int, **changes: object) -> Callable[[MemoryTx], None]:
    def tamper(tx: MemoryTx) -> None:
        posted = tx.journal[number - 1]
        entry = replace(posted.entry, **changes)  # type: ignore[arg-type]
        tx.journal[number - 1] = replace(posted, entry=entry)

    return tamper


def rechained(number: int, **changes: object) -> Callable[[MemoryTx], None]:
    """Whoever changes an entry may also compute all later hashes anew, and the balances with them."""

    def tamper(tx: MemoryTx) -> None:
        entries = [posted.entry for posted in tx.journal]
        entries[number - 1] = replace(entries[number - 1], **changes)  # type: ignore[arg-type]
        tx.journal.clear()
        tx.sums.clear()
        for entry in entries:
            post_entry(tx, entry)

    return tamper


def dropped(number: int) -> Callable[[MemoryTx], None]:
    return lambda tx: tx.journal.pop(number - 1) and None


def swapped(tx: MemoryTx) -> None:
    tx.journal[1], tx.journal[2] = tx.journal[2], tx.journal[1]


def moved(account_: str, micro: int) -> Callable[[MemoryTx], None]:
    def tamper(tx: MemoryTx) -> None:
        tx.sums[("CNY", account_)] = tx.sums.get(("CNY", account_), 0) + micro

    return tamper


def billed_to(meter_: str, wh: int) -> Callable[[MemoryTx], None]:
    def tamper(tx: MemoryTx) -> None:
        known = tx.billings[meter_]
        tx.billings[meter_] = replace(known, confirmed=Registers(0, {"energy_import": wh}))

    return tamper


def began_at(meter_: str, wh: int) -> Callable[[MemoryTx], None]:
    def tamper(tx: MemoryTx) -> None:
        tx.billings[meter_] = replace(tx.billings[meter_], first_wh=wh)

    return tamper


def doubled_topup(tx: MemoryTx) -> None:
    post_entry(tx, tx.journal[2].entry)


def doubled_charge(tx: MemoryTx) -> None:
    post_entry(tx, tx.journal[1].entry)


def without_payment(tx: MemoryTx) -> None:
    tx.payments.clear()


def generous(tx: MemoryTx) -> None:
    for identity, payment in tx.payments.items():
        tx.payments[identity] = replace(payment, amount_micro=payment.amount_micro - 1)


def forged(tx: MemoryTx) -> None:
    legs = (Leg("customer:A-1", 1), Leg("bank:bank", -1))
    tx.journal.append(post(Entry(EntryKind.OPENING, "CNY", legs, 0, {}), 4, "0" * 64))


CHARGE_LEGS = (Leg("customer:A-1", -1), Leg("revenue:energy", 1))

TAMPERED: list[tuple[str, Callable[[MemoryTx], None], str]] = [
    ("an amount was changed", change(2, legs=CHARGE_LEGS), "entry 2 was changed"),
    ("a time was changed", change(3, at_ms=0), "entry 3 was changed"),
    ("a reference was changed", change(4, ref={}), "entry 4 was changed"),
    ("the currency was changed", change(1, currency="EUR"), "entry 1 was changed"),
    ("an entry is missing", dropped(2), "after entry 1 comes entry 3"),
    ("the first entry is missing", dropped(1), "after entry 0 comes entry 2"),
    ("the last entry is missing", dropped(4), "customer:A-1 shows"),
    ("two entries were swapped", swapped, "after entry 1 comes entry 3"),
    ("an entry of another chain", forged, "entry 5 is not chained"),
    ("a balance was raised", moved("customer:A-1", 1), "customer:A-1 shows"),
    ("a balance out of nothing", moved("customer:A-2", 5), "customer:A-2 shows 5"),
    ("the billing is ahead", billed_to("m1", 4000), "m1 is billed to 3000 Wh in the ledger, but its billing stands at 4000"),
    ("the billing is behind", billed_to("m1", 1000), "m1 is billed to 3000 Wh in the ledger, but its billing stands at 1000"),
    ("energy of a meter never charged", billed_to("m2", 9000), "m2 is billed to 5000 Wh in the ledger, but its billing stands"),
    ("the bill began elsewhere", began_at("m1", 500), "m1 is billed from 0 Wh in the ledger, but its bill began at 500"),
    ("a payment posted twice", doubled_topup, "entry 5 tops up by bank S-1, but that payment is not posted by it"),
    ("energy charged twice", doubled_charge, "entry 5 bills meter m1 from 0 Wh, but it was billed to 3000 Wh"),
    ("a top-up without payment", without_payment, "entry 3 tops up by bank S-1"),
    ("a payment of another amount", generous, "entry 3 does not credit what bank S-1 paid"),
    (
        "a charge without its references, the whole chain forged",
        rechained(4, ref={}),
        "entry 4 is no charge: 'meter' is missing",
    ),
    (
        "energy left out, the whole chain forged",
        rechained(4, ref={"meter": "m1", "energy_import": "2000-3000"}),
        "entry 4 bills meter m1 from 2000 Wh, but it was billed to 1000 Wh",
    ),
]


@pytest.mark.parametrize(("what", "tamper", "finding"), TAMPERED, ids=[t[0] for t in TAMPERED])
def test_what_is_wrong_is_found(what: str, tamper: Callable[[MemoryTx], None], finding: str) -> None:
    house, tx = books()
    assert house.verified() is None
    tamper(tx)
    assert finding in (house.verified() or "nothing found")


@pytest.mark.parametrize("forged_end", [None, (3, "0" * 64)], ids=["the end as it was", "another hash"])
def test_a_tail_cut_off_together_with_its_balances_is_found(forged_end: tuple[int, str] | None) -> None:
    _, tx = books()
    end = forged_end or tx.journal_end()
    *entries, last = (posted.entry for posted in tx.journal)

    class Shortened(MemoryTx):
        def journal_end(self) -> tuple[int, str]:
            """The store keeps it beside the journal."""
            return end

    shortened = Shortened(**vars(tx))
    tx.journal.clear()
    tx.sums.clear()
    for entry in entries:
        post_entry(tx, entry)
    billed_to(last.ref["meter"], 1000)(tx)
    assert "1000 Wh of 1970-01-01 single are charged, and 3000 Wh stand as used" in (verify_ledger(tx)[1] or "")
    [(key, use)] = tx.uses.items()
    tx.uses[key] = replace(use, tranches=(replace(use.tranches[0], total_wh=1000, wh={Rate.SINGLE: 1000}),))
    assert verify_ledger(tx) == (3, None)
    assert "the journal stops at entry 3" in (verify_ledger(shortened)[1] or "")


def test_a_long_journal_is_read_in_pages(house: House) -> None:
    house.settle(accounts=[account()])
    legs = (Leg("customer:A-1", 1), Leg("equity:opening", -1))

    def many(tx: Tx) -> None:
        for _ in range(PAGE + 1):
            post_entry(tx, Entry(EntryKind.OPENING, "CNY", legs, 0, {}))

    house.do(many)
    assert house.do(verify_ledger) == (PAGE + 1, None)
