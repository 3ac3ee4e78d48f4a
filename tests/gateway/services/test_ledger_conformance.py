"""Fifteen invariants that any ledger of money must hold (the Ledger Conformance Kit's list), run against ours through one port, and
ledgers with one fault each that must break exactly the invariants named beside them (prepayment.md c4)."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from gateway.adapters.store import Store
from gateway.domain import ledger
from gateway.domain.bank_acts import Reversal
from gateway.domain.ledger import GENESIS, JournalRow, row_hash
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.transfers import Transfer, TransferRefused
from gateway.services import transfer
from gateway.services.apply_topup import apply_topup
from gateway.services.load_archive import Archive, Opening, load_archive
from gateway.services.ports import Site, Tx
from gateway.services.reverse_topup import reverse_topup
from gateway.services.verify_ledger import verify_ledger
from tests.gateway.price_lists import flat
from tests.gateway.services.house import FLAT, ZONE, account, meter

SITE, NOW_MS, DAY = Site("gw-1", ZONE, clock_trusted=True), 1_795_485_600_000, date(2026, 11, 24)
AT = datetime.fromtimestamp(NOW_MS / 1000, UTC)
HOT, YUAN = 40, 1_000_000
EURO = replace(flat(500_000, "flat-eur"), currency="EUR")


class Port:
    """The ledger as the kit sees it: pay, undo, take out, and read everything. Answers are words; money is micro-units."""

    def __init__(self, store: Store) -> None:
        self.store = store

    async def pay(self, serial: str, to: str, micro: int, currency: str = "CNY") -> str:
        identity = PaymentIdentity("bank", "", "", serial)
        wanted = TopUp(identity, to, micro, currency, AT, DAY, DAY)
        outcome = await self.store.write(lambda tx: apply_topup(tx, wanted, SITE, NOW_MS))
        return outcome.verdict.value if outcome.payment.status != "reversed" else "reversed"

    async def undo(self, serial: str, micro: int) -> str:
        wanted = Reversal(PaymentIdentity("bank", "", "", serial), f"R-{serial}", DAY, micro, "CNY", "kit", AT)
        return (await self.store.write(lambda tx: reverse_topup(tx, wanted, SITE, NOW_MS))).verdict.value

    async def take(self, ident: str, source: str, micro: int) -> str:
        """Out of an account, and never more than it has."""
        away = Transfer(ident, source, "CNY", micro, ledger.customer(source), ledger.bank_clearing("bank"), NOW_MS)

        def begin(tx: Tx) -> str:
            try:
                transfer.begin(tx, away)
            except TransferRefused:
                return "refused"
            return "taken"

        return await self.store.write(begin)

    async def rows(self) -> list[JournalRow]:
        return [*await self.store.read(lambda tx: tx.journal_rows(0, 100_000))]

    async def balances(self) -> Mapping[tuple[str, str], int]:
        return await self.store.read(lambda tx: tx.balances())

    async def balance(self, who: str, currency: str = "CNY") -> int:
        return (await self.balances()).get((currency, ledger.customer(who)), 0)


Check = Callable[[Port], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def invariant(check: Check) -> Check:
    CHECKS[check.__name__] = check
    return check


async def history(port: Port) -> None:
    """A little of everything."""
    for number in range(4):
        await port.pay(f"h-{number}", "A-1", 10 * YUAN + number)
    await port.pay("h-eur", "E-1", 5 * YUAN, "EUR")
    await port.take("h-t", "A-1", 3 * YUAN)
    await port.undo("h-2", 10 * YUAN + 2)


@invariant
async def every_transaction_balances_per_currency(port: Port) -> None:
    await history(port)
    assert all(sum(leg[1] for leg in row.legs) == 0 and len(row.legs) > 1 for row in await port.rows())


@invariant
async def append_only(port: Port) -> None:
    await history(port)
    before = await port.rows()
    await port.undo("h-1", 10 * YUAN + 1)
    await port.pay("h-9", "A-2", YUAN)
    assert (await port.rows())[: len(before)] == before


@invariant
async def a_duplicate_is_a_no_op(port: Port) -> None:
    answers = [await port.pay("S", "A-1", YUAN) for _ in range(5)]
    assert Counter(answers) == {"posted": 1, "repeated": 4}
    assert await port.balance("A-1") == YUAN


@invariant
async def concurrent_duplicates_are_no_ops(port: Port) -> None:
    answers = await asyncio.gather(*(port.pay("S", "A-1", YUAN) for _ in range(HOT)))
    assert Counter(answers) == {"posted": 1, "repeated": HOT - 1}
    assert await port.balance("A-1") == YUAN


@invariant
async def a_duplicate_of_a_refused_request_is_not_reported_as_applied(port: Port) -> None:
    assert [await port.pay("S", "nobody", YUAN) for _ in range(3)] == ["refused"] * 3
    assert await port.pay("S", "A-1", YUAN) == "refused"
    assert await port.balance("A-1") == 0


@invariant
async def no_update_of_a_hot_account_is_lost(port: Port) -> None:
    await asyncio.gather(*(port.pay(f"S-{number}", "A-1", YUAN + number) for number in range(HOT)))
    assert await port.balance("A-1") == HOT * YUAN + sum(range(HOT))


@invariant
async def the_total_is_conserved(port: Port) -> None:
    await history(port)
    sums: dict[str, int] = defaultdict(int)
    for (currency, _), micro in (await port.balances()).items():
        sums[currency] += micro
    assert set(sums.values()) == {0}


@invariant
async def a_balance_is_the_projection_of_the_journal(port: Port) -> None:
    await history(port)
    projected: dict[tuple[str, str], int] = defaultdict(int)
    for row in await port.rows():
        for name, micro, *_ in row.legs:
            projected[row.currency, name] += micro
    held = await port.balances()
    assert {key: micro for key, micro in projected.items() if micro} == {key: micro for key, micro in held.items() if micro}


@invariant
async def the_overdraft_guard_holds_under_concurrent_drain(port: Port) -> None:
    await port.pay("S", "A-1", 10 * YUAN)
    answers = await asyncio.gather(*(port.take(f"T-{number}", "A-1", 3 * YUAN) for number in range(HOT)))
    assert (Counter(answers)["taken"], await port.balance("A-1")) == (3, YUAN)


@invariant
async def many_small_movements_do_not_drift(port: Port) -> None:
    for number in range(300):
        await port.pay(f"S-{number}", "A-1", 10_001)
    assert await port.balance("A-1") == 300 * 10_001


@invariant
async def currencies_do_not_mix(port: Port) -> None:
    assert await port.pay("S-1", "E-1", YUAN, "CNY") == "refused"
    assert await port.pay("S-2", "E-1", YUAN, "EUR") == "posted"
    assert (await port.balance("E-1", "EUR"), await port.balance("E-1", "CNY")) == (YUAN, 0)


@invariant
async def a_reversal_is_a_compensation(port: Port) -> None:
    await port.pay("S", "A-1", YUAN)
    before = await port.rows()
    assert [await port.undo("S", YUAN) for _ in range(3)] == ["reversed"] * 3
    rows = await port.rows()
    assert rows[: len(before)] == before and len(rows) == len(before) + 1
    assert [leg[:2] for leg in rows[-1].legs] == [(name, -micro) for name, micro, *_ in before[-1].legs]
    assert (await port.balance("A-1"), await port.pay("S", "A-1", YUAN)) == (0, "reversed")


@invariant
async def rebuilding_from_the_log_is_exact(port: Port) -> None:
    await history(port)
    rebuilt: dict[tuple[str, str], int] = defaultdict(int)
    for row in await port.rows():
        for name, micro, after, _ in row.legs:
            rebuilt[row.currency, name] += micro
            assert rebuilt[row.currency, name] == after
    assert {key: micro for key, micro in (await port.balances()).items() if micro} == {key: m for key, m in rebuilt.items() if m}


@invariant
async def the_order_of_an_account_is_monotonic(port: Port) -> None:
    await asyncio.gather(*(port.pay(f"S-{number}", "A-1", YUAN) for number in range(HOT)))
    rows = await port.rows()
    running, numbers = 0, [row.number for row in rows]
    for row in rows:
        for name, micro, after, _ in row.legs:
            if name == ledger.customer("A-1"):
                running += micro
                assert after == running
    assert numbers == sorted(set(numbers)) == [*range(1, len(rows) + 1)]


@invariant
async def the_hash_chain_is_intact(port: Port) -> None:
    await history(port)
    previous = GENESIS
    for row in await port.rows():
        assert (row.previous, row.hash) == (previous, row_hash(row))
        previous = row.hash


# Ledgers with one fault each


class Forgetful(Port):
    """Knows no serial again."""

    asked = 0

    async def pay(self, serial: str, to: str, micro: int, currency: str = "CNY") -> str:
        Forgetful.asked += 1
        return await super().pay(f"{serial}.{Forgetful.asked}", to, micro, currency)

    async def undo(self, serial: str, micro: int) -> str:
        return "reversed"


class LooksFirst(Port):
    """Looks whether a serial is known in one transaction, and posts in another: uniqueness in code, not in the database."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.looking: Counter[str] = Counter()
        self.looked: Counter[str] = Counter()

    async def pay(self, serial: str, to: str, micro: int, currency: str = "CNY") -> str:
        identity = PaymentIdentity("bank", "", "", serial)
        self.looking[serial] += 1
        known = await self.store.read(lambda tx: tx.payment(identity))
        self.looking[serial] -= 1
        if known is not None:
            return await super().pay(serial, to, micro, currency)
        others = self.looked[serial]
        self.looked[serial] += 1
        while self.looking[serial]:  # noqa: ASYNC110 - whoever comes at the same time has looked by then
            await asyncio.sleep(0.001)
        return await super().pay(f"{serial}.{others}" if others else serial, to, micro, currency)


