"""RESULTS.md is written section by section; what was not measured again stays."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from protocols.dlt645 import codes
from protocols.dlt645.frames import Deframer, Frame, encode
from tests.bench import __main__ as run
from tests.bench import bench_dlt645, bench_money


def test_a_section_is_replaced_and_the_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "RESULTS", tmp_path / "RESULTS.md")
    run.write("store", "a machine", ["| a | 1.00 | us |"])
    run.write("dlt645", "a machine", ["| b | 2.00 | us |"])
    run.write("store", "another", ["| c | 3.00 | us |"])
    text = run.RESULTS.read_text()
    assert text.startswith("# What things cost\n") and text.count("# What things cost") == 1
    assert text.index("## dlt645") < text.index("| b | 2.00 | us |") < text.index("## store") < text.index("| c | 3.00 | us |")
    assert "| a |" not in text and "`make bench ARGS=store`" in text and "another" in text


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["nothing"]) == 2
    assert "no benchmark is called nothing; there are: bench_bank, bench_central" in capsys.readouterr().err


def test_what_is_compared_gives_the_value() -> None:
    assert bench_dlt645.codec() == bench_dlt645.exchange() == bench_dlt645.VALUE


def test_consumers_behind_the_meters_of_the_money_bench_use_three_kilowatts(monkeypatch: pytest.MonkeyPatch) -> None:
    question = encode(Frame("000000000001", codes.READ, bench_money.REGISTERS))
    shown = []
    for hours in (0, 1):
        monkeypatch.setattr(bench_money.Consumers, "begun", time.monotonic() - 3600 * hours)
        [(_, answer)] = bench_money.Consumers()._reply(question)
        [frame] = Deframer().feed(answer)
        shown.append(int(frame.data[4:8][::-1].hex()))
    assert shown == [654_321, 654_621]


def test_percentiles_are_of_what_was_measured() -> None:
    assert [bench_money.percentile([float(n) for n in range(200)], each) for each in (0, 50, 99, 100)] == [0.0, 100.0, 198.0, 199.0]


def test_the_committed_results_hold_every_benchmark() -> None:
    text = run.RESULTS.read_text()
    for name in ("central", "credit", "dlt645", "gateway", "ledger", "light", "line", "money", "sim", "store"):
        assert f"## {name}\n" in text
    assert "times" in text
