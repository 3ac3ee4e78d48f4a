"""Limits that go into meters: one at a time, read back, judged by their bytes, and never more than one refused password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.domain.findings import FindingKind
from gateway.domain.jobs import Answered, Failed, Fault, Outcome, ParameterReadJob, ParametersSeen, ParameterWriteJob
from gateway.domain.limits import LoadLimit
from gateway.domain.meter_settings import MOST_TRIES
from gateway.services.due_settings import READ_BACK_MS, due_settings
from gateway.services.run_command import refused_passwords
from gateway.services.watch_limits import prime_limits
from gateway.services.write_limits import record_setting, settings_of, start_setting, write_again
from tests.gateway.services.house import NAK, PASSWORD, SILENT, House, account, meter

WANTED = {"trip_current_limit": 60_000, "trip_guard_delay": 5}
LIMIT = LoadLimit(0, 0, 1, 1, written=WANTED)
TOOK = Answered()


@dataclass
class Meter:
    """What stands in a meter, as bytes; a value is written as its digits."""

    holds: dict[str, str] = field(default_factory=lambda: {"trip_current_limit": "00", "trip_guard_delay": "00"})

    def read(self, job: ParameterReadJob) -> Answered:
        target = {name: str(value) for name, value in job.values}
        return Answered(parameters=ParametersSeen({name: self.holds.get(name, "") for name in target}, target))


@dataclass
class Bench:
    house: House
    meter: Meter

    def due(self) -> ParameterReadJob | ParameterWriteJob | None:
        """The line's next job of this kind, once it is due."""
        work = self.house.do(lambda tx: due_settings(tx, "bus-1", self.house.now_ms))
        if not work:
            return None
        (one,) = work
        self.house.now_ms = max(self.house.now_ms, one.due_ms)
        job = one.job
        assert isinstance(job, ParameterReadJob | ParameterWriteJob) and one.urgent
        return job

    def settle(self, job: ParameterReadJob | ParameterWriteJob, outcome: Outcome) -> None:
        self.house.do(lambda tx: record_setting(tx, job, outcome, self.house.now_ms))

    def turn(self, write: Outcome = TOOK, leaves: Mapping[str, str] | None = None) -> str:
        """Do the next job; a write leaves this in the meter, by default what it should."""
        job = self.due()
        if job is None:
            return "rest"
        if isinstance(job, ParameterReadJob):
            self.settle(job, self.meter.read(job))
            return "read"
        if not self.house.do(lambda tx: start_setting(tx, job, self.house.now_ms)):
            return "not wanted"
        self.meter.holds |= {job.name: str(job.value)} if leaves is None else leaves
        self.settle(job, write)
        return f"write {job.name}"

    def states(self) -> list[str]:
        found = self.house.do(lambda tx: settings_of(tx, "m1"))
        return [] if found is None else [each.state.value for each in found.parameters]

    def finding(self) -> str | None:
        found = self.house.do(lambda tx: tx.finding(FindingKind.LIMIT_NOT_WRITTEN, "m1"))
        return None if found is None else found.text


def bench(house: House, limit: LoadLimit = LIMIT, **changes: object) -> Bench:
    house.settle(meter(**changes), accounts=[account(limit=limit)], balance="100")
    house.do(lambda tx: prime_limits(tx, "", 100, house.now_ms))
    return Bench(house, Meter())


def test_each_limit_is_written_and_read_back(house: House) -> None:
    it = bench(house)
    assert it.states() == ["wanted", "wanted"]
    assert [it.turn() for _ in range(6)] == [
        *("read", "write trip_current_limit", "read"),
        *("write trip_guard_delay", "read", "rest"),
    ]
    assert (it.states(), it.finding()) == (["confirmed", "confirmed"], None)
    written = [event.data for event in house.events() if event.kind.value == "limit_written"]
    assert written == [{"parameter": name, "value": value} for name, value in WANTED.items()]
    acts = [(row.who, row.act, row.subject, row.data["parameter"]) for row in house.do(lambda tx: tx.audit_rows(0, 9))]
    assert acts == [("rules", "write_limit", "m1", name) for name in WANTED]


def test_what_stands_there_already_is_not_written(house: House) -> None:
    it = bench(house)
    it.meter.holds = {name: str(value) for name, value in WANTED.items()}
    assert [it.turn(), it.turn()] == ["read", "rest"]
    assert it.states() == ["confirmed", "confirmed"]


def test_a_write_is_read_back_a_second_later(house: House) -> None:
    it = bench(house)
    it.turn()
    it.turn()
    sent_ms = house.now_ms
    it.due()
    assert house.now_ms == sent_ms + READ_BACK_MS


def test_a_refusal_is_no_proof_and_the_meter_may_have_taken_it(house: House) -> None:
    it = bench(house)
    it.turn()
    it.turn(NAK)
    it.turn()
    assert it.states() == ["confirmed", "ready"]


def test_refused_and_unchanged_is_told_and_the_others_go_on(house: House) -> None:
    it = bench(house)
    it.turn()
    it.turn(NAK, {})
    assert [it.turn(), it.turn(), it.turn(), it.turn()] == ["read", "write trip_guard_delay", "read", "rest"]
    assert it.states() == ["refused", "confirmed"]
    assert it.finding() == "meter m1 does not hold its limits: trip_current_limit = 60000: unauthorised"


def test_a_partly_changed_value_puts_the_meter_into_quarantine(house: House) -> None:
    it = bench(house)
    it.turn()
    it.turn(NAK, {"trip_current_limit": "60"})
    assert [it.turn(), it.turn()] == ["read", "rest"]
    assert it.states() == ["uncertain", "ready"]
    text = it.finding()
    assert text is not None and text.endswith("nothing more is written to it until a person has looked")
    house.settle(accounts=[account(limit=LoadLimit(0, 0, 1, 1, written={"trip_delay": 3}))])
    house.do(lambda tx: prime_limits(tx, "", 100, house.now_ms))
    assert it.turn() == "rest"


