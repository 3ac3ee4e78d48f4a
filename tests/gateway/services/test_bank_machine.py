"""Random days of a bank beside a model with its own books: pay, reverse, refund, repeat, settle and close, in whatever order."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from gateway.adapters.store import Store
from gateway.domain.bank_acts import Refund, RefundState, Reversal, ReversalVerdict, Settlement
from gateway.domain.day_file import read_day_file, write_day_file
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.services import approve, two_people
from gateway.services.apply_topup import apply_topup
from gateway.services.ports import InvalidField, TopUpVerdict, Tx
from gateway.services.reconcile_day import begin_upload, compare_day, keep_result, statement
from gateway.services.refund_payment import NoRefund, refund_payment
from gateway.services.reverse_topup import reverse_topup
from gateway.services.settle_day import OtherSettlement, settle_day
from gateway.services.verify_ledger import verify_ledger
from tests.gateway.services.house import FLAT, AnyStore, House, account, meter, yuan
from tests.gateway.services.memory_tx import MemoryStore

ACCOUNTS = ("A-1", "A-2")
FIRST = date(2026, 11, 24)
serials = st.sampled_from("1234")
accounts = st.sampled_from((*ACCOUNTS, "A-9"))
amounts = st.sampled_from((yuan("10"), yuan("0.01"), yuan("77.70")))
days = st.sampled_from((-1, 0, 1))
R = ReversalVerdict


def named(serial: str) -> PaymentIdentity:
    return PaymentIdentity("bank", "", "", serial)


class BankDays(RuleBasedStateMachine):
    """Two accounts. The model: what stands under each serial, refunds, closed days, and what each day nets to."""

    def new_store(self) -> AnyStore:
        return MemoryStore()

    @initialize()
    def settle_in(self) -> None:
        self.house = House(self.new_store())
        self.house.settle(
            *(meter(f"m-{who}", account=who) for who in ACCOUNTS), accounts=[account(who) for who in ACCOUNTS], tariffs=[FLAT]
        )
        self.today = FIRST
        self.stands: dict[str, tuple[str, str, int, date]] = {}  # serial -> posted | refused | reversed | tombstone
        self.answers: dict[str, str | None] = {}
        self.backs: dict[str, str] = {}
        self.balances = dict.fromkeys(ACCOUNTS, 0)
        self.refunds: dict[str, tuple[str, int, date, str]] = {}  # serial -> payment, micro, day, state
        self.batches: dict[str, tuple[date, int]] = {}
        self.net: dict[date, list[int]] = {}  # day -> lines, micro
        self.closed: set[date] = set()

    def _line(self, day: date, micro: int) -> None:
        lines = self.net.setdefault(day, [0, 0])
        lines[0] += 1
        lines[1] += micro

    @rule(serial=serials, who=accounts, micro=amounts, shift=days)
    def pay(self, serial: str, who: str, micro: int, shift: int) -> None:
        day = self.today + timedelta(days=shift)
        at = datetime.fromtimestamp(self.house.now_ms / 1000, UTC)
        wanted = TopUp(named(serial), who, micro, "CNY", at, day, self.today)
        outcome = self.house.do(lambda tx: apply_topup(tx, wanted, self.house.site, self.house.now_ms))
        known = self.stands.get(serial)
        if known is None:
            refused = who not in ACCOUNTS or day in self.closed
            assert outcome.verdict is (TopUpVerdict.REFUSED if refused else TopUpVerdict.POSTED)
            self.stands[serial] = ("refused" if refused else "posted", who, micro, day)
            self.answers[serial] = outcome.payment.receipt
            if not refused:
                self.balances[who] += micro
                self._line(day, micro)
            return
        state, whose, much, _ = known
        same = state in ("refused", "tombstone") or (whose, much) == (who, micro)
        assert outcome.verdict is (
            TopUpVerdict.REFUSED if state == "refused" else TopUpVerdict.REPEATED if same else TopUpVerdict.CONFLICT
        )
        assert outcome.payment.receipt == self.answers[serial]
        assert outcome.payment.status == {"tombstone": "reversed"}.get(state, state)

    @rule(serial=serials, micro=amounts, own=st.sampled_from(("R1", "R2")), shift=days)
    def reverse(self, serial: str, micro: int, own: str, shift: int) -> None:
        day = self.today + timedelta(days=shift)
        at = datetime.fromtimestamp(self.house.now_ms / 1000, UTC)
        wanted = Reversal(named(serial), own, day, micro, "CNY", "x", at)
        known = self.stands.get(serial)
        try:
            outcome = self.house.do(lambda tx: reverse_topup(tx, wanted, self.house.site, self.house.now_ms))
        except InvalidField as wrong:
            assert wrong.field == "amount" and known is not None and known[0] != "refused" and known[2] != micro
            return
        if known is None:
            assert outcome.verdict is R.TOMBSTONE
            self.stands[serial], self.answers[serial] = ("tombstone", "", micro, day), None
        elif known[0] == "refused":
            assert outcome.verdict is R.NOTHING
            return
        elif (known[0] == "posted" and known[3] in self.closed) or (known[0] == "posted" and day in self.closed):
            assert outcome.verdict is R.DAY_CLOSED
            return
        elif known[0] == "posted" and any(each[0] == serial and each[3] == "paid" for each in self.refunds.values()):
            assert outcome.verdict is R.DELIVERED  # else the bank would have it back twice
            return
        elif known[0] == "posted":
            assert outcome.verdict is R.REVERSED and not outcome.repeated
            self.stands[serial] = ("reversed", *known[1:])
            self.balances[known[1]] -= micro
            self._line(day, -micro)
        else:
            assert outcome.repeated and outcome.verdict is (R.REVERSED if known[0] == "reversed" else R.TOMBSTONE)
        assert outcome.reversal is not None
        assert self.backs.setdefault(serial, outcome.reversal.document) == outcome.reversal.document

    @rule(serial=st.sampled_from(("F1", "F2")), payment=serials, micro=amounts, agreed=st.booleans())
    def refund(self, serial: str, payment: str, micro: int, agreed: bool) -> None:
        wanted = Refund(named(serial), named(payment), self.today, self.today, micro, "CNY", "x")
        try:
            outcome = self.house.do(lambda tx: refund_payment(tx, wanted, "bank:bank", self.house.site, self.house.now_ms))
        except NoRefund:
            return
        booked, known = outcome.refund, self.refunds.get(serial)
        if known is None:
            of = self.stands[payment]
            assert of[0] == "posted" and self.today not in self.closed and micro <= min(of[2], self.balances[of[1]])
            self.balances[of[1]] -= micro
            self.refunds[serial] = (payment, micro, self.today, "asked")
            acts = two_people.ACTS
            if agreed:
                done = self.house.do(
                    lambda tx: approve.approve(tx, outcome.approval, "operator:w", self.house.site, self.house.now_ms, acts)
                )
                assert done.refused is None
                self.refunds[serial] = (payment, micro, self.today, "paid")
                self._line(self.today, -micro)
            else:
                self.house.do(lambda tx: approve.refuse(tx, outcome.approval, "operator:w", "no", self.house.now_ms, acts))
                self.balances[of[1]] += micro
                self.refunds[serial] = (payment, micro, self.today, "voided")
            return
        assert (booked.original.serial, booked.amount_micro) == known[:2] and booked.state is RefundState(known[3])

    @rule(batch=st.sampled_from("ab"), micro=amounts)
    def arrive(self, batch: str, micro: int) -> None:
        known = self.batches.get(batch)
        wanted = Settlement("bank", batch, self.today, micro, "CNY")
        try:
            _, new = self.house.do(lambda tx: settle_day(tx, wanted, self.house.site, self.house.now_ms))
        except OtherSettlement:
            assert known is not None and known != (self.today, micro)
            return
        assert new is (known is None) and known in (None, (self.today, micro))
        self.batches[batch] = (self.today, micro)

    @rule(shift=days, wrong=st.booleans())
    def close(self, shift: int, wrong: bool) -> None:
        """The bank uploads what we say too, or one line less, and wants the day closed."""
        day = self.today + timedelta(days=shift)
        if day in self.closed:
            return
        lines = self.house.do(lambda tx: [*statement(tx, "bank", day.isoformat())])
        kept = lines[:-1] if wrong else lines
        records = [*read_day_file(text.encode() for text in write_day_file(kept))]
        book = self.house.do(lambda tx: begin_upload(tx, "bank", day.isoformat(), "", self.house.now_ms))
        compared = self.house.do(lambda tx: compare_day(tx, "bank", day, records))
        done = self.house.do(lambda tx: keep_result(tx, book, compared, self.house.now_ms, close=True))
        assert len(compared.found) == len(lines) - len(kept)
        assert done.closed is (len(lines) == len(kept))
        if done.closed:
            self.closed.add(day)

    @rule()
    def tomorrow(self) -> None:
        self.house.later(hours=24)
        self.today += timedelta(days=1)

    @invariant()
    def balances_are_the_models(self) -> None:
        if hasattr(self, "house"):
            assert self.house.do(lambda tx: {who: tx.balance(f"customer:{who}", "CNY") for who in ACCOUNTS}) == self.balances

    def teardown(self) -> None:
        """At the end every day's statement, and the whole of the books."""
        if not hasattr(self, "house"):
            return
        for day, (lines, micro) in self.net.items():
            assert self.house.do(partial(totals, day.isoformat())) == (lines, {"CNY": micro})
        assert self.house.do(verify_ledger)[1] is None


def totals(day: str, tx: Tx) -> tuple[int, Mapping[str, int]]:
    return tx.day_totals("bank", day)


class OnSqlite(BankDays):
    """On a real file."""

    empty: Path

    def new_store(self) -> AnyStore:
        self.folder = Path(tempfile.mkdtemp())
        self.store = Store.open(shutil.copyfile(self.empty, self.folder / "w.db").as_posix(), inline=True)
        return self.store

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)


QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("machine", "examples"), [(BankDays, 40), (OnSqlite, 8)])
def test_any_days_of_a_bank(machine: type[BankDays], examples: int, empty_store: Path, proof_scale: int) -> None:
    OnSqlite.empty = empty_store
    many = settings(max_examples=examples * proof_scale, stateful_step_count=20, deadline=None, suppress_health_check=QUIET)
    run_state_machine_as_test(machine, settings=many)