class Optimist(Port):
    """Says of every repetition that it was applied."""

    async def pay(self, serial: str, to: str, micro: int, currency: str = "CNY") -> str:
        identity = PaymentIdentity("bank", "", "", serial)
        known = await self.store.read(lambda tx: tx.payment(identity))
        answer = await super().pay(serial, to, micro, currency)
        return "repeated" if known is not None and answer == "refused" else answer


class LosesUpdates(Port):
    """Keeps balances beside the journal, by reading, waiting and writing."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.kept: dict[str, int] = {}

    async def pay(self, serial: str, to: str, micro: int, currency: str = "CNY") -> str:
        has = self.kept.get(to, 0)
        answer = await super().pay(serial, to, micro, currency)
        if answer == "posted":
            self.kept[to] = has + micro
        return answer

    async def balance(self, who: str, currency: str = "CNY") -> int:
        truth = await super().balance(who, currency)
        return min(self.kept.get(who, truth), truth) if currency == "CNY" else truth


class CountsInCents(Port):
    """Balances in hundredths, each movement cut off."""

    async def balance(self, who: str, currency: str = "CNY") -> int:
        name = ledger.customer(who)
        legs = [micro for row in await self.rows() for own, micro, *_ in row.legs if own == name and row.currency == currency]
        return sum(micro // 10_000 * 10_000 for micro in legs)


class LateGuard(Port):
    """Looks at the balance before, and takes all the same."""

    async def take(self, ident: str, source: str, micro: int) -> str:
        if await self.balance(source) < micro:
            return "refused"
        moved = ledger.moved(
            ledger.EntryKind.ADJUSTMENT, "CNY", ledger.customer(source), ledger.bank_clearing("bank"), micro, NOW_MS, {"of": ident}
        )

        def post(tx: Tx) -> str:
            tx.add_entry(ledger.post(moved, *tx.journal_end()))
            return "taken"

        return await self.store.write(post)


class Edits(Port):
    """A reversal changes the entry itself."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.undone: set[str] = set()

    async def undo(self, serial: str, micro: int) -> str:
        self.undone.add(serial)
        return "reversed"

    async def rows(self) -> list[JournalRow]:
        return [
            row._replace(legs=[(name, 0, after, number) for name, _, after, number in row.legs])
            if (row.ref or {}).get("serial") in self.undone
            else row
            for row in await super().rows()
        ]