def test_a_neighbour_that_moved_puts_the_meter_into_quarantine(house: House) -> None:
    it = bench(house)
    it.turn()
    it.turn(TOOK, {"trip_current_limit": "60000", "trip_guard_delay": "01"})
    it.turn()
    assert (it.states()[0], it.turn()) == ("uncertain", "rest")


def test_a_person_who_has_looked_lets_it_be_tried_again(house: House) -> None:
    it = bench(house)
    it.turn()
    it.turn(NAK, {"trip_current_limit": "60"})
    it.turn()
    assert house.do(lambda tx: write_again(tx, "m1", "operator:li", house.now_ms))
    assert [it.turn() for _ in range(6)][-1] == "rest"
    assert (it.states(), it.finding()) == (["confirmed", "confirmed"], None)
    assert "finding_closed" in house.kinds()
    assert not house.do(lambda tx: write_again(tx, "m9", "operator:li", house.now_ms))


def test_a_meter_that_does_not_heed_a_write_is_asked_so_often(house: House) -> None:
    it = bench(house)
    done = []
    it.turn()
    while (what := it.turn(TOOK, {})) != "rest":
        done.append(what)
    assert done == ["write trip_current_limit", "read"] * MOST_TRIES + ["write trip_guard_delay", "read"] * MOST_TRIES
    assert it.states() == ["refused", "refused"]
    assert "the meter did not heed 3 writes" in str(it.finding())


def test_after_silence_the_truth_is_read(house: House) -> None:
    it = bench(house)
    it.turn()
    it.turn(SILENT)
    assert it.states() == ["sent", "ready"]
    job = it.due()
    assert isinstance(job, ParameterReadJob)
    it.settle(job, SILENT)
    assert it.states()[0] == "sent"  # it is read until it answers
    assert it.turn() == "read"
    assert it.states()[0] == "confirmed"


def test_a_write_that_never_left_is_tried_again(house: House) -> None:
    it = bench(house)
    it.turn()
    it.turn(Failed(Fault.LINE_DOWN, "the line is down", certain=True), {})
    assert it.states()[0] == "ready"
    assert it.turn() == "write trip_current_limit"


def test_without_a_password_nothing_is_sent_and_a_person_told(house: House) -> None:
    it = bench(house)
    it.turn()
    it.turn(Failed(Fault.REFUSED, "not sent: there is no password class control", certain=True), {})
    it.turn()
    assert it.states()[0] == "refused"
    assert "there is no password class" in str(it.finding())
    assert house.do(lambda tx: refused_passwords(tx, "m1", house.now_ms)) == 0


def test_one_refused_password_a_day_is_all_that_settings_spend(house: House) -> None:
    it = bench(house)
    it.turn()
    it.turn(PASSWORD, {})
    it.turn()
    assert it.states() == ["refused", "ready"]
    assert house.do(lambda tx: refused_passwords(tx, "m1", house.now_ms)) == 1
    assert it.turn() == "rest"
    house.later(hours=24)
    assert it.turn(PASSWORD, {}) == "write trip_guard_delay"
    house.do(lambda tx: write_again(tx, "m1", "operator:li", house.now_ms))
    assert [it.turn(), it.turn()] == ["read", "rest"]


def test_a_parameter_that_the_meter_has_not_is_told(house: House) -> None:
    it = bench(house)
    del it.meter.holds["trip_current_limit"]
    assert [it.turn() for _ in range(4)] == ["read", "write trip_guard_delay", "read", "rest"]
    assert it.states() == ["unable", "confirmed"]
    assert it.finding() == "meter m1 does not hold its limits: trip_current_limit = 60000: the meter has no such parameter"


def test_a_meter_without_a_place_for_limits_is_told_until_nothing_is_wanted(house: House) -> None:
    it = bench(house, protocol="modbus-rtu")
    assert it.finding() == "meter m1 (modbus-rtu) has no place for limits that can be written"
    assert it.turn() == "rest"
    house.settle(meter(protocol="modbus-rtu"), accounts=[account()])
    house.do(lambda tx: prime_limits(tx, "", 100, house.now_ms))
    assert it.finding() is None


def test_another_limit_is_written_and_the_same_is_not_asked_about(house: House) -> None:
    it = bench(house)
    while it.turn() != "rest":
        pass
    house.do(lambda tx: prime_limits(tx, "", 100, house.now_ms))
    assert it.turn() == "rest"
    house.settle(accounts=[account(limit=LoadLimit(0, 0, 1, 1, written={"trip_current_limit": 50_000}))])
    house.do(lambda tx: prime_limits(tx, "", 100, house.now_ms))
    assert [it.turn() for _ in range(4)] == ["read", "write trip_current_limit", "read", "rest"]
    assert it.meter.holds["trip_current_limit"] == "50000"


def test_a_job_that_is_not_wanted_any_more_changes_nothing(house: House) -> None:
    it = bench(house)
    stale = ParameterReadJob("m1", (("trip_delay", 9),))
    it.settle(stale, it.meter.read(stale))
    assert it.states() == ["wanted", "wanted"]
    it.turn()
    for name, value in (("trip_guard_delay", 5), ("trip_current_limit", 1)):
        job = ParameterWriteJob("m1", name, value)
        assert not house.do(lambda tx, job=job: start_setting(tx, job, house.now_ms))  # type: ignore[misc]
    assert it.states() == ["ready", "ready"]
