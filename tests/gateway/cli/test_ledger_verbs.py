"""`wattgate ledger`: what each verb says, and which words it does not take."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from gateway.adapters.store import Store, lock, store_file
from gateway.cli import ledger
from gateway.cli.answers import Failure
from tests.gateway.adapters.store.conftest import empty_file as empty_file  # a fixture
from tests.gateway.services.house import House


@pytest.fixture
def data(empty_file: Path, tmp_path: Path) -> Path:
    """A data directory with an opening of 100, a charge of 0.5 and a top-up of 50."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copyfile(empty_file, store_file(folder))
    with Store.open(str(store_file(folder))) as store:
        House(store).settle(balance="100").exhaust(total="1.00").topup("50.00")
    return folder


def run(*words: object) -> str:
    """What the verb prints; Failure as it is raised."""
    app = typer.Typer()
    app.callback()(lambda: None)
    ledger.register(app)
    done = CliRunner().invoke(app, ["ledger", *map(str, words)])
    if isinstance(done.exception, Failure):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_verify(data: Path) -> None:
    assert run("verify", "--data", data) == "3 entries: clean\n"
    assert run("verify", "--data", data, "--from-closing") == "3 entries: clean\n"
    spoil(data, "UPDATE balance SET micro = 0 WHERE account = 'customer:A-1'")
    with pytest.raises(Failure, match="after 3 entries: customer:A-1 shows 0 micro-CNY, its entries sum to 149500000"):
        run("verify", "--data", data)


def spoil(data: Path, sql: str) -> None:
    with Store.open(str(store_file(data))) as store, store.database.writer.begin() as writing:
        writing.exec_driver_sql(sql)


def test_export_to_a_file_that_is_not_there_and_to_standard_output(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "books.jsonl"
    assert run("export", "--data", data, "--format", "jsonl", "--out", out) == f"{out}: 3 entries\n"
    assert run("export", "--data", data, "--format", "jsonl") == out.read_text()
    with pytest.raises(Failure, match="File exists"):
        run("export", "--data", data, "--format", "jsonl", "--out", out)
    assert run("export", "--data", data, "--format", "jsonl", "--from", "2026-11-25") == ""
    assert run("export", "--data", data, "--format", "beancount", "--to", "2026-11-24").count("\n  hash:") == 3


def test_rebuild(data: Path, tmp_path: Path) -> None:
    assert run("rebuild", "--data", data) == "3 entries: the balances are right\n"
    spoil(data, "UPDATE balance SET micro = 0 WHERE account = 'customer:A-1'")
    with pytest.raises(Failure, match="customer:A-1 shows 0 micro-CNY, its entries sum to 149500000"):
        run("rebuild", "--data", data)
    told = run("rebuild", "--data", data, "--out", tmp_path / "copy.db")
    assert told.endswith(f"3 entries: the balances were wrong; written to {tmp_path / 'copy.db'}\n")
    with lock(data), pytest.raises(Failure, match="is in use by process"):
        run("rebuild", "--data", data)


def test_close(data: Path) -> None:
    words = ("close", "--data", data, "--zone", "Asia/Shanghai", "--before")
    assert run(*words, "2026-11-24") == "nothing is left to close before 2026-11-24\n"
    assert run(*words, "2026-11-25") == "entry 4 closes entries up to 3\n"
    assert run("verify", "--data", data, "--from-closing") == "4 entries: clean\n"


WRONG = [
    (("verify",), "name either a configuration"),
    (("verify", "--data", "x", "-c", "y"), "name either a configuration"),
    (("verify", "--data", "nowhere"), "cannot be opened"),
    (("export", "--data", "x", "--format", "csv"), "--format is jsonl or beancount"),
    (("export", "--data", "x", "--format", "jsonl", "--from", "yesterday"), "--from is a date like"),
    (("export", "--data", "x", "--format", "jsonl", "--from", "2026-01-02", "--to", "2026-01-01"), "--from comes after --to"),
    (("export", "--data", "x", "--format", "jsonl", "--zone", "Mars/Base"), "--zone is a name like"),
    (("close", "--data", "x", "--before", "soon"), "--before is a date like"),
    (("close", "--data", "nowhere", "--before", "2026-01-01"), "there is no store in nowhere"),
    (("rebuild", "--data", "nowhere"), "there is no store in nowhere"),
]


@pytest.mark.parametrize(("words", "said"), WRONG)
def test_what_is_not_taken_is_one_clear_sentence(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failure, match=said):
        run(*words)
    assert [*tmp_path.iterdir()] == []
