"""`wattgate reconcile`: what it says of a bank's day file, and how it ends."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gateway.adapters.store import Store, lock, store_file
from gateway.cli import reconcile
from gateway.cli.answers import Failure
from gateway.domain.day_file import HEADER
from tests.gateway.adapters.store.conftest import empty_file as empty_file  # a fixture
from tests.gateway.services.house import House

AT = "2026-11-24T10:00:00+08:00"
RIGHT = [f"S-1,A-1,50.00,CNY,topup,,{AT},,", f"S-2,A-1,20.00,CNY,topup,,{AT},,"]


@pytest.fixture
def data(empty_file: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copyfile(empty_file, store_file(folder))
    with Store.open(str(store_file(folder)), inline=True) as store:
        house = House(store).settle()
        house.topup("50.00", "S-1")
        house.topup("20.00", "S-2")
    return folder


def day_file(folder: Path, *lines: str, total: str = "#2,70.00") -> Path:
    path = folder / "day.csv"
    path.write_text("\n".join([HEADER, *lines, total, ""]))
    return path


def run(*words: object) -> tuple[str, Failure | None]:
    """What the verb prints, and the failure that it ends in."""
    app = typer.Typer()
    app.callback()(lambda: None)
    reconcile.register(app)
    done = CliRunner().invoke(app, ["reconcile", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, Failure), done.output
    return done.output, done.exception


def test_a_file_that_agrees_also_beside_a_running_gateway(data: Path) -> None:
    with lock(data):
        said, failure = run(day_file(data, *RIGHT), "--data", data)
    assert failure is None
    assert said == "bank bank, 2026-11-24: 2 lines, 2 here, 2 match (70.00 CNY)\n"


def test_every_difference_is_told_and_the_exit_code_says_so(data: Path) -> None:
    file = day_file(data, RIGHT[0].replace("50.00", "50.01"), f"S-9,A-1,1.00,CNY,topup,,{AT},,", total="#2,51.01")
    said, failure = run(file, "--data", data)
    assert failure is not None and failure.code == 1
    assert failure.sentences == ["3 differences: 1 amount, 1 missing_at_bank, 1 missing_here"]
    assert said.splitlines()[1:] == [
        "amount: line 2, topup S-1, 50.01 CNY to A-1: 50.01 CNY there, 50.00 CNY here",
        "missing_here: line 3, topup S-9, 1.00 CNY to A-1: it is not booked here",
        "missing_at_bank: topup S-2, 20.00 CNY to A-1: the bank's file has it not",
    ]
    told = json.loads(run(file, "--data", data, "--json")[0])
    assert (told["kinds"], told["matched"]) == ({"amount": 1, "missing_at_bank": 1, "missing_here": 1}, 0)


@pytest.mark.parametrize(
    ("lines", "words", "sentence"),
    [
        ([f"S-9,A-1,1.00,CNY,topup,,{AT},,"], (), "name --bank and --date"),
        (RIGHT, ("--date", "tomorrow"), "--date is a date like 2026-01-31"),
    ],
)
def test_what_cannot_be_compared(data: Path, lines: list[str], words: tuple[str, ...], sentence: str) -> None:
    _, failure = run(day_file(data, *lines), "--data", data, *words)
    assert failure is not None and sentence in failure.sentences[0]


def test_a_file_that_is_not_there_or_is_none(data: Path, tmp_path: Path) -> None:
    for file in (tmp_path / "none.csv", day_file(data, total="")):
        _, failure = run(file, "--data", data, "--bank", "bank", "--date", "2026-11-24")
        assert failure is not None and str(file) in failure.sentences[0]


def test_the_day_may_be_named(data: Path) -> None:
    said, failure = run(day_file(data, total="#0,0.00"), "--data", data, "--bank", "bank", "--date", "2026-11-25")
    assert failure is None and said.startswith("bank bank, 2026-11-25: 0 lines, 0 here")
