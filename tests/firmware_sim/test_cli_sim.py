"""`wattgate sim` in front of the simulator."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest
import typer
from typer.testing import CliRunner

from gateway.cli import sim


def app() -> typer.Typer:
    made = typer.Typer()
    made.callback()(lambda: None)
    sim.register(made)
    return made


SIM = """
[[line]]
id = "a"
kind = "tcp"
[[meter]]
id = "m"
line = "a"
model = "dlt645-single"
address = "202611210001"
"""
STEP = '[[step]]\nact = "read"\nmeter = "m"\ndi = "00010000"\nvalues = {energy_import = %s}\n'


@pytest.mark.parametrize(
    ("content", "options", "code", "said"),
    [
        (SIM + STEP % '"0.00"', [], 0, "1 steps, 0 failed"),
        (SIM + STEP % '"5.00"', [], 1, "energy_import is 0.00, not 5.00"),
        (SIM, [], 2, "needs a scenario"),
        (SIM + STEP % '"0.00"', ["--control", "127.0.0.1:0"], 2, "needs the real clock"),
        (SIM + STEP % '"0.00"' + "colour = 1\n", [], 1, "colour is not a key"),
        (SIM + STEP.replace('"m"', '"n"') % '"0.00"', [], 1, "there is no meter 'n'"),
        (SIM, ["--scenario", "none.toml"], 1, "none.toml cannot be read"),
    ],
)
def test_a_scenario_in_virtual_time_tells_by_its_exit_code(tmp_path, content, options, code, said):
    file = tmp_path / "x.toml"
    file.write_text(content)
    result = CliRunner().invoke(app(), ["sim", str(file), "--virtual", *options])
    assert (result.exit_code, said in result.output) == (code, True), result.output


def test_the_report_is_junit_and_json(tmp_path):
    file, steps, out = tmp_path / "x.toml", tmp_path / "steps.toml", tmp_path / "out"
    file.write_text(SIM)
    steps.write_text(STEP % '"0.00"' + STEP % '"9.99"')
    result = CliRunner().invoke(app(), ["sim", str(file), "--virtual", "--scenario", str(steps), "--report", str(out)])
    assert result.exit_code == 1
    suite = ElementTree.parse(out / "junit.xml").getroot().find("testsuite")
    assert suite is not None and (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("steps", "2", "1")
    assert [case.find("failure") is not None for case in suite] == [False, True]
    told = json.loads((out / "report.json").read_text())
    assert (told["ok"], told["seed"], told["steps"][1]["failure"]) == (False, 1, "energy_import is 0.00, not 9.99")
    assert [meter["id"] for meter in told["meters"]] == ["m"] and told["lines"][0]["answers"] == 2


def test_a_missing_file_is_one_sentence(tmp_path):
    result = CliRunner().invoke(app(), ["sim", str(tmp_path / "x.toml")])
    assert result.exit_code == 1 and "cannot be read" in result.output and "Traceback" not in result.output


def test_help_carries_an_example():
    assert "--control 127.0.0.1:7070" in CliRunner().invoke(app(), ["sim", "--help"]).output