class OneMoney(Port):
    """An amount is an amount, whatever it is in."""

    async def pay(self, serial: str, to: str, micro: int, currency: str = "CNY") -> str:
        own = "EUR" if to.startswith("E-") else "CNY"
        return await super().pay(serial, to, micro, own)


class Shuffled(Port):
    """Rows by whatever comes first."""

    async def rows(self) -> list[JournalRow]:
        rows = await super().rows()
        return [*rows[1::2], *rows[::2]]


class Forged(Port):
    """An amount was changed in an entry, on both sides of it."""

    async def rows(self) -> list[JournalRow]:
        first, *rest = await super().rows()
        return [first._replace(hash="0" * 64), *rest]


class OneLegged(Port):
    """One side of an entry is lost."""

    async def rows(self) -> list[JournalRow]:
        *rows, last = await super().rows()
        return [*rows, last._replace(legs=last.legs[:1])]


class MakesMoney(Port):
    """A balance that no entry made."""

    async def balances(self) -> Mapping[tuple[str, str], int]:
        return {**await super().balances(), ("CNY", "customer:ghost"): 1}


ALL = frozenset(CHECKS)
MUTANTS: Sequence[tuple[type[Port], str]] = (
    (Forgetful, "a_duplicate_is_a_no_op concurrent_duplicates_are_no_ops a_reversal_is_a_compensation "
                "a_duplicate_of_a_refused_request_is_not_reported_as_applied"),
    (LooksFirst, "concurrent_duplicates_are_no_ops"),
    (Optimist, "a_duplicate_of_a_refused_request_is_not_reported_as_applied"),
    (LosesUpdates, "no_update_of_a_hot_account_is_lost"),
    (CountsInCents, "no_update_of_a_hot_account_is_lost many_small_movements_do_not_drift"),
    (LateGuard, "the_overdraft_guard_holds_under_concurrent_drain"),
    (Edits, "append_only a_reversal_is_a_compensation a_balance_is_the_projection_of_the_journal rebuilding_from_the_log_is_exact "
            "the_hash_chain_is_intact"),
    (OneMoney, "currencies_do_not_mix"),
    (Shuffled, "append_only rebuilding_from_the_log_is_exact the_order_of_an_account_is_monotonic the_hash_chain_is_intact "
               "a_reversal_is_a_compensation"),
    (Forged, "the_hash_chain_is_intact"),
    (OneLegged, "every_transaction_balances_per_currency append_only a_reversal_is_a_compensation the_hash_chain_is_intact "
                "a_balance_is_the_projection_of_the_journal rebuilding_from_the_log_is_exact"),
    (MakesMoney, "the_total_is_conserved a_balance_is_the_projection_of_the_journal rebuilding_from_the_log_is_exact"),
)  # fmt: skip
"""A ledger with this fault breaks these, and no other."""


