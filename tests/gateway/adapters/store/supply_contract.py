"""Permissions, approvals, people, the audit log, notices and the like: part of what every database under the store must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.adapters.store import Store
from gateway.domain.approvals import Approval, ApprovalState
from gateway.domain.audit_chain import AuditWalk
from gateway.domain.findings import FindingKind
from gateway.domain.ledger import GENESIS
from gateway.domain.meters import SwitchKind
from gateway.domain.notices import NoticeState
from gateway.domain.supply import CommandState
from gateway.domain.wallets import Act, DeliveryState
from gateway.services.ports import Duplicate, Tx, Unavailable
from tests.gateway.adapters.store import rows
from tests.gateway.adapters.store.rows import NOW_MS

QUARTER_MS = 15 * 60 * 1000
ASKED = Approval("a-2", "credit", "house-7", "{}", "operator:li", NOW_MS, NOW_MS + 2 * QUARTER_MS)
YES = ApprovalState.APPROVED
NOT_SO = r"(?i)check|never changes|once"


def break_log(store: Store) -> Callable[[], None]:
    """From now on the audit log takes nothing, and all else goes on; what mends it."""
    tx = getattr(store, "tx", None)
    if tx is not None:
        tx.unwritable.add("the audit log is broken")
        return lambda: tx.unwritable.clear()
    sqlite = store.database.file is not None
    on = "BEGIN SELECT RAISE(ABORT, 'broken'); END" if sqlite else "FOR EACH ROW EXECUTE FUNCTION wattgate_refuse('broken')"

    def run(sql: str) -> None:
        with store.database.writer.begin() as connection:
            connection.execute(text(sql))

    run(f"CREATE TRIGGER broken BEFORE INSERT ON audit {on}")
    return lambda: run("DROP TRIGGER broken" + ("" if sqlite else " ON audit"))


class PermissionContract:
    def test_a_permission_gets_the_next_number_and_comes_back(self, store: Store) -> None:
        live = replace(rows.PERMISSION, withdrawn_ms=None)

        def add(tx: Tx) -> None:
            assert tx.add_permission(replace(rows.PERMISSION, number=0)) == rows.PERMISSION
            assert tx.add_permission(replace(live, account=None)).number == 2
            assert tx.add_permission(live).number == 3

        store.write_now(add)
        second, third = replace(live, number=2, account=None), replace(live, number=3)

        def look(tx: Tx) -> None:
            assert [tx.permission(n) for n in (0, 1, 2, 3, 4)] == [None, rows.PERMISSION, second, third, None]
            assert tx.permissions(9) == [third, second, rows.PERMISSION]
            assert tx.permissions(1) == [third] and tx.permissions(9, "house-7") == [third, rows.PERMISSION]
            assert tx.permissions(9, "house-8") == []

        store.read_now(look)
        store.write_now(look)

    def test_a_permission_that_was_undone_leaves_no_hole(self, store: Store) -> None:
        def fails(tx: Tx) -> None:
            tx.add_permission(rows.PERMISSION)
            raise LookupError

        with pytest.raises(LookupError):
            store.write_now(fails)
        assert store.write_now(lambda tx: tx.add_permission(rows.PERMISSION)).number == 1

    def test_of_a_permission_only_its_end_changes(self, store: Store) -> None:
        store.write_now(lambda tx: tx.add_permission(rows.PERMISSION))
        shorter = replace(rows.PERMISSION, until_ms=NOW_MS + 1, withdrawn_ms=None)
        store.write_now(lambda tx: tx.save_permission(shorter))
        assert store.read_now(lambda tx: tx.permission(1)) == shorter
        for other in (replace(shorter, cause="safety"), replace(shorter, evidence={}), replace(shorter, until_ms=NOW_MS - 1)):
            with pytest.raises(Exception, match=NOT_SO):
                store.write_now(lambda tx, other=other: tx.save_permission(other))
        with pytest.raises(LookupError):
            store.write_now(lambda tx: tx.save_permission(replace(shorter, number=2)))
        assert store.read_now(lambda tx: tx.permission(1)) == shorter

    def test_a_command_rests_on_a_permission_that_is_there(self, store: Store) -> None:
        with pytest.raises(Exception, match=r"(?i)foreign key"):
            store.write_now(lambda tx: tx.add_command(rows.PERMITTED))

        def add(tx: Tx) -> None:
            tx.add_permission(rows.PERMISSION)
            tx.add_command(rows.PERMITTED)

        store.write_now(add)
        assert store.read_now(lambda tx: tx.command("cmd-1")) == rows.PERMITTED
        done = replace(rows.PERMITTED, state=CommandState.VERIFIED)
        store.write_now(lambda tx: tx.save_command(done))
        assert store.read_now(lambda tx: tx.commands(1)) == [done]

    def test_the_newest_cut_of_a_meter_is_taken_back_out_of_its_budget(self, store: Store) -> None:
        def spend(tx: Tx) -> None:
            for at_ms in (10, 20):
                tx.spend("ordered", "a", "m1", at_ms)
            tx.spend("ordered", "b", "m1", 30)
            tx.spend("credit", "a", "m1", 40)
            tx.unspend("ordered", "a", "m1")
            tx.unspend("ordered", "a", "m2")

        store.write_now(spend)
        assert store.read_now(lambda tx: tx.spent("ordered", None, 0)) == [("m1", 10), ("m1", 30)]
        store.write_now(lambda tx: [tx.unspend("ordered", "a", "m1") for _ in range(2)])
        assert store.read_now(lambda tx: (tx.spent("ordered", "a", 0), tx.spent("credit", "a", 0))) == ([], [("m1", 40)])

    def test_limiters_are_due_by_their_time_and_switches_are_counted(self, store: Store) -> None:
        def settle(tx: Tx) -> None:
            assert tx.switches() == 0
            tx.save_price_list(rows.TARIFF)
            for name, due_ms in (("a1", 30), ("a2", 10), ("a3", None), ("a4", 20), ("a5", 31)):
                memory = replace(rows.PLAIN_ACCOUNT.limit_memory, due_ms=due_ms)
                tx.save_account(replace(rows.PLAIN_ACCOUNT, id=name, limit_memory=memory))
            for name, switch in (("m1", SwitchKind.INTERNAL), ("m2", SwitchKind.NONE), ("m3", SwitchKind.CONTACTOR)):
                tx.save_meter(replace(rows.METER, id=name, account="a1", address=name, switch=switch))

        store.write_now(settle)
        due = store.read_now(lambda tx: (tx.limits_due(9, 9), tx.limits_due(30, 9), tx.limits_due(99, 2)))
        assert [[*each] for each in due] == [[], ["a2", "a4", "a1"], ["a2", "a4"]]
        assert store.read_now(lambda tx: tx.switches()) == 2

    def test_metas_are_found_by_how_their_keys_begin(self, store: Store) -> None:
        def write(tx: Tx) -> None:
            for key, value in (("x:1", "one"), ("x:2", ""), ("x:%", "two"), ("y:1", "three"), ("xx", "four")):
                tx.set_meta(key, value)

        store.write_now(write)
        look = store.read_now(lambda tx: (tx.metas_of("x:"), tx.metas_of("x:%"), tx.metas_of("z")))
        assert look == ({"x:1": "one", "x:%": "two"}, {"x:%": "two"}, {})

    def test_budgets_are_spent_by_key_and_forgotten_by_time(self, store: Store) -> None:
        def spend(tx: Tx) -> None:
            for key, meter, at_ms in (("b", "m2", 20), ("a", "m1", 10), ("a", "m3", 20), ("a", "m4", 30)):
                tx.spend("ordered", key, meter, at_ms)
            tx.spend("credit", "", "m5", 15)

        store.write_now(spend)

        def look(tx: Tx) -> None:
            assert tx.spent("ordered", None, 0) == [("m1", 10), ("m2", 20), ("m3", 20), ("m4", 30)]
            assert tx.spent("ordered", "a", 10) == [("m3", 20), ("m4", 30)]
            assert tx.spent("ordered", "c", 0) == tx.spent("x", None, 0) == tx.spent("credit", None, 15) == []
            assert tx.spent("credit", "", 14) == [("m5", 15)]

        store.read_now(look)
        store.write_now(lambda tx: tx.forget_spent(20))
        assert store.read_now(lambda tx: tx.spent("ordered", None, 0)) == [("m2", 20), ("m3", 20), ("m4", 30)]
        for budget, at_ms in (("", 1), ("credit", -1)):
            with pytest.raises(Exception, match=r"(?i)check"):
                store.write_now(lambda tx, budget=budget, at_ms=at_ms: tx.spend(budget, "", "m", at_ms))


class PeopleContract:
    def test_an_approval_is_asked_once_and_decided_once(self, store: Store) -> None:
        decided = replace(ASKED, state=YES, decided_by="operator:wang", decided_ms=NOW_MS + 5, reason="seen")

        def ask(tx: Tx) -> None:
            tx.add_approval(rows.APPROVAL)
            tx.add_approval(ASKED)

        store.write_now(ask)
        assert store.read_now(lambda tx: tx.approvals(9)) == [ASKED, rows.APPROVAL]
        assert store.read_now(lambda tx: (tx.approvals(9, asked=True), tx.approvals(1))) == ([ASKED], [ASKED])
        counted = [(9, "", ""), (0, "", ""), (9, ASKED.act, ASKED.asked_by), (9, "other", ASKED.asked_by), (9, ASKED.act, "other")]
        assert [store.read_now(lambda tx, of=of: tx.count_asked(*of)) for of in counted] == [1, 0, 1, 0, 0]
        with pytest.raises(Duplicate):
            store.write_now(lambda tx: tx.add_approval(replace(ASKED, act="other")))
        with pytest.raises(Exception, match=NOT_SO):
            store.write_now(lambda tx: tx.save_approval(replace(decided, body="[]")))
        store.write_now(lambda tx: tx.save_approval(decided))
        assert store.read_now(lambda tx: (tx.approval("a-2"), tx.approval("x"))) == (decided, None)
        assert store.read_now(lambda tx: tx.approvals(9, asked=True)) == []
        for again in (ASKED, replace(decided, state=ApprovalState.REFUSED)):
            with pytest.raises(Exception, match=NOT_SO):
                store.write_now(lambda tx, again=again: tx.save_approval(again))
        with pytest.raises(LookupError):
            store.write_now(lambda tx: tx.save_approval(replace(ASKED, id="x")))

    @pytest.mark.parametrize(
        ("decision", "taken"),
        [
            ({"state": YES, "decided_by": "operator:li", "decided_ms": NOW_MS + QUARTER_MS - 1}, False),
            ({"state": YES, "decided_by": "operator:li", "decided_ms": NOW_MS + QUARTER_MS}, True),
            ({"state": YES, "decided_by": "operator:wang", "decided_ms": NOW_MS}, True),
            ({"state": YES, "decided_by": "operator:wang", "decided_ms": ASKED.expires_ms}, False),
            ({"state": YES, "decided_by": None, "decided_ms": NOW_MS}, False),
            ({"state": YES, "decided_by": "operator:wang"}, False),
            ({"state": ApprovalState.REFUSED, "decided_by": "operator:li", "decided_ms": NOW_MS}, True),
            ({"state": ApprovalState.REFUSED}, False),
            ({"state": ApprovalState.EXPIRED}, True),
            ({"decided_by": "operator:wang", "decided_ms": NOW_MS}, False),
        ],
    )
    def test_nobody_approves_what_he_asked_for_but_after_a_quarter(
        self, store: Store, decision: dict[str, object], taken: bool
    ) -> None:
        store.write_now(lambda tx: tx.add_approval(ASKED))
        decided = replace(ASKED, **decision)  # type: ignore[arg-type]
        if not taken:
            with pytest.raises(Exception, match=r"(?i)check"):
                store.write_now(lambda tx: tx.save_approval(decided))
        else:
            store.write_now(lambda tx: tx.save_approval(decided))
        assert store.read_now(lambda tx: tx.approval("a-2")) == (decided if taken else ASKED)

    def test_people_are_known_by_name_and_by_token(self, store: Store) -> None:
        plain = replace(rows.PERSON, name="a", roles=(), token_hash="", revoked_ms=None)
        for person in (rows.PERSON, plain, replace(plain, name="b")):
            store.write_now(lambda tx, person=person: tx.save_person(person))

        def look(tx: Tx) -> None:
            assert tx.people() == [plain, replace(plain, name="b"), rows.PERSON]
            assert (tx.person("李"), tx.person("x")) == (rows.PERSON, None)
            assert tx.person_by_token(rows.PERSON.token_hash) == rows.PERSON
            assert tx.person_by_token("") is None and tx.person_by_token("cd" * 32) is None

        store.read_now(look)
        with pytest.raises(Exception, match=r"(?i)check|unique"):
            store.write_now(lambda tx: tx.save_person(replace(rows.PERSON, name="b")))
        back = replace(rows.PERSON, revoked_ms=None)
        store.write_now(lambda tx: tx.save_person(back))
        assert store.read_now(lambda tx: tx.person("李")) == back

    def test_acts_are_chained(self, store: Store) -> None:
        def act(tx: Tx) -> None:
            first = tx.add_audit(NOW_MS, "operator:李", "protect", "house-7", {"until": "1", "a": "\u2028é"})
            second = tx.add_audit(NOW_MS + 1, "rules", "cut", "m", {})
            assert (first.number, first.previous, second.number, second.previous) == (1, GENESIS, 2, first.hash)
            assert (tx.audit_rows(0, 9), tx.audit_end()) == ([first, second], (2, second.hash))

        assert store.read_now(lambda tx: (tx.audit_end(), tx.audit_rows(0, 9))) == ((0, GENESIS), [])
        store.write_now(act)
        third = store.write_now(lambda tx: tx.add_audit(1, "console", "stop", "gateway", {}))
        kept = store.read_now(lambda tx: tx.audit_rows(0, 9))
        walk = AuditWalk()
        walk.take(kept)
        walk.end(store.read_now(lambda tx: tx.audit_end()))
        assert (walk.finding, walk.number, walk.hash) == (None, 3, third.hash)
        assert store.read_now(lambda tx: (tx.audit_rows(1, 1), tx.audit_rows(3, 9))) == ([kept[1]], [])

    def test_what_was_undone_is_not_in_the_log(self, store: Store) -> None:
        def fails(tx: Tx) -> None:
            tx.add_audit(NOW_MS, "rules", "cut", "m", {})
            raise LookupError

        with pytest.raises(LookupError):
            store.write_now(fails)
        assert store.write_now(lambda tx: tx.add_audit(1, "rules", "x", "y", {})).previous == GENESIS

    def test_a_log_that_takes_nothing_leaves_the_rest_to_its_use_case(self, store: Store) -> None:
        def act(tx: Tx) -> str:
            tx.set_meta("before", "1")
            try:
                tx.add_audit(NOW_MS, "rules", "restore", "m", {})
            except Unavailable:
                tx.set_meta("after", "1")
                return "went on"
            return "written"

        mend = break_log(store)
        assert store.write_now(act) == "went on"
        assert store.read_now(lambda tx: (tx.meta("before"), tx.meta("after"), tx.audit_end())) == ("1", "1", (0, GENESIS))
        with pytest.raises(Unavailable):
            store.write_now(lambda tx: tx.add_audit(NOW_MS, "rules", "cut", "m", {}))
        mend()
        assert store.write_now(act) == "written" and store.read_now(lambda tx: tx.audit_end())[0] == 1

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE audit SET who = 'nobody'",
            "DELETE FROM audit WHERE number = 2",
            "INSERT INTO audit SELECT 4, at_ms, who, act, subject, data, hash, hash FROM audit WHERE number = 2",
            "INSERT INTO audit SELECT 3, at_ms, who, act, subject, data, previous, hash FROM audit WHERE number = 2",
            "UPDATE permission SET cause = 'safety'",
            "UPDATE permission SET evidence = '{}'",
            "DELETE FROM permission",
            "UPDATE approval SET state = 'refused'",
            "UPDATE approval SET body = '[]'",
            "UPDATE account SET authority = 'nobody'",
        ],
    )
    def test_what_people_did_stands_for_ever(self, store: Store, sql: str) -> None:
        def fill(tx: Tx) -> None:
            tx.add_audit(NOW_MS, "rules", "cut", "m", {})
            tx.add_audit(NOW_MS, "rules", "cut", "n", {})
            tx.add_permission(rows.PERMISSION)
            tx.add_approval(rows.APPROVAL)
            tx.save_price_list(rows.TARIFF)
            tx.save_account(rows.ACCOUNT)

        store.write_now(fill)
        with pytest.raises(DBAPIError), store.database.writer.begin() as connection:
            connection.execute(text(sql))


class NoticesContract:
    def test_a_notice_gets_a_number_and_comes_back(self, store: Store) -> None:
        stored = store.write_now(lambda tx: tx.add_notice(replace(rows.NOTICE, number=0)))
        assert stored == replace(rows.NOTICE, number=stored.number) and stored.number > 0
        assert store.read_now(lambda tx: (tx.notice(stored.number), tx.notice(stored.number + 1))) == (stored, None)
        sent = replace(stored, state=NoticeState.ACCEPTED, tries=4, detail="")
        store.write_now(lambda tx: tx.save_notice(sent))
        assert store.read_now(lambda tx: tx.notice(sent.number)) == sent
        with pytest.raises(LookupError):
            store.write_now(lambda tx: tx.save_notice(replace(sent, number=99)))

    def test_notices_that_are_due_and_those_of_an_account(self, store: Store) -> None:
        def add(tx: Tx) -> list[int]:
            queued = replace(rows.NOTICE, state=NoticeState.QUEUED)
            given = ((30, 5, "a"), (10, 6, "a"), (10, 7, "b"), (40, 8, "a"))
            every = [replace(queued, next_ms=next_ms, created_ms=created_ms, account=of) for next_ms, created_ms, of in given]
            return [tx.add_notice(each).number for each in [*every, replace(every[0], state=NoticeState.ACCEPTED)]]

        first, second, third, fourth, sent = store.write_now(add)

        def look(tx: Tx) -> None:
            assert [n.number for n in tx.due_notices(30, 9)] == [second, third, first]
            assert [n.number for n in tx.due_notices(30, 2)] == [second, third] and tx.due_notices(9, 9) == []
            assert [n.number for n in tx.notices(None, 6, 9)] == [fourth, third, second]
            assert [n.number for n in tx.notices("a", 5, 9)] == [fourth, second, sent, first]
            assert [n.number for n in tx.notices("a", 0, 1)] == [fourth] and tx.notices("x", 0, 9) == []
            assert [n.number for n in tx.notices(None, 0, 9, NoticeState.ACCEPTED)] == [sent]
            assert [n.number for n in tx.notices("a", 0, 2, NoticeState.QUEUED)] == [fourth, second]
            assert [n.number for n in tx.due_notices(30, 2, rows.NOTICE.channel)] == [second, third]
            assert tx.due_notices(30, 9, "another") == []
            channel = rows.NOTICE.channel
            assert tx.notice_counts(6) == {(channel, NoticeState.QUEUED): 3}
            assert tx.notice_counts(0) == {(channel, NoticeState.QUEUED): 4, (channel, NoticeState.ACCEPTED): 1}

        store.read_now(look)

    def test_findings_stand_until_they_are_over(self, store: Store) -> None:
        low = replace(rows.FINDING, kind=FindingKind.DISK_LOW, subject="gateway", data={})
        for finding in (rows.FINDING, low, replace(rows.FINDING, text="worse")):
            store.write_now(lambda tx, finding=finding: tx.save_finding(finding))
        worse = replace(rows.FINDING, text="worse")
        assert store.read_now(lambda tx: tx.findings()) == [low, worse]
        assert store.read_now(lambda tx: tx.finding(worse.kind, worse.subject)) == worse
        for _ in range(2):
            store.write_now(lambda tx: tx.drop_finding(worse.kind, worse.subject))
        assert store.read_now(lambda tx: (tx.findings(), tx.finding(worse.kind, worse.subject))) == ([low], None)

    def test_calendars_come_back(self, store: Store) -> None:
        other = replace(rows.CALENDAR, id="a", windows=(), until_next_workday_minute=None)
        for calendar in (rows.CALENDAR, other, replace(rows.CALENDAR, valid_to="2027-12-31")):
            store.write_now(lambda tx, calendar=calendar: tx.save_no_cut_calendar(calendar))
        renewed = replace(rows.CALENDAR, valid_to="2027-12-31")
        assert store.read_now(lambda tx: tx.no_cut_calendars()) == [other, renewed]
        store.write_now(lambda tx: tx.drop_no_cut_calendar("a"))
        assert store.read_now(lambda tx: (tx.no_cut_calendar("a"), tx.no_cut_calendar(renewed.id))) == (None, renewed)

    def test_a_wallet_comes_back(self, store: Store) -> None:
        def archive(tx: Tx) -> None:
            tx.save_price_list(rows.TARIFF)
            tx.save_account(rows.ACCOUNT)
            tx.save_meter(rows.METER)
            tx.save_wallet(replace(rows.WALLET, count=6))
            tx.save_wallet(rows.WALLET)

        store.write_now(archive)
        assert store.read_now(lambda tx: (tx.wallet(rows.METER.id), tx.wallet("x"))) == (rows.WALLET, None)
        with pytest.raises(Exception, match=r"(?i)check"):
            store.write_now(lambda tx: tx.save_wallet(replace(rows.WALLET, count=-1)))
        line = rows.METER.line
        assert store.read_now(lambda tx: (tx.wallets(), tx.wallets(line), tx.wallets("x"))) == ([rows.WALLET], [rows.WALLET], [])

    def test_deliveries_come_back_and_a_purchase_count_is_one_purchase(self, store: Store) -> None:
        first = rows.DELIVERY
        top_up = replace(first, id="d-2", act=Act.TOP_UP, due_ms=None, count=None, sent_ms=None, look_ms=None)

        def archive(tx: Tx) -> None:
            tx.save_price_list(rows.TARIFF)
            tx.save_account(rows.ACCOUNT)
            tx.save_meter(rows.METER)
            tx.add_delivery(first)
            tx.add_delivery(top_up)

        store.write_now(archive)
        meter, line = rows.METER.id, rows.METER.line
        assert store.read_now(lambda tx: (tx.delivery(first.id), tx.delivery("x"))) == (first, None)
        for found in (
            store.read_now(lambda tx: tx.open_deliveries()),
            store.read_now(lambda tx: tx.open_deliveries(line=line)),
            store.read_now(lambda tx: tx.open_deliveries(meter=meter)),
        ):
            assert found == [first, top_up]
        assert store.read_now(lambda tx: (tx.open_deliveries(line="x"), tx.open_deliveries(meter="x"))) == ([], [])
        assert store.read_now(lambda tx: (tx.deliveries(1), tx.deliveries(9, "house-7"), tx.deliveries(9, "x"))) == (
            [top_up], [top_up, first], []
        )  # fmt: skip
        done = replace(top_up, state=DeliveryState.IN_METER, count=8, changed_ms=rows.NOW_MS + 1)
        store.write_now(lambda tx: tx.save_delivery(done))
        assert store.read_now(lambda tx: (tx.delivery("d-2"), tx.open_deliveries())) == (done, [first])
        with pytest.raises(LookupError):  # nothing that has ended changes
            store.write_now(lambda tx: tx.save_delivery(done))
        with pytest.raises(LookupError):
            store.write_now(lambda tx: tx.save_delivery(replace(first, id="x")))
        with pytest.raises(Duplicate):
            store.write_now(lambda tx: tx.add_delivery(first))
        third = replace(top_up, id="d-3")
        store.write_now(lambda tx: tx.add_delivery(third))
        with pytest.raises(Exception, match=r"(?i)unique"):
            store.write_now(lambda tx: tx.save_delivery(replace(third, state=DeliveryState.IN_METER, count=8)))
        store.write_now(lambda tx: tx.save_delivery(replace(third, state=DeliveryState.IN_METER, count=8, epoch=3)))
        with pytest.raises(Exception, match=r"(?i)check"):
            store.write_now(lambda tx: tx.add_delivery(replace(top_up, id="d-4", micro=5)))


class SupplyContract(PermissionContract, PeopleContract, NoticesContract):
    """All of it."""
