"""The short run: the committed corpus and inputs made from it, seeded, without atheris. The long run is `make fuzz`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.dlt645 import load_profile
from protocols.errors import ProtocolError
from protocols.exchange import Done
from tests.conftest import Figure
from tests.fuzz import corpus, plain, questions, shapes
from tests.fuzz.targets import MAX_INPUT, TARGETS, Target, pieces

COUNT = 500
"""Inputs of each kind for each target, seconds in all; a proof runs a hundred times as many."""


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus(name: str) -> None:
    found = corpus.load(name)
    assert len(found) >= 10
    for data in found:
        plain.run(TARGETS[name], data)


def test_the_corpus_ends_every_exchange_well() -> None:
    """From there its changes reach what stands behind a good answer as well."""
    ended = set()
    for data in corpus.load("master"):
        choice, size = data[:2].ljust(2, b"\0")
        name = list(questions.DLT645)[choice % len(questions.DLT645)]
        exchange = questions.DLT645[name]()
        exchange.start()
        with contextlib.suppress(ProtocolError):
            if any(isinstance(exchange.feed(part), Done) for part in pieces(data[2:], 1 + size)):
                ended.add(name)
    assert set(questions.DLT645) - ended == {"broadcast time"}


def test_the_corpus_is_small_and_every_file_is_a_targets() -> None:
    files = list(corpus.FOLDER.iterdir())
    assert {file.stem for file in files} == set(TARGETS)
    assert sum(file.stat().st_size for file in files) < corpus.MAX_BYTES


@pytest.mark.parametrize("shaped", [True, False], ids=["shaped", "random"])
@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs(name: str, shaped: bool, proof_scale: int, figure: Figure) -> None:
    tally = plain.shake(TARGETS[name], corpus.load(name), 20261121, COUNT * proof_scale, shaped)
    assert tally.inputs == COUNT * proof_scale and tally.most_steps > 0
    figure("inputs", tally.inputs)
    figure("most steps for one input, lines of code", tally.most_steps)


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=MAX_INPUT), seed=st.integers(0, 2**32))
@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str, data: bytes, seed: int) -> None:
    target = TARGETS[name]
    plain.run(target, data, watch=False)
    plain.run(target, target.shape(Random(seed), data)[:MAX_INPUT], watch=False)


def reads_one_too_many(data: bytes) -> None:
    if data.count(0x68) > 5:
        data[len(data)]


def forgets_to_advance(data: bytes) -> None:
    while data.count(0x68) > 5:
        pass


def compares_all_with_all(data: bytes) -> None:
    for _ in data:
        for _ in data:
            for _ in data[:8]:
                pass


@pytest.mark.parametrize(
    ("bug", "words", "patience_s"),
    [(reads_one_too_many, "IndexError", 5), (forgets_to_advance, "Hang", 0.05), (compares_all_with_all, "steps for", 5)],
)
def test_a_bug_is_found(bug, words: str, patience_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "HANG_S", patience_s)
    with pytest.raises(plain.Broken, match=words):
        plain.shake(Target(bug, shapes.frames), corpus.load("deframer"), 1, COUNT, True)


def test_shapes_keep_what_they_are_named_after() -> None:
    """Most structure-aware inputs must reach what stands behind the checksum, else they are only slow random ones."""
    reached = {name: 0 for name in TARGETS}
    for name, target in TARGETS.items():
        for data in (d for d, _ in zip(plain.inputs(target, corpus.load(name), Random(1), True), range(200), strict=False)):
            reached[name] += REACHED[name](data)
    assert min(reached.values()) > 100, reached


def has_frame(data: bytes) -> bool:
    deframer = shapes.Deframer()
    return bool(deframer.feed(data) + deframer.flush())


REACHED = {
    **dict.fromkeys(("deframer", "line", "slave", "meter"), has_frame),
    "master": lambda data: has_frame(data[2:]),
    "identifier": lambda data: len(data) > 3,
    "modbus": lambda data: shapes.intact_modbus(data[1:]),
    "load_profile": lambda data: load_profile.LoadItem("06010001", ()).read(data) is not None,
    "iso8583": shapes.whole_message,
    "bank_file": lambda data: b"\n" in data,
}


def test_the_long_run_says_what_it_did_and_refuses_nonsense() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--inputs", "50", "slave", "load_profile"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "in all: 50 structure-aware and 50 random inputs, 0 broken runs" in done.stdout
    done = subprocess.run([*command[:3], "nothing"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "there is no target nothing" in done.stderr
