"""Recordings: what is written is read, what is broken is named, and a replay sees what was on the wire."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from gateway.adapters.line_tools.place import Place, Setting
from gateway.adapters.line_tools.playback import Playback
from gateway.adapters.line_tools.recorder import Recorder
from gateway.adapters.line_tools.replay import replay
from gateway.adapters.line_tools.traffic import BadTraffic, Header, Piece, Tap, read_traffic, written_header, written_piece
from gateway.adapters.lines.transport import LineDown
from protocols.dlt645.frames import Dialect
from protocols.dlt645.master import Read
from protocols.errors import RequestError
from tests.gateway.adapters.line_tools.meters import Plain, line_of
from tests.simulation.memory_line import MemoryLine
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time

ANSWER = bytes.fromhex("FEFEFEFE6818556006000068910833333433C66335339A16")  # v009: 230.93 kWh, logged
QUESTION = Read("000006605518", "00010000").start()
HEADER = Header("bus", 2400, "E", "2026-01-01T00:00:00.000Z")
PLACE = Place("bus", "tcp", "bus:1", Setting(2400), told=True)


def file_of(*pieces: Piece) -> list[str]:
    return [written_header(HEADER), *(written_piece(piece) for piece in pieces)]


def asked(*answer: bytes, question: bytes = QUESTION, start_us: int = 0) -> list[Piece]:
    pieces = [Piece(start_us, "out", question)]
    return pieces + [Piece(start_us + 100_000 + 20_000 * n, "in", piece) for n, piece in enumerate(answer)]


def reads(pieces: list[Piece]) -> list[dict[str, object]]:
    return [row for row in replay(pieces).rows if "read" in row]


def test_a_file_gives_back_what_was_written() -> None:
    pieces = asked(ANSWER[:5], ANSWER[5:])
    assert read_traffic(file_of(*pieces)) == (HEADER, pieces)
    assert read_traffic([written_header(Header("x", None, None, ""))]) == (Header("x", None, None, ""), [])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "no recording"),
        (["hello\n"], "no recording"),
        (['{"wattgate": "capture", "version": 9}\n'], "version 9"),
        ([*file_of(), "{}\n"], "line 2"),
        ([*file_of(), '{"us": 1, "dir": "up", "hex": ""}\n'], "line 2"),
        ([*file_of(), '{"us": 1, "dir": "in", "hex": "0"}\n'], "line 2"),
        ([*file_of(), '{"us": true, "dir": "in", "hex": "00"}\n'], "line 2"),
        (file_of(Piece(5, "in", b"a"), Piece(4, "in", b"b")), "line 3: time runs backwards"),
    ],
)
def test_what_is_no_recording_is_named(lines: list[str], words: str) -> None:
    with pytest.raises(BadTraffic, match=words):
        read_traffic(lines)


def test_a_recording_that_was_cut_off_is_good_up_to_there() -> None:
    lines = file_of(*asked(ANSWER))
    assert read_traffic([*lines[:-1], lines[-1][:20]])[1] == asked(ANSWER)[:1]


@pytest.mark.parametrize("cut", range(1, len(ANSWER), 5))
def test_a_replayed_read_has_its_value_however_the_bytes_came(cut: int) -> None:
    (row,) = reads(asked(ANSWER[:cut], ANSWER[cut:]))
    assert row["outcome"] == "answered" and row["values"] == {"energy_import": "230.93"}
    assert row["took_us"] == 120_000 and row["skipped"] == 0


def test_replay_tells_refused_from_silent_and_follows_repetitions_and_echoes() -> None:
    refused = bytes.fromhex("FEFEFEFE6818556006000068D10135AA16")
    with_echo, noise = asked(QUESTION + ANSWER, start_us=3_000_000), asked(b"\x00\x12", start_us=5_000_000)
    pieces = [*asked(refused), *asked(start_us=1_000_000), *with_echo, *noise]
    assert [row["outcome"] for row in reads(pieces)] == ["refused", "silent", "answered", "silent"]
    assert replay(pieces).reads == 4 and replay(pieces).answered == 1


def test_a_passive_recording_is_followed_too() -> None:
    together = [Piece(0, "in", QUESTION + ANSWER), Piece(2_000_000, "in", QUESTION[:7]), Piece(2_010_000, "in", QUESTION[7:])]
    apart = [Piece(2_100_000, "in", ANSWER)]
    assert [row["outcome"] for row in reads([*together, *apart])] == ["answered", "answered"]


@in_virtual_time
async def test_follow_up_frames_are_one_read() -> None:
    from tests.simulation.virtual_street import VirtualStreet

    street = VirtualStreet({
        "line": [{"id": "bus", "kind": "tcp", "baud": 9600}],
        "meter": [{"id": "m", "line": "bus", "address": "202611210001", "model": "dlt645-single", "tail_ms": 0}],
    })  # fmt: skip
    out = io.StringIO()
    recorder = Recorder(PLACE, out, VirtualClock(), [("202611210001", "03300201"), ("202611210001", "00010000")], 1.0)
    await recorder.record(6.0, street.lines["bus"])
    header, pieces = read_traffic(out.getvalue().splitlines(keepends=True))
    assert (header.line, header.baud, header.parity, header.begun) == ("bus", 2400, None, "2026-01-01T00:00:00.000Z")
    rows = reads(pieces)
    assert recorder.answers >= 4 and len([row for row in rows if row["outcome"] == "answered"]) >= recorder.answers
    assert {row["read"] for row in rows} == {"03300201", "00010000"} and len(str(rows[0]["data"])) == 404
    playback = Playback(pieces)
    assert playback.questions == 3


@in_virtual_time
async def test_only_listening_keeps_everything_with_its_moment() -> None:
    line = MemoryLine(lambda data: [])
    out = io.StringIO()
    recorder = Recorder(PLACE, out, VirtualClock())

    class Talking(MemoryLine):
        async def open(self) -> None:
            await super().open()
            import asyncio

            for n in range(3):
                asyncio.get_running_loop().call_later(1.5 * n + 0.25, self._inbox.feed, bytes([n]))

    talking = Talking(lambda data: [])
    await recorder.record(5.0, talking)
    _, pieces = read_traffic(out.getvalue().splitlines(keepends=True))
    assert [(piece.at_us, piece.data) for piece in pieces] == [(250_000, b"\x00"), (1_750_000, b"\x01"), (3_250_000, b"\x02")]
    assert talking.sent == [] and talking.down is not None and line.opened == 0


@in_virtual_time
async def test_a_recording_ends_with_the_line_and_asks_nothing_that_cannot_be_asked() -> None:
    out = io.StringIO()
    with pytest.raises(RequestError):
        await Recorder(PLACE, out, VirtualClock(), [("1", "00010000")]).record(5.0, MemoryLine(lambda data: []))
    assert out.getvalue() == ""

    class Dying(MemoryLine):
        async def send(self, data: bytes) -> None:
            self.unplug()
            raise LineDown("memory is gone")

    with pytest.raises(LineDown):
        await Recorder(PLACE, out, VirtualClock(), [("000000000001", "00010000")]).record(5.0, Dying(lambda data: []))


@in_virtual_time
async def test_a_tap_also_sees_what_nobody_waited_for() -> None:
    import asyncio

    seen: list[Piece] = []
    tap = Tap(MemoryLine(lambda data: [(0.1, b"a"), (0.2, b"b")]), seen.append)
    assert tap.down is not None and tap.name == "memory"
    await tap.open()
    await tap.send(b"?")
    await asyncio.sleep(0.3)
    assert tap.discard() == 2 and [(piece.at_us, piece.data) for piece in seen] == [(0, b"?"), (100_000, b"a"), (200_000, b"b")]
    await tap.close()
    with pytest.raises(LineDown):
        await tap.receive(0.1)


def test_a_playback_answers_known_questions_as_they_were_answered() -> None:
    pieces = [*asked(ANSWER[:5], ANSWER[5:]), *asked(ANSWER, start_us=1_000_000)]
    playback = Playback(pieces)
    assert playback.hear(QUESTION) == [(100_000, ANSWER[:5]), (120_000, ANSWER[5:])]
    assert playback.hear(QUESTION[:6]) == [] and playback.hear(QUESTION[6:]) == [(100_000, ANSWER)], "split, without its preamble"
    assert playback.hear(Read("000000000001", "00010000").start()) == []
    assert (playback.asked, playback.unknown, playback.questions) == (3, 1, 1)


def test_a_playback_of_an_echoing_line_echoes() -> None:
    playback = Playback(asked(QUESTION + ANSWER))
    assert playback.hear(QUESTION) == [(100_000, QUESTION + ANSWER)]


@pytest.mark.parametrize("dialect", list(Dialect))
def test_replay_knows_both_dialects(dialect: Dialect) -> None:
    meter = Plain("000000000197", dialect)
    di = "00010000" if dialect is Dialect.V2007 else "9010"
    question = Read(meter.address, di).start()
    ((_, said),) = line_of(meter)(question)
    result = replay(asked(said, question=question))
    assert result.answered == 1 and result.frames == 2 and result.skipped == 0
    words = json.dumps(result.rows[1])
    assert "123456.78" in words and "explanation" in words


def test_a_file_of_a_real_run_can_be_written_and_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("".join(file_of(*asked(ANSWER))))
    with path.open() as lines:
        assert read_traffic(lines)[1] == asked(ANSWER)
