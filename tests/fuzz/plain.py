"""Fuzzing without atheris: a seeded mutator over the corpus, counted steps, and a watch on time and memory."""

from __future__ import annotations

import signal
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from types import FrameType
from typing import Any

from tests.fuzz import shapes
from tests.fuzz.targets import MAX_INPUT, Target

HANG_S = 5
"""Processor time for one input; the slowest takes a hundredth of it."""
WATCHED_EVERY = 50
"""How often the steps of an input are counted, which makes it ten times slower."""
MOST_STEPS, STEPS_PER_BYTE = 20_000, 1_000
"""Lines of code for one input: three times what the worst of a million took. How they grow is tested on long lines."""
MAX_POOL = 2_000
"""Inputs kept to be changed further."""
MAX_CHANGES = 3
"""Changes made to one input in a row."""


class Hang(BaseException):
    """An input took more than its time; no `except Exception` on the way may swallow that."""


class Broken(AssertionError):
    """A target failed; the text holds the input."""


@dataclass(slots=True)
class Tally:
    """inputs: how many ran; most_steps: of lines of code among those watched."""

    inputs: int = 0
    most_steps: int = 0


def inputs(target: Target, corpus: list[bytes], dice: Random, shaped: bool) -> Iterator[bytes]:
    """Endless inputs made from the corpus and from each other."""
    pool = list(corpus) or [b""]
    change = target.shape if shaped else shapes.scramble
    while True:
        data = dice.choice(pool)
        for _ in range(dice.randint(1, MAX_CHANGES)):
            data = change(dice, data)[:MAX_INPUT]
        if len(pool) < MAX_POOL:
            pool.append(data)
        yield data


def shake(target: Target, corpus: list[bytes], seed: int, count: int, shaped: bool) -> Tally:
    """Runs `count` inputs. Raises Broken with the input that a target could not bear, or that took too many steps or too long."""
    tally = Tally()
    for data in inputs(target, corpus, Random(seed), shaped):
        if tally.inputs == count:
            return tally
        watch = tally.inputs % WATCHED_EVERY == 0
        tally.most_steps = max(tally.most_steps, run(target, data, watch))
        tally.inputs += 1
    raise AssertionError("inputs never end")


def run(target: Target, data: bytes, watch: bool = True) -> int:
    """One input; its steps when watched, else 0. Raises Broken."""
    steps = 0
    try:
        with in_time():
            target.run(data)
            if watch:  # the second time, when imports and caches cost nothing
                steps = steps_of(target.run, data)
    except (Exception, Hang) as error:
        raise Broken(f"{type(error).__name__}: {error}; input {data.hex().upper()}") from error
    if steps > MOST_STEPS + STEPS_PER_BYTE * len(data):
        raise Broken(f"{steps} steps for {len(data)} bytes; input {data.hex().upper()}")
    return steps


def steps_of(work: Callable[[bytes], object], data: bytes) -> int:
    """How many lines of Python `work` runs through; what must not grow faster than its input."""
    steps = 0

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal steps
        steps += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work(data)
    finally:
        sys.settrace(before)
    return steps


@contextmanager
def in_time() -> Iterator[None]:
    """Raises Hang inside when the body uses more than HANG_S of processor time."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hang(f"more than {HANG_S} s")

    before = signal.signal(signal.SIGVTALRM, ring)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def kept_bytes(work: Callable[[], object]) -> int:
    """How much more memory Python holds after `work` than before; `work` runs once before, so that caches are full."""
    work()
    tracemalloc.start()
    try:
        work()
        before = tracemalloc.get_traced_memory()[0]
        work()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