@asynccontextmanager
async def opened(empty: Path, at: Path) -> AsyncIterator[Store]:
    with Store.open(shutil.copyfile(empty, at).as_posix()) as store:
        owners = [Opening(account(who), 0) for who in ("A-1", "A-2")]
        owners.append(Opening(account("E-1", currency="EUR", tariff="flat-eur"), 0))
        archive = Archive((FLAT, EURO), owners, [meter()])
        await store.write(lambda tx: load_archive(tx, archive, SITE, NOW_MS))
        yield store


async def broken(kind: type[Port], names: frozenset[str], empty: Path, folder: Path) -> set[str]:
    """Which of these invariants it does not hold; each on a ledger of its own."""
    found = set()
    for name in sorted(names):
        async with opened(empty, folder / f"{kind.__name__}-{name}.db") as store:
            try:
                await CHECKS[name](kind(store))
            except AssertionError:
                found.add(name)
    return found


def test_there_are_fifteen() -> None:
    assert len(CHECKS) == 15
    assert {name for _, named in MUTANTS for name in named.split()} == ALL  # none of them that nothing could break


async def test_ours_holds_them_all(empty_store: Path, tmp_path: Path) -> None:
    for name in sorted(ALL):
        async with opened(empty_store, tmp_path / f"{name}.db") as store:
            await CHECKS[name](Port(store))
            assert await store.read(verify_ledger) == (await store.read(lambda tx: tx.journal_end()[0]), None), name


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("kind", "named"), MUTANTS, ids=[kind.__name__ for kind, _ in MUTANTS])
async def test_each_fault_breaks_exactly_what_is_named(
    kind: type[Port], named: str, empty_store: Path, tmp_path: Path, proof_scale: int
) -> None:
    """Everyday some of those that it must not break are asked, others for each fault; in a proof all."""
    must = frozenset(named.split())
    others = sorted(ALL - must)
    at = [each for each, _ in MUTANTS].index(kind)
    asked = ALL if proof_scale > 1 else must | {others[(at * 3 + n) % len(others)] for n in range(2)}
    assert await broken(kind, frozenset(asked), empty_store, tmp_path) == must
