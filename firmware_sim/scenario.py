"""A scenario: the handle's acts, questions on the wire and expectations, one after another along a time line.

The runner is a generator that never waits itself: it yields what it needs (`Wait`, `Ask`) and is sent what was heard. Virtual time
and the real clock drive the same steps.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from firmware_sim.fields import ID, Fields, Table
from firmware_sim.handle import ACTS, LINE_ACTS, Handle, Problem
from firmware_sim.questions import QUESTIONS, build
from firmware_sim.station import Station
from protocols.errors import Malformed, Refused, RequestError
from protocols.exchange import Done, Exchange, Send

MAX_STEPS = 10_000
MAX_S = 10**8  # three years
LOOK_US = 100_000  # how often at most an expectation is looked at while it may still come true ...
MOST_LOOKS = 1_000  # ... and how often in all
ANSWER_US = 2_000_000
WAIT, EXPECT = "wait", "expect"
KNOWN = (*ACTS, *LINE_ACTS, *QUESTIONS, WAIT, EXPECT)


class ScenarioError(Exception):
    """The scenario cannot be run; `errors` holds one sentence per reason."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = errors
        super().__init__("\n".join(errors))


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass until this monotonic moment."""

    until_us: int


@dataclass(frozen=True, slots=True)
class Ask:
    """Put bytes on a line (none: only listen) and send back what is heard next, or nothing at `until_us`."""

    line: str
    data: bytes
    until_us: int


Need = Wait | Ask
Run = Generator[Need, bytes, None]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the scenario. at_us: since its beginning, None: right after the one before. body: what is left for the act."""

    number: int
    at_us: int | None
    on: str
    act: str
    body: Table
    within_us: int = 0


