"""Planted corruptions of books that hold everything a ledger can: the verifier names the right entry for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from gateway.domain import ledger
from gateway.domain.ledger import Entry, EntryKind, JournalRow, Leg, customer, post
from gateway.domain.transfers import Transfer, TransferState
from gateway.services import transfer
from gateway.services.close_period import balance_period, close_period
from gateway.services.correct_entry import correct
from gateway.services.post_entry import post_entry
from gateway.services.verify_ledger import verify_ledger
from tests.gateway.services.house import House
from tests.gateway.services.memory_tx import MemoryStore, MemoryTx

A1 = customer("A-1")
TO_METER = "undelivered:A-1"
OPENING, CHARGE, TOPUP, WRONG, REVERSAL, CORRECTION, BEGUN, POSTED, BEGUN_2, VOIDED, DEBT, RECOVERY, CLOSING, LATER, BEGUN_3 = (
    range(1, 16)
)
"""Numbers of the entries of the books."""


def moving(ident: str, micro: int, house: House) -> Transfer:
    return Transfer(ident, "A-1", "CNY", micro, A1, TO_METER, house.now_ms, house.now_ms + 1000)


def full_books() -> tuple[House, MemoryTx]:
    """One entry of each number above."""
    store = MemoryStore()
    house = House(store)
    house.settle(balance="100").exhaust(total="1.00")
    house.topup("50.00")
    house.later(minutes=1).block(total="3.00")
    cheaper = (Leg(A1, -700_000), Leg("revenue:energy", 700_000))
    why = {"by": "li", "reason": "the tariff of that day"}
    line = {"line:energy_import": "1000-3000@350000=700000"}
    house.do(lambda tx: correct(tx, WRONG, cheaper, line, why, house.now_ms))
    house.do(lambda tx: transfer.begin(tx, moving("t1", 5_000_000, house)))
    house.do(lambda tx: transfer.post(tx, "t1", house.now_ms, {"count": "7"}))
    house.do(lambda tx: transfer.begin(tx, moving("t2", 1_000_000, house)))
    house.later(s=5)
    assert house.do(lambda tx: transfer.expire_due(tx, house.now_ms)) == 1
    house.do(lambda tx: post_entry(tx, ledger.indebted("A-1", "CNY", 3_000_000, house.now_ms, {"from": "of old"})))
    house.do(lambda tx: post_entry(tx, ledger.debt_recovery("A-1", "CNY", 1_000_000, house.now_ms, {"of": "S-1"})))
    close(house)
    house.topup("20.00", serial="S-2")
    house.do(lambda tx: transfer.begin(tx, moving("t3", 2_000_000, house)))
    return house, store.tx


def close(house: House) -> None:
    house.later(s=1)
    books = house.do(lambda tx: balance_period(tx, house.now_ms))
    assert books is not None
    house.do(lambda tx: close_period(tx, books, house.now_ms))


Mutant = Callable[[MemoryTx], None]


def reforged(number: int, make: Callable[[Entry], Entry | None]) -> Mutant:
    """An entry is changed, and all hashes, balances and running balances are computed anew: only what it means can tell.

    None leaves it out.
    """

    def mutate(tx: MemoryTx) -> None:
        kept = [make(p.entry) if p.number == number else p.entry for p in tx.journal]
        tx.journal.clear()
        tx.sums.clear()
        tx.afters.clear()
        for entry in kept:
            if entry is not None:
                tx.add_entry(post(entry, *tx.journal_end()))

    return mutate


def legs(*sides: tuple[str, int]) -> Callable[[Entry], Entry]:
    return lambda entry: replace(entry, legs=tuple(Leg(account, micro) for account, micro in sides))


def ref(**changes: str) -> Callable[[Entry], Entry]:
    return lambda entry: replace(entry, ref={**entry.ref, **changes})


def plain(number: int, make: Callable[[Entry], Entry]) -> Mutant:
    """Changed where it stands, nothing else."""

    def mutate(tx: MemoryTx) -> None:
        posted = tx.journal[number - 1]
        tx.journal[number - 1] = replace(posted, entry=make(posted.entry))

    return mutate


def appended(make: Callable[[MemoryTx], Entry]) -> Mutant:
    return lambda tx: tx.add_entry(post(make(tx), *tx.journal_end()))


def running(number: int, position: int, by: int) -> Mutant:
    def mutate(tx: MemoryTx) -> None:
        after = [*tx.afters[number]]
        after[position] += by
        tx.afters[number] = (*after,)

    return mutate


def of_payment(serial: str, **changes: object) -> Mutant:
    def mutate(tx: MemoryTx) -> None:
        [identity] = [identity for identity in tx.payments if identity.serial == serial]
        tx.payments[identity] = replace(tx.payments[identity], **changes)  # type: ignore[arg-type]

    return mutate


def of_transfer(ident: str, **changes: object) -> Mutant:
    def mutate(tx: MemoryTx) -> None:
        tx.kept_transfers[ident] = replace(tx.kept_transfers[ident], **changes)  # type: ignore[arg-type]

    return mutate


def forgotten_payment(tx: MemoryTx) -> None:
    tx.payments = {identity: payment for identity, payment in tx.payments.items() if identity.serial != "S-2"}


def twice_paid(tx: MemoryTx) -> None:
    """The same payment under another serial, said to be posted by the same entry."""
    [identity] = [identity for identity in tx.payments if identity.serial == "S-2"]
    other = replace(identity, serial="S-3")
    tx.payments[other] = replace(tx.payments[identity], identity=other)


def twice_paid_by(number: int) -> Mutant:
    def mutate(tx: MemoryTx) -> None:
        twice_paid(tx)
        of_payment("S-3", entry=number)(tx)

    return mutate


def lost_transfer(tx: MemoryTx) -> None:
    del tx.kept_transfers["t2"]


def swapped_entries(tx: MemoryTx) -> None:
    tx.journal[CHARGE - 1], tx.journal[TOPUP - 1] = tx.journal[TOPUP - 1], tx.journal[CHARGE - 1]


def left_out(tx: MemoryTx) -> None:
    del tx.journal[DEBT - 1]


def unlisted_reversal(tx: MemoryTx) -> None:
    tx.kept_reversals.clear()


def other_state(tx: MemoryTx) -> None:
    closing, state = tx.kept_closings[CLOSING]
    tx.kept_closings[CLOSING] = (closing, state.replace('"CNY","customer:A-1",', '"CNY","customer:A-1",1'))


def unlisted_closing(tx: MemoryTx) -> None:
    tx.kept_closings.clear()


def again(number: int) -> Callable[[MemoryTx], Entry]:
    return lambda tx: tx.journal[number - 1].entry


def end_of(ident: str, number: int, kind: EntryKind) -> Callable[[MemoryTx], Entry]:
    """A second end of a transfer, taken from what the customer has."""

    def make(tx: MemoryTx) -> Entry:
        entry = tx.journal[number - 1].entry
        return replace(entry, kind=kind, ref={**entry.ref, "transfer": ident})

    return make


MUTANTS: list[tuple[str, Mutant, str]] = [
    ("an amount changed", plain(CHARGE, legs((A1, -1), ("revenue:energy", 1))), "entry 2 was changed"),
    ("legs swapped", plain(TOPUP, lambda e: replace(e, legs=e.legs[::-1])), "entry 3 was changed"),
    ("a kind changed", plain(DEBT, lambda e: replace(e, kind=EntryKind.OPENING)), "entry 11 was changed"),
    ("an entry left out", left_out, "after entry 10 comes entry 12"),
    ("two entries swapped", swapped_entries, "after entry 1 comes entry 3"),
    ("a running balance", running(RECOVERY, 1, 1), "entry 12 says that customer:A-1 then has"),
    (
        "forged: a payment's amount",
        reforged(TOPUP, legs((A1, 40_000_000), ("bank:bank", -40_000_000))),
        "entry 3 does not credit what",
    ),
    (
        "forged: a payment to another account",
        reforged(TOPUP, legs(("customer:A-9", 50_000_000), ("bank:bank", -50_000_000))),
        "entry 3 does not credit what",
    ),
    ("forged: a payment's serial", reforged(LATER, ref(serial="S-9")), "entry 14 tops up by bank S-9, but"),
    ("a payment posted twice", appended(again(TOPUP)), "entry 16 tops up by bank S-1, but"),
    ("a payment is gone", forgotten_payment, "entry 14 tops up by bank S-2, but"),
    ("a payment says another amount", of_payment("S-1", amount_micro=1), "entry 3 does not credit what"),
    ("a payment says another entry", of_payment("S-1", entry=DEBT), "entry 3 tops up by bank S-1, but"),
    ("a payment of another currency", of_payment("S-2", currency="EUR"), "entry 14 does not credit what"),
    (
        "a payment claims a charge",
        twice_paid_by(CHARGE),
        "entry 2 is no top-up, but bank S-3",
    ),
    ("two payments of one entry", twice_paid, "entry 14 tops up by bank S-2, but"),
    ("a payment of another day", of_payment("S-2", accounting_date="2026-11-23"), "entry 14 is of 2026-11-24, but bank S-2 says"),
    (
        "a payment of no entry",
        twice_paid_by(99),
        "bank bank has for 2026-11-24 payments of 90000000 micro-CNY, entries of 70000000",
    ),
    (
        "forged: a charge without its lines' sum",
        reforged(CHARGE, legs((A1, -400_000), ("revenue:energy", 400_000))),
        "entry 2 books 400000 micro-CNY, but its lines add up to 500000",
    ),
    ("forged: energy left out", reforged(WRONG, ref(energy_import="1500-3000")), "entry 4 bills meter m1 from 1500 Wh, but"),
    ("energy charged twice", appended(again(CHARGE)), "entry 16 bills meter m1 from 0 Wh, but it was billed to 3000 Wh"),
    ("forged: a line that is none", reforged(CHARGE, ref(**{"line:energy_import": "much"})), "entry 2 is no charge"),
    (
        "forged: a reversal of another amount",
        reforged(REVERSAL, legs((A1, 999), ("revenue:energy", -999))),
        "entry 5 does not reverse entry 4 exactly",
    ),
    ("forged: a reversal of something else", reforged(REVERSAL, ref(reverses="2")), "entry 5 does not reverse entry 2 exactly"),
    ("forged: a reversal of a later one", reforged(REVERSAL, ref(reverses="9")), "entry 5 reverses entry 9, which is none"),
    ("reversed twice", appended(again(REVERSAL)), "entry 16 reverses entry 4, which entry 5 reversed already"),
    ("a reversal that is not listed", unlisted_reversal, "entry 5 and the list of reversals do not agree"),
    ("corrected twice", appended(again(CORRECTION)), "entry 16 corrects entry 4, which is not reversed, or has"),
    (
        "forged: a correction of other energy",
        reforged(CORRECTION, ref(energy_import="0-1")),
        "entry 6 corrects entry 4, but is not about",
    ),
    (
        "forged: a correction without its link",
        reforged(CORRECTION, ref(reversal="2")),
        "entry 6 corrects entry 4, which is not reversed",
    ),
    (
        "forged: a transfer's end of another amount",
        reforged(POSTED, legs((TO_METER, 6), ("pending:t1", -6))),
        "entry 8 ends transfer t1 with",
    ),
    (
        "forged: a transfer that went elsewhere",
        reforged(POSTED, legs(("customer:A-9", 5_000_000), ("pending:t1", -5_000_000))),
        "entry 8 does not move the transfer's money from pending:t1 to undelivered:A-1",
    ),
    (
        "a transfer ended twice",
        appended(end_of("t1", POSTED, EntryKind.TRANSFER_POSTED)),
        "entry 16 ends transfer t1, which is not under way",
    ),
    (
        "a voided transfer posted",
        appended(end_of("t2", POSTED, EntryKind.TRANSFER_POSTED)),
        "entry 16 ends transfer t2, which is not",
    ),
    ("a transfer begun twice", appended(again(BEGUN_3)), "entry 16 begins transfer t3, which entry 15 began already"),
    (
        "a transfer says it was voided",
        of_transfer("t1", state=TransferState.VOIDED),
        "entry 8 and the list of transfers do not agree",
    ),
    ("a transfer of another amount", of_transfer("t3", micro=1), "entry 15 and the list of transfers do not agree"),
    ("a transfer is gone", lost_transfer, "entry 9 and the list of transfers do not agree"),
    (
        "forged: more recovered than was owed",
        reforged(RECOVERY, legs(("debt:A-1", 9_000_000), (A1, -9_000_000))),
        "entry 12 leaves debt:A-1",
    ),
    ("forged: a closing with another digest", reforged(CLOSING, ref(digest="0" * 64)), "entry 13 closes with other balances"),
    ("a closing that is not listed", unlisted_closing, "entry 13 closes a period that is not closed so"),
    (
        "forged: what a closing closed",
        reforged(DEBT, legs(("debt:A-1", -2_000_000), ("equity:opening", 2_000_000))),
        "entry 13 closes with other balances",
    ),
]


def test_the_books_are_sound_and_hold_what_is_planted_into() -> None:
    house, tx = full_books()
    assert house.do(verify_ledger) == (BEGUN_3, None)
    assert house.do(lambda tx: verify_ledger(tx, from_closing=True)) == (BEGUN_3, None)
    kinds = [posted.entry.kind.value for posted in tx.journal]
    assert kinds == [
        "opening",
        "charge",
        "topup",
        "charge",
        "reversal",
        "correction",
        "transfer_pending",
        "transfer_posted",
        "transfer_pending",
        "transfer_voided",
        "debt",
        "debt_recovery",
        "closing",
        "topup",
        "transfer_pending",
    ]


@pytest.mark.parametrize(("what", "mutate", "finding"), MUTANTS, ids=[m[0] for m in MUTANTS])
def test_every_mutant_is_killed(what: str, mutate: Mutant, finding: str) -> None:
    house, tx = full_books()
    mutate(tx)
    assert finding in (house.do(verify_ledger)[1] or "nothing found")


def test_a_reversed_charge_without_correction_is_found() -> None:
    house, tx = full_books()
    undone = ledger.reversal(tx.journal[CORRECTION - 1], house.now_ms, {"by": "li"})
    number = house.do(lambda tx: post_entry(tx, undone)).number
    house.do(lambda tx: tx.add_reversal(number, CORRECTION))
    finding = house.do(verify_ledger)[1]
    assert finding == "entry 16 reverses the charge of entry 6, and no correction charges that energy"


FROM_CLOSING: list[tuple[str, Mutant, str | None]] = [
    ("another state than the entry's digest", other_state, "entry 13 does not close with the balances that are kept for it"),
    ("before the closing: not looked at", running(RECOVERY, 1, 1), None),
    ("after it", running(LATER, 0, 1), "entry 14 says that"),
    ("a payment after it", of_payment("S-2", amount_micro=1), "entry 14 does not credit what"),
    ("energy charged twice", appended(again(CHARGE)), "entry 16 bills meter m1 from 0 Wh"),
    ("reversed before, and again after", appended(again(REVERSAL)), "entry 16 reverses entry 4, which entry 5 reversed already"),
    ("ended before, and again after", appended(end_of("t2", POSTED, EntryKind.TRANSFER_POSTED)), "entry 16 ends transfer t2"),
    ("a balance beside the journal", lambda tx: tx.sums.update({("CNY", A1): 1}), "customer:A-1 shows 1"),
]


@pytest.mark.parametrize(("what", "mutate", "finding"), FROM_CLOSING, ids=[m[0] for m in FROM_CLOSING])
def test_from_a_closing(what: str, mutate: Mutant, finding: str | None) -> None:
    house, tx = full_books()
    mutate(tx)
    _, found = house.do(lambda tx: verify_ledger(tx, from_closing=True))
    assert found is None if finding is None else finding in (found or "nothing found")


def test_a_second_closing_goes_on_from_the_first_and_both_hold() -> None:
    house, tx = full_books()
    close(house)
    assert [closing.upto for closing in tx.closings()] == [RECOVERY, BEGUN_3]
    assert house.do(verify_ledger) == house.do(lambda tx: verify_ledger(tx, from_closing=True)) == (BEGUN_3 + 1, None)
    house.do(lambda tx: transfer.post(tx, "t3", house.now_ms, {}))
    assert house.do(lambda tx: verify_ledger(tx, from_closing=True)) == (BEGUN_3 + 2, None)


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"legs": [(A1, 100_000_000, 100_000_000, 1), ("equity:opening", -9, -9, 1)]}, "entry 1 does not balance"),
        ({"legs": [(A1, 0, 0, 1)]}, "entry 1 does not balance"),
        ({"kind": "gift"}, "entry 1 is of no known kind: gift"),
        ({"ref": None}, "entry 1 was changed: its hash does not match its content"),
    ],
)
def test_rows_that_no_entry_can_be_made_of_are_findings_and_no_crash(changes: dict[str, object], finding: str) -> None:
    house, tx = full_books()

    class Odd(MemoryTx):
        def journal_rows(self, after: int, limit: int) -> Sequence[JournalRow]:
            rows = super().journal_rows(after, limit)
            odd = rows[OPENING - 1]._replace(**changes)  # type: ignore[arg-type]
            return [odd._replace(hash=ledger.row_hash(odd) or ""), *rows[1:]] if after == 0 else rows

    assert verify_ledger(Odd(**vars(tx))) == (1, finding)
    assert house.verified() is None


def test_a_meter_taken_off_its_account_read_and_put_back_owes_nothing_for_the_time_between() -> None:
    from gateway.services.load_archive import Archive, Opening, load_archive
    from tests.gateway.services.house import FLAT, TWO_RATE, account, meter

    house = House(MemoryStore()).settle(balance="100").exhaust(total="1.00")

    def installed(owner: str | None) -> None:
        archive = Archive((FLAT, TWO_RATE), [Opening(account())], [meter(account=owner)])
        house.do(lambda tx: load_archive(tx, archive, house.site, house.now_ms))

    installed(None)
    assert house.verified() is None
    house.later(minutes=1).block(total="3.00")
    assert house.verified() is None
    installed("A-1")
    assert house.verified() is None
    house.later(minutes=1).block(total="4.00")
    assert house.verified() is None
    assert house.do(lambda tx: tx.balance(A1, "CNY")) == 100_000_000 - 2 * 500_000
    installed(None)
    installed("A-1")  # nothing was used meanwhile
    house.later(minutes=1).block(total="5.00")
    assert house.verified() is None
