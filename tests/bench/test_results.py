"""RESULTS.md is written section by section; what was not measured again stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import __main__ as run
from tests.bench import bench_dlt645


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
    assert "no benchmark is called nothing; there are: bench_dlt645" in capsys.readouterr().err


def test_what_is_compared_gives_the_value() -> None:
    assert bench_dlt645.codec() == bench_dlt645.exchange() == bench_dlt645.VALUE


def test_the_committed_results_hold_every_benchmark() -> None:
    text = run.RESULTS.read_text()
    for name in ("dlt645", "gateway", "sim", "store"):
        assert f"## {name}\n" in text
    assert "times" in text