@dataclass(frozen=True, slots=True)
class Scenario:
    """Steps, and when it is over; None: after the last step."""

    steps: tuple[Step, ...]
    end_us: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a step; message is empty when all went as expected."""

    step: Step
    at_us: int
    took_us: int
    message: str

    @property
    def name(self) -> str:
        """For people: when, what, on whom."""
        return f"step {self.step.number}: {self.at_us / 1e6:g} s {self.step.act} {self.step.on}".rstrip()


def load(path: str | Path) -> Scenario:
    """A file of its own. Raises ScenarioError."""
    try:
        table = tomllib.loads(Path(path).read_bytes().decode())
    except OSError as error:
        raise ScenarioError([f"{path} cannot be read: {error.strerror}."]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ScenarioError([f"{path} is not TOML: {error}."]) from error
    errors: list[str] = []
    fields = Fields(table, "file", errors)
    scenario = parse(fields, errors)
    fields.done()
    if errors:
        raise ScenarioError(errors)
    return scenario


def parse(fields: Fields, errors: list[str]) -> Scenario:
    """`end_s` and the `[[step]]` rows of a table."""
    end_us = _us(fields, "end_s") if fields.has("end_s") else None
    steps = tuple(_step(row, n, errors) for n, row in enumerate(fields.rows("step", MAX_STEPS), 1))
    times = [step.at_us for step in steps if step.at_us is not None]
    if times != sorted(times):
        errors.append("[[step]]: at_s must not fall from step to step")
    return Scenario(steps, end_us)


def _step(row: object, number: int, errors: list[str]) -> Step:
    fields = Fields(row if isinstance(row, dict) else {}, f"[[step]] {number}", errors)
    at_us = _us(fields, "at_s") if fields.has("at_s") else None
    act = fields.choice("act", KNOWN)
    key = "line" if act in LINE_ACTS else "meter"
    on = fields.text(key, None, ID, "the id of one") if act != WAIT else ""
    within_us = _us(fields, "within_s") if fields.has("within_s") else 0
    body = {name: fields.value(name) for name in fields.names()}
    if act in QUESTIONS:
        build(Fields(body, fields.where, errors), act)
    elif act == WAIT and not within_us and at_us is None:
        fields.complain("within_s", "or at_s says how long to wait, and both are missing")
    return Step(number, at_us, on, act, body, within_us)


def check(scenario: Scenario, meters: Mapping[str, bool], lines: Collection[str]) -> None:
    """Every step is about something that is there. meters: by id, whether its line carries questions. Raises ScenarioError."""
    errors = []
    for step in scenario.steps:
        known, what = (lines, "serial line") if step.act in LINE_ACTS else (meters, "meter")
        if step.act != WAIT and step.on not in known:
            errors.append(f"[[step]] {step.number}: there is no {what} {step.on!r}")
        elif step.act in QUESTIONS and not meters[step.on]:
            errors.append(f"[[step]] {step.number}: {step.on} speaks Modbus TCP, which a scenario does not ask")
    if errors:
        raise ScenarioError(errors)


def _us(fields: Fields, key: str) -> int:
    return int(fields.number(key, None, 0, MAX_S) * 1_000_000)


class Runner:
    """Runs a scenario over a handle. clock: monotonic us, in which the scenario begins when `run` is begun."""

    def __init__(self, scenario: Scenario, handle: Handle, clock: Callable[[], int]) -> None:
        self._scenario = scenario
        self._handle = handle
        self._clock = clock
        self.outcomes: list[Outcome] = []

    @property
    def ok(self) -> bool:
        """Nothing has gone otherwise than expected so far."""
        return not any(outcome.message for outcome in self.outcomes)

    def run(self) -> Run:
        """Every step at its time."""
        begin_us = self._clock()
        for step in self._scenario.steps:
            if step.at_us is not None and begin_us + step.at_us > self._clock():
                yield Wait(begin_us + step.at_us)
            started_us = self._clock()
            message = yield from self._guarded(step)
            self.outcomes.append(Outcome(step, started_us - begin_us, self._clock() - started_us, message))
        if self._scenario.end_us is not None:
            yield Wait(begin_us + self._scenario.end_us)

    def _guarded(self, step: Step) -> Generator[Need, bytes, str]:
        try:
            return (yield from self._carry_out(step))
        except (Problem, RequestError) as error:
            return str(error)

    def _carry_out(self, step: Step) -> Generator[Need, bytes, str]:
        if step.act == WAIT:
            yield Wait(self._clock() + step.within_us)
            return ""
        if step.act == EXPECT:
            return (yield from self._expect(step))
        if step.act in QUESTIONS:
            return (yield from self._ask(step))
        if step.act in LINE_ACTS:
            self._handle.act_on_line(step.on, step.act, step.body)
        else:
            self._handle.act(step.on, step.act, step.body)
        return ""

    def _expect(self, step: Step) -> Generator[Need, bytes, str]:
        """Look at the truth until it is as expected, or `within_s` has passed."""
        deadline_us = self._clock() + step.within_us
        while True:
            wrong = list(differences(self._handle.truth(self._handle.station(step.on), frames=False), step.body))
            if not wrong or self._clock() >= deadline_us:
                return "; ".join(wrong)
            yield Wait(min(deadline_us, self._clock() + max(LOOK_US, step.within_us // MOST_LOOKS)))

    def _ask(self, step: Step) -> Generator[Need, bytes, str]:
        station = self._handle.station(step.on)
        question = build(Fields(dict(step.body), step.act, []), step.act)
        station.advance(self._clock())
        try:
            for exchange in question.exchanges(station):
                result = yield from self._exchange(station, exchange)
                question.take(result)
        except Refused as refusal:
            return question.refused(refusal)
        except Malformed as error:
            return str(error)
        except TimeoutError:
            return question.silent()
        return question.answered()

    def _exchange(self, station: Station, exchange: Exchange[Any]) -> Generator[Need, bytes, Any]:
        """The exchange's result. Raises TimeoutError when nobody answers, and what the exchange raises."""
        sent, until_us = exchange.start(), self._clock() + ANSWER_US
        while True:
            heard = yield Ask(station.line, sent, until_us)
            if not exchange.answered:
                return None
            if not heard:
                raise TimeoutError
            step = exchange.feed(heard)
            if isinstance(step, Done):
                return step.result
            sent = step.data if isinstance(step, Send) else b""
            until_us = self._clock() + ANSWER_US


def differences(truth: Mapping[str, object], expected: Table) -> Iterator[str]:
    """What is otherwise than expected; names may be dotted; `{min = 1, max = 2}` stands for a range."""
    for name, value in expected.items():
        found: object = truth
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if isinstance(value, Mapping) and not isinstance(found, Mapping):
            if not _within(found, value):
                yield f"{name} is {found!r}, not within {dict(value)}"
        elif isinstance(value, Mapping):
            yield from (f"{name}.{each}" for each in differences(dict(found) if isinstance(found, Mapping) else {}, value))
        elif not _same(found, value):
            yield f"{name} is {found!r}, not {value!r}"


def _within(found: object, bounds: Table) -> bool:
    try:
        number = Decimal(str(found))
        return Decimal(str(bounds.get("min", number))) <= number <= Decimal(str(bounds.get("max", number)))
    except ArithmeticError:
        return False


def _same(found: object, value: object) -> bool:
    if isinstance(found, bool | list) or isinstance(value, bool | list):
        return type(found) is type(value) and found == value
    try:
        return Decimal(str(found)) == Decimal(str(value))
    except ArithmeticError:
        return found == value
