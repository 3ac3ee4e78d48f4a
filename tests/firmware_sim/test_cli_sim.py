"""`wattgate sim` in front of the simulator."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from gateway.cli import sim


def app() -> typer.Typer:
    made = typer.Typer()
    made.callback()(lambda: None)
    sim.register(made)
    return made


def test_virtual_time_is_refused_in_one_sentence(tmp_path):
    result = CliRunner().invoke(app(), ["sim", str(tmp_path / "x.toml"), "--virtual"])
    assert result.exit_code == 2 and "later version" in result.output


def test_a_missing_file_is_one_sentence(tmp_path):
    result = CliRunner().invoke(app(), ["sim", str(tmp_path / "x.toml")])
    assert result.exit_code == 1 and "cannot be read" in result.output and "Traceback" not in result.output


def test_help_carries_an_example():
    assert "--control 127.0.0.1:7070" in CliRunner().invoke(app(), ["sim", "--help"]).output
