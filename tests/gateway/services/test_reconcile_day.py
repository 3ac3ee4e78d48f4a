"""Every planted difference is found, in its kind, and nothing else is (contract.md 3)."""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.adapters.store import Store
from gateway.domain import differences as domain
from gateway.domain.day_file import HEADER, REVERSAL, TOPUP, DayLine, read_day_file, write_day_file
from gateway.domain.differences import Difference, DifferenceKind, Known, Matching, TooManyDifferences, differences, digest
from gateway.services.reconcile_day import Compared, compare_day
from gateway.services.verify_ledger import verify_ledger
from tests.gateway.services.bank_days import BANK, DAY, KINDS, OTHER, Found, book, day_lines, plant

ON = date.fromisoformat(DAY)
CHUNK = 1 << 16
PAYMENTS, PLANTED = 20_000, 10
PROOF_PAYMENTS, PROOF_PLANTED = 1_000_000, 125
"""Of each of eight kinds."""
PROOF_WITHIN_S = 60


def chunks(text: bytes) -> Iterator[bytes]:
    return (text[at : at + CHUNK] for at in range(0, len(text), CHUNK))


def compare(store: Store, text: bytes) -> Compared:
    return store.read_now(lambda tx: compare_day(tx, BANK, ON, read_day_file(chunks(text))))


def found(differences: Iterable[Difference]) -> set[Found]:
    return {(each.kind.value, _about(each)) for each in differences}


def _about(each: Difference) -> str:
    if each.kind is DifferenceKind.BAD_LINE:
        return each.detail.split(": ", 2)[2]
    return "" if each.line is None else each.line.serial


@pytest.fixture
def day_store(empty_store: Path, tmp_path: Path) -> Iterator[Store]:
    path = shutil.copyfile(empty_store, tmp_path / "wattgate.db")
    with Store.open(path.as_posix(), inline=True) as store:
        yield store


@pytest.mark.timeout(3600)
def test_planted_differences_are_found_and_no_others(
    day_store: Store, proof_scale: int, figure: Callable[[str, object], None]
) -> None:
    payments, each = (PAYMENTS, PLANTED) if proof_scale == 1 else (PROOF_PAYMENTS, PROOF_PLANTED)
    book(day_store, payments)
    book(day_store, 2 * each, OTHER, payments, 0)
    planted = plant(payments, each, Random(11), 2 * each)
    text = planted.text()
    gc.collect()
    begun = time.monotonic()
    compared = compare(day_store, text)
    took_s = time.monotonic() - begun
    assert len(planted.truth) == each * len(KINDS) == len(compared.found)
    assert found(compared.found) == planted.truth
    assert compared.lines == text.count(b"\n") - 2
    assert took_s < PROOF_WITHIN_S
    if proof_scale > 1:
        figure("payments of a day reconciled", payments)
        figure("planted differences of 8 kinds, all found, none else", len(planted.truth))
        figure("seconds for it", round(took_s, 1))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32), payments=st.integers(60, 200), each=st.integers(1, 6), totals=st.booleans())
def test_any_day_with_any_differences(seed: int, payments: int, each: int, totals: bool) -> None:
    """The comparison alone, with a list in place of the books."""
    planted = plant(payments, each, Random(seed), 2 * each, totals=totals, reversed_every=6)
    ours = [*day_lines(payments, reversed_every=6)]
    elsewhere = {line.ident: line for line in day_lines(2 * each, OTHER, payments, 0)}
    here = {line.ident: line for line in ours}

    def look(line: DayLine) -> Known:
        known, other = here.get(line.ident), elsewhere.get(line.ident)
        if known is None and other is None:
            paid = line.type == REVERSAL and (TOPUP, "", line.original_serial) in here
            return Known(None, "", "posted" if paid else "")
        return Known(known or other, DAY if known else OTHER, "posted")

    def run() -> list[Difference]:
        matching = Matching()
        matching.add_ours(ours)
        matching.take(read_day_file(chunks(planted.text())))
        return differences(matching, [line for line in ours if digest(line) in matching.left], look, DAY)

    told = run()
    assert found(told) == planted.truth
    assert len({each.about for each in told}) == len(told) == len(planted.truth)
    assert [each.about for each in run()] == [each.about for each in told]


def test_the_planted_books_are_sound(day_store: Store) -> None:
    book(day_store, 200)
    assert day_store.read_now(lambda tx: tx.day_totals(BANK, DAY))[0] == 204
    finding = day_store.read_now(verify_ledger)[1]
    assert finding is None


def test_the_wrong_days_file_is_told_so(day_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "MOST_DIFFERENCES", 50)
    book(day_store, 200)
    with pytest.raises(TooManyDifferences, match="whole"):
        compare(day_store, f"{HEADER}\n#0,0.00\n".encode())
    with pytest.raises(TooManyDifferences, match="right day"):
        compare(day_store, "".join(write_day_file(day_lines(200, first=500, reversed_every=0))).encode())
