"""The acceptance list against simulated meters, good and broken, in virtual time."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gateway.adapters.crypto_service import LocalCrypto
from gateway.adapters.line_tools.acceptance import report
from gateway.adapters.line_tools.acceptance.case import Outcome, Verdict
from gateway.adapters.line_tools.acceptance.precision import Precision
from gateway.adapters.line_tools.acceptance.redact import shown
from gateway.adapters.line_tools.acceptance.run import CASES, chosen, facts, run, subject_on
from gateway.adapters.line_tools.acceptance.subject import Options, Subject
from gateway.adapters.line_tools.place import Place, Setting
from gateway.adapters.line_tools.refusals import MOST, Refusals
from gateway.adapters.line_tools.traffic import Piece
from gateway.adapters.meter_links.dlt645_link import Password
from protocols.dlt645.frames import Deframer, Dialect, Frame, encode
from protocols.dlt645.master import Action, Control, Write
from protocols.dlt645.security import TestSecurityModule
from tests.gateway.adapters.line_tools.meters import Answers, Plain, line_of
from tests.simulation.memory_line import MemoryLine
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time
from tests.simulation.virtual_street import VirtualStreet

ADDRESS = "202611210001"
PLACE = Place("bench", "tcp", "bench:1", Setting(9600), told=True)
METER = {
    "id": "m", "line": "bus", "address": ADDRESS, "model": "dlt645-single", "password": "123456", "tail_ms": 0,
    "load": {"kind": "constant", "power_w": 100},
    "wallet": {"prices": ["0.5"], "balance": 100, "customer": "000000000007", "hoarding": 5000},
}  # fmt: skip
RIGHT = Password("123456", 2)


def street(**changes: object) -> VirtualStreet:
    return VirtualStreet({"line": [{"id": "bus", "kind": "tcp", "baud": 9600}], "meter": [{**METER, **changes}]})


async def on_bench(
    line: MemoryLine,
    folder: Path,
    only: Sequence[str] = (),
    *,
    options: Options | None = None,
    password: Password | None = RIGHT,
    dialect: Dialect = Dialect.V2007,
    see: Callable[[Subject], None] = lambda meter: None,
) -> dict[str, Outcome]:
    meter = await subject_on(
        PLACE, ADDRESS, dialect, clock=VirtualClock(), refusals=Refusals(folder / "refused.json"), options=options or Options(),
        password=password, module=LocalCrypto(TestSecurityModule(bytes)), stated_ms=1.0, transport=line,
    )  # fmt: skip
    outcomes = await run(meter, chosen(only))
    see(meter)
    await meter.probe.close()
    return {outcome.case.id: outcome for outcome in outcomes}


def verdicts(outcomes: dict[str, Outcome], wanted: Verdict) -> dict[str, str]:
    return {name: outcome.observed for name, outcome in outcomes.items() if outcome.verdict is wanted}


def test_the_list_has_no_case_twice_and_can_be_chosen_from() -> None:
    assert len({case.id for case in CASES}) == len(CASES)
    assert [case.id for case in chosen(["time.td"])] == ["time.td"]
    assert {case.id.split(".")[0] for case in chosen(["link", "wallet"])} == {"link", "wallet"}
    assert [case.id for case in chosen()][-2:] == ["control.lock", "link.length"]
    with pytest.raises(KeyError):
        chosen(["lin"])


@in_virtual_time
async def test_a_good_meter_passes_everything_and_is_left_as_it_was(tmp_path: Path) -> None:
    made = street()
    options = Options(lockout=True, wallet=True, long=True)
    outcomes = await on_bench(made.lines["bus"], tmp_path, options=options)
    assert verdicts(outcomes, Verdict.FAIL) == {}
    assert set(verdicts(outcomes, Verdict.NOT_RUN)) == {case.id for case in CASES if Dialect.V2007 not in case.dialects}
    assert "50 bytes: refused with 02; one more was refused with 02" in outcomes["link.write-length"].observed
    assert set(outcomes) == {case.id for case in CASES}
    station = made.station("m")
    assert station.meter.relay.contact_closed and not station.meter.protect and not station.meter.alarm
    assert station.meter.refused_passwords == 3, "one, and then two more, which lock: a locked meter counts no further"


@in_virtual_time
async def test_times_and_lengths_are_measured(tmp_path: Path) -> None:
    made = street(delay_ms=[100, 120])
    outcomes = await on_bench(made.lines["bus"], tmp_path, ["link", "time"])
    td = {figure.name: figure for figure in outcomes["time.td"].figures}
    assert 99 <= td["Td least"].value <= td["Td mean"].value <= td["Td most"].value <= 121
    assert td["Td most"].uncertainty == 1.0
    assert outcomes["link.length"].figures[0].value == 200
    assert "202 bytes in several frames" in outcomes["link.follow-up"].observed


@pytest.mark.parametrize(("delay_ms", "verdict"), [([5, 10], Verdict.FAIL), ([560, 570], Verdict.FAIL), ([20, 21], Verdict.PASS)])
@in_virtual_time
async def test_an_answer_too_early_or_too_late_fails(tmp_path: Path, delay_ms: list[int], verdict: Verdict) -> None:
    outcomes = await on_bench(street(delay_ms=delay_ms).lines["bus"], tmp_path, ["time.td"])
    assert outcomes["time.td"].verdict is verdict, outcomes["time.td"].observed


@in_virtual_time
async def test_no_more_than_two_refused_passwords_a_day_over_all_runs(tmp_path: Path) -> None:
    made, wrong = street(), Password("000001", 2)
    for times in (1, 2, 2, 2):
        outcomes = await on_bench(made.lines["bus"], tmp_path, ["control"], password=wrong)
        assert not verdicts(outcomes, Verdict.PASS)
        assert made.station("m").meter.refused_passwords == times
    assert "could lock it" in outcomes["control.accept"].observed
    assert made.station("m").meter.relay.contact_closed


@in_virtual_time
async def test_the_case_of_the_wrong_password_stays_within_the_budget(tmp_path: Path) -> None:
    made = street()
    runs = [await on_bench(made.lines["bus"], tmp_path, ["control.password"]) for _ in range(4)]
    seen = [outcomes["control.password"].verdict for outcomes in runs]
    assert seen[0] is Verdict.PASS and Verdict.FAIL not in seen and made.station("m").meter.refused_passwords == MOST


@in_virtual_time
async def test_a_meter_that_wants_orders_sealed_is_asked_once_and_no_more(tmp_path: Path) -> None:
    made, counts = street(firmware="grid-2013"), Refusals(tmp_path / "refused.json")
    outcomes = await on_bench(made.lines["bus"], tmp_path, ["control"])
    assert verdicts(outcomes, Verdict.FAIL) == {}
    assert set(verdicts(outcomes, Verdict.PASS)) == {"control.accept", "control.expiry", "control.password"}
    assert "wants it sealed" in outcomes["control.cut"].observed and "but 1B and 1C" in outcomes["control.protect"].observed
    assert counts.left(ADDRESS, VirtualClock().now_ms()) == 0, "one for the cut, one for the wrong password"


@in_virtual_time
async def test_without_a_password_or_a_wish_cases_say_why_they_were_not_run(tmp_path: Path) -> None:
    made = street()
    outcomes = await on_bench(made.lines["bus"], tmp_path, password=None)
    skipped = verdicts(outcomes, Verdict.NOT_RUN)
    assert {name for name in skipped if name.split(".")[0] not in ("control", "wallet", "old")} == {"link.write-length"}
    assert "no password was given" in skipped["control.cut"] and skipped["control.timed"] == "only with --long"
    assert skipped["wallet.next"] == "only with --wallet" and skipped["control.lock"] == "only with --lockout"
    assert made.station("m").meter.refused_passwords == 0


@in_virtual_time
async def test_a_welded_relay_fails(tmp_path: Path) -> None:
    made = street()
    made.station("m").faults.set("welded")
    outcomes = await on_bench(made.lines["bus"], tmp_path, ["control.cut"])
    assert outcomes["control.cut"].verdict is Verdict.FAIL and "not seen in status word 3" in outcomes["control.cut"].observed


@in_virtual_time
async def test_a_meter_that_delays_its_cuts_is_not_judged_by_them(tmp_path: Path) -> None:
    delayed = street(set={"04001401": 5})
    outcomes = await on_bench(delayed.lines["bus"], tmp_path, ["control.cut", "control.close"])
    assert all("delays every cut by 5 minutes" in outcome.observed for outcome in outcomes.values())
    assert all(outcome.verdict is Verdict.NOT_RUN for outcome in outcomes.values())


@in_virtual_time
async def test_a_1997_meter_is_held_to_what_its_standard_says(tmp_path: Path) -> None:
    made = VirtualStreet({
        "line": [{"id": "bus", "kind": "tcp", "baud": 9600}],
        "meter": [{"id": "m", "line": "bus", "address": ADDRESS, "model": "dlt645-1997", "tail_ms": 0}],
    })  # fmt: skip
    outcomes = await on_bench(made.lines["bus"], tmp_path, dialect=Dialect.V1997)
    assert verdicts(outcomes, Verdict.FAIL) == {}
    held = {id for id, outcome in outcomes.items() if Dialect.V1997 in outcome.case.dialects}
    assert set(verdicts(outcomes, Verdict.PASS)) == held and {"time.clock", "old.block", "old.again"} <= held
    assert "a total and 4 rates" in outcomes["old.block"].observed


def old_meter(answers: dict[str, bytes]) -> Callable[[bytes], Answers]:
    """A 1997 meter that tells these, and says them again; nothing else."""
    last: list[bytes] = []

    def answer(data: bytes) -> Answers:
        for frame in Deframer().feed(data):
            if frame.control == 0x11:
                return [(0.1, encode(Frame(ADDRESS, 0x91, frame.data + bytes(4))))]
            if frame.control == 0x02:
                return [(0.1, encode(Frame(ADDRESS, 0x82, frame.data + bytes(4))))]
            if frame.control == 0x03 and last:
                return [(0.1, encode(Frame(ADDRESS, 0x83, last[0][:-1] + b"\x77")))]
            di = frame.data[::-1].hex().upper()
            if di in answers:
                last[:] = [frame.data + answers[di]]
                return [(0.1, encode(Frame(ADDRESS, 0x81, last[0])))]
            return [(0.1, encode(Frame(ADDRESS, 0xC1, b"\x01")))]
        return []

    return answer


@pytest.mark.parametrize(
    ("block", "verdict", "said"),
    [
        ("0000010000400000006000000000000000000000", Verdict.PASS, "a total and 4 rates"),
        ("0000010000400000006000000000000000000000AA", Verdict.PASS, "a total and 4 rates"),
        ("0000010000400000007000000000000000000000", Verdict.FAIL, "add up to 110.00 kWh"),
        ("000001000040000000", Verdict.FAIL, "which are not its values"),
        ("FFFFFFFFFFFFFFFF", Verdict.FAIL, "not a total and its rates"),
    ],
)
@in_virtual_time
async def test_a_1997_block_adds_up(tmp_path: Path, block: str, verdict: Verdict, said: str) -> None:
    line = MemoryLine(old_meter({"9010": bytes.fromhex("78563412"), "901F": bytes.fromhex(block)}))
    outcomes = await on_bench(line, tmp_path, ["old.block"], dialect=Dialect.V1997)
    assert outcomes["old.block"].verdict is verdict and said in outcomes["old.block"].observed


@in_virtual_time
async def test_a_1997_meter_that_departs_from_its_standard_fails(tmp_path: Path) -> None:
    line = MemoryLine(old_meter({"9010": bytes.fromhex("78563412")}))
    outcomes = await on_bench(line, tmp_path, ["old"], dialect=Dialect.V1997)
    failed = verdicts(outcomes, Verdict.FAIL)
    assert set(failed) == {"old.unknown", "old.again", "old.follow-up", "old.newer"}
    assert "does not say that the identifier is wrong" in failed["old.unknown"] and "something followed" in failed["old.follow-up"]
    assert "is it a 2007 meter?" in failed["old.newer"] and "then" in failed["old.again"]
    assert "does not have 901F" in outcomes["old.block"].observed


def writable(data: bytes) -> Answers:
    """A meter that takes any write of up to 50 bytes for right, and hears no longer one."""
    for frame in Deframer().feed(data):
        if frame.control == 0x14 and len(frame.data) <= 50:
            return [(0.1, encode(Frame(ADDRESS, 0x94)))]
    return line_of(Plain(ADDRESS))(data)


@in_virtual_time
async def test_a_meter_that_takes_a_write_to_nothing_fails(tmp_path: Path) -> None:
    outcomes = await on_bench(MemoryLine(writable), tmp_path, ["link.write-length"])
    assert outcomes["link.write-length"].verdict is Verdict.FAIL and "was accepted" in outcomes["link.write-length"].observed
    deaf = await on_bench(MemoryLine(line_of(Plain(ADDRESS))), tmp_path, ["link.write-length"])
    assert deaf["link.write-length"].verdict is Verdict.FAIL and "no answer to a write" in deaf["link.write-length"].observed


def babbler(data: bytes) -> Answers:
    """A meter that answers whatever it hears: wrong checksums, foreign addresses, broadcasts."""
    return [(0.1, encode(Frame(ADDRESS, 0x91, bytes.fromhex("00000100") + b"\x78\x56\x34\x12")))]


@in_virtual_time
async def test_a_meter_that_answers_anything_fails_the_silent_cases(tmp_path: Path) -> None:
    outcomes = await on_bench(MemoryLine(babbler), tmp_path, ["link"])
    failed = verdicts(outcomes, Verdict.FAIL)
    silent = {"link.checksum", "link.end", "link.truncated", "link.answer-bit", "link.foreign", "link.broadcast-read", "link.short"}
    assert silent <= set(failed)
    assert outcomes["link.read"].verdict is Verdict.PASS


@in_virtual_time
async def test_a_dead_meter_passes_nothing(tmp_path: Path) -> None:
    outcomes = await on_bench(MemoryLine(lambda data: []), tmp_path, ["link", "time"])
    assert verdicts(outcomes, Verdict.PASS) == {}


@in_virtual_time
async def test_a_line_that_breaks_ends_the_list(tmp_path: Path) -> None:
    class Breaking(MemoryLine):
        async def send(self, data: bytes) -> None:
            await super().send(data)
            if len(self.sent) == 3:
                self.unplug()

    outcomes = await on_bench(Breaking(line_of(Plain(ADDRESS))), tmp_path, ["link"])
    assert [outcome.verdict for outcome in outcomes.values()][:2] == [Verdict.PASS, Verdict.PASS]
    assert all("the line broke" in text for text in verdicts(outcomes, Verdict.NOT_RUN).values())


@in_virtual_time
async def test_no_password_stands_in_a_report(tmp_path: Path) -> None:
    made = street()
    outcomes = await on_bench(made.lines["bus"], tmp_path, ["control"], options=Options(long=True))
    assert verdicts(outcomes, Verdict.FAIL) == {}
    data = json.loads(report.as_json(report.Heading("", "", "", ADDRESS, "", 0, 0), Precision({}), list(outcomes.values())))
    frames = [frame["hex"] for case in data["cases"] for frame in case["frames"]]
    secret = bytes((byte + 0x33) & 0xFF for byte in bytes.fromhex("563412")).hex().upper()
    raw = [piece.data.hex().upper() for outcome in outcomes.values() for piece in outcome.pieces]
    assert any(secret in text for text in raw) and not any(secret in text for text in frames)
    assert any("XXXXXX" in text for text in frames)


def test_passwords_are_hidden_in_echoes_and_however_the_bytes_came() -> None:
    order = Control(ADDRESS, Action.CUT, None, 2, "123456").start()
    write = Write(ADDRESS, "04001401", bytes(2), 4, "654321").start()
    read = bytes.fromhex("FEFEFEFE6818556006000068910833333433C66335339A16")
    for cut in range(1, len(order)):
        pieces = [Piece(0, "out", order), Piece(1, "in", order[:cut]), Piece(2, "in", order[cut:] + read), Piece(3, "out", write)]
        sent, echo, rest, written = shown(pieces)
        assert sent == echo + rest[: len(sent) - len(echo)] and rest.endswith(read.hex().upper())
        assert sent.count("XX") == 4 and written.count("XX") == 4 and "896745" not in sent + echo + rest


@in_virtual_time
async def test_the_report_holds_everything_and_its_page_names_the_digest(tmp_path: Path) -> None:
    made = street()
    meter = await subject_on(
        PLACE, ADDRESS, Dialect.V2007, clock=VirtualClock(), refusals=Refusals(tmp_path / "r"), options=Options(),
        transport=made.lines["bus"],
    )  # fmt: skip
    told, outcomes = await facts(meter), await run(meter, chosen(["link.read", "link.checksum", "time.td", "control.cut"]))
    await meter.probe.close()
    heading = report.Heading("wattgate 0", "bench", "9600 8E1", ADDRESS, "dlt645-2007", 0, 1000, by="<Li & Wei>", facts=told)
    precision = Precision({"stated by the laboratory": 1.0})
    data = report.as_json(heading, precision, outcomes)
    parsed = json.loads(data)
    assert parsed["who"]["by"] == "<Li & Wei>" and parsed["summary"] == {"pass": 3, "fail": 0, "not_run": 1}
    (read, checksum, td, cut) = parsed["cases"]
    assert read["frames"][0]["dir"] == "out" and read["frames"][0]["hex"].startswith("FEFEFEFE68010021112620")
    assert any(frame["dir"] == "in" for frame in read["frames"]) and td["figures"][0]["uncertainty"] is not None
    assert cut["verdict"] == "not run" and "no password" in cut["observed"] and checksum["clause"]
    page = report.as_html(heading, precision, outcomes, data)
    assert hashlib.sha256(data.encode()).hexdigest() in page and "&lt;Li &amp; Wei&gt;" in page and "<Li & Wei>" not in page
    assert "Signature" in page and "± 1 ms" in page
    assert told["number"] == ADDRESS
