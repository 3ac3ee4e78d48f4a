"""The log's bound: few lines of each kind, every kind heard, and what was left out is told."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from random import Random

import pytest
import structlog
from structlog.typing import EventDict

from gateway.adapters import quiet_log
from gateway.adapters.quiet_log import LEFT_OUT, MOST_ALIKE, MOST_KINDS, MOST_OF_A_LINE, WINDOW_S, Key, QuietLog


class Log:
    """A limited log on a clock of its own."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.told: list[tuple[Key, int]] = []
        self.lines: list[tuple[str, EventDict]] = []
        self._quiet = QuietLog(lambda: self.now_s, lambda key, count: self.told.append((key, count)))

    def say(self, level: str, event: str, **words: object) -> bool:
        try:
            self._quiet(None, level, {"event": event, **words})
        except structlog.DropEvent:
            return False
        self.lines.append((level, {"event": event, **words}))
        return True

    def end(self) -> None:
        self._quiet.tell(everything=True)

    @property
    def left_out(self) -> int:
        return sum(count for _, count in self.told)


def test_pain_43_a_million_lines_of_one_fault_are_a_handful_a_minute() -> None:
    log = Log()
    for n in range(1_000_000):
        log.now_s = n / 1000  # 1,000 a second for 17 minutes
        log.say("error", "job_error", line="bus", meter="m1")
    log.end()
    minutes = int(1000 / WINDOW_S) + 1
    assert MOST_ALIKE <= len(log.lines) <= MOST_ALIKE + minutes
    assert len(log.told) <= minutes + 1
    assert len(log.lines) + log.left_out == 1_000_000, "what is left out is counted, not lost"


def test_pain_43_whatever_is_said_the_lines_of_a_minute_are_bounded() -> None:
    log, rng = Log(), Random(43)
    levels = ("info", "warning", "error", "exception")
    for n in range(300_000):
        log.now_s = n * WINDOW_S / 300_000
        words = {"line": f"l{rng.randrange(200)}", "meter": f"m{rng.randrange(1000)}"}
        log.say(rng.choice(levels), f"free text {n if n % 2 else n % 7}", **words)
    assert len(log.lines) <= (MOST_KINDS + len(levels)) * MOST_ALIKE
    log.end()
    assert len(log.lines) + log.left_out == 300_000
    assert len(log.told) <= 2 * (MOST_KINDS + len(levels))


def test_one_kind_does_not_hide_another_nor_one_meter_or_line_another() -> None:
    log = Log()
    for _ in range(1000):
        log.say("warning", "flood", line="bus", meter="m1")
    assert log.say("warning", "rare", line="bus", meter="m1")
    assert log.say("warning", "flood", line="bus", meter="m2")
    assert log.say("warning", "flood", line="other", meter="m1")
    assert log.say("warning", "flood")


def test_errors_are_never_hidden_behind_messages() -> None:
    log = Log()
    for n in range(100_000):
        log.say("info", f"chatter {n}", line="bus", meter=f"m{n % 50}")
        log.say("info", "loop_failed", line="bus")
    assert log.say("error", "loop_failed", line="bus"), "the same words, said as an error"
    assert log.say("exception", "unheard of", line="bus", meter="m1"), "a new one, when the table is full of messages"


def test_all_meters_of_a_jammed_line_together_have_a_bound_too() -> None:
    log = Log()
    for n in range(1000):
        log.say("info", "meter_changed", line="bus", meter=f"m{n}")
    assert len(log.lines) == MOST_OF_A_LINE
    assert log.say("info", "meter_changed", line="other", meter="m1")
    log.end()
    assert log.told == [(("info", "meter_changed", "bus", "*"), 1000 - MOST_OF_A_LINE)]


def test_what_was_left_out_is_told_once_the_minute_is_over_and_the_flood_goes_on_at_one_a_minute() -> None:
    log = Log()
    for _ in range(100):
        log.say("error", "flood", line="bus")
    assert (len(log.lines), log.told) == (MOST_ALIKE, [])
    log.now_s = WINDOW_S
    for _ in range(10):
        log.say("error", "flood", line="bus")
    assert (len(log.lines), log.told) == (MOST_ALIKE + 1, [(("error", "flood", "bus", ""), 95)])
    log.now_s = 3 * WINDOW_S
    log.say("info", "something else")
    assert log.told[1:] == [(("error", "flood", "bus", ""), 9)]
    log.now_s = 5 * WINDOW_S
    assert all(log.say("error", "flood", line="bus") for _ in range(MOST_ALIKE)), "after a quiet minute it is heard as at first"


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_tracebacks_are_limited_like_everything_else_and_lines_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    quiet = quiet_log.configure()
    log = structlog.get_logger().bind(line="bus")
    for _ in range(1000):
        try:
            raise RuntimeError("broken")
        except RuntimeError:
            log.exception("line_loop_error")
    log.debug("whatever")
    quiet.tell(everything=True)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(lines) == MOST_ALIKE + 1
    assert all("Traceback" in line["exception"] and line["level"] == "error" for line in lines[:-1])
    told = {key: lines[-1][key] for key in ("event", "of", "of_level", "line", "count")}
    assert told == {"event": LEFT_OUT, "of": "line_loop_error", "of_level": "error", "line": "bus", "count": 1000 - MOST_ALIKE}


def test_what_libraries_say_is_limited_too(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    quiet_log.configure()
    for _ in range(1000):
        logging.getLogger("paho").warning("%s happened", "it")
        logging.getLogger("paho").info("nothing")
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["event"], line["text"], line["level"]) for line in lines] == [("paho", "it happened", "warning")] * MOST_ALIKE


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", FullDisk())
    quiet_log.configure()
    structlog.get_logger().error("the disk is full")
