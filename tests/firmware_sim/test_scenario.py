"""Scenarios: the handle's acts, questions on the wire and expectations along a time line, in virtual and in real time."""

from __future__ import annotations

import asyncio
import json
import time
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from firmware_sim.config import load, parse
from firmware_sim.fields import Fields
from firmware_sim.scenario import Scenario, ScenarioError, differences
from firmware_sim.scenario import parse as parse_scenario
from firmware_sim.serve import main, read_scenario, run, run_virtual
from tests.firmware_sim.virtual import one_meter

EXAMPLES = Path(__file__).parents[2] / "config" / "examples"


def scenario(text: str) -> Scenario:
    errors: list[str] = []
    found = parse_scenario(Fields(tomllib.loads(text), "file", errors), errors)
    if errors:
        raise ScenarioError(errors)
    return found


def outcomes(text: str, **meter: object) -> list[str]:
    return [outcome.message for outcome in run_virtual(parse(one_meter(**meter)), scenario(text)).outcomes]


def steps(*rows: str) -> str:
    return "".join(f"[[step]]\n{row}\n" for row in rows)


READ = 'act = "read"\nmeter = "m"\ndi = "00010000"\n'
CUT = 'act = "control"\nmeter = "m"\norder = "cut"\n'


@pytest.mark.parametrize(
    ("step", "wrong"),
    [
        (READ + 'values = {energy_import = "0.00"}', ""),
        (READ + "values = {energy_import = 7}", "energy_import is 0.00, not 7"),
        (READ + "values = {voltage = 7}", "voltage was not answered"),
        (READ + 'values = {data = "00000000"}', ""),
        (READ.replace("00010000", "00900200") + 'refused = "02"', ""),
        (READ.replace("00010000", "00900200"), "refused with 02 (no requested data)"),
        (READ + 'refused = "02"', "accepted, where a refusal with 02 was expected"),
        (READ + "silent = true", "answered, where silence was expected"),
        (CUT, ""),
        (CUT + "expires_s = -60", "refused with 01 (other error)"),
        (CUT + 'password = "999999"\nrefused = "04"', ""),
        ('act = "write"\nmeter = "m"\ndi = "04001401"\nset = 5\nlevel = 2', ""),
        ('act = "write"\nmeter = "m"\ndi = "04001401"\ndata = "05"\nlevel = 2\nrefused = "01"', ""),
        ('act = "send"\nmeter = "m"\nhex = "68AAAAAAAAAAAA681300DF16"\nanswer = "68010021112620689306343354445953D916"', ""),
        ('act = "send"\nmeter = "m"\nhex = "68AAAAAAAAAAAA681300DF17"\nsilent = true', ""),
        ('act = "top_up"\nmeter = "m"\namount = 5', "m holds no money"),
        ('act = "expect"\nmeter = "m"\ncontact = "closed"\n"registers.total" = {min = 0, max = "0.01"}\nprotect = false', ""),
        ('act = "expect"\nmeter = "m"\ncontact = "open"', "contact is 'closed', not 'open'"),
        ('act = "load"\nmeter = "m"\npower_w = -1', "load: power_w must be a number from 0 to 70000, not -1."),
        ('act = "noise"\nline = "a"\nnoise = 0.5', ""),
        ('act = "wait"\nwithin_s = 3600', ""),
    ],
)
def test_what_a_step_comes_to(step, wrong):
    assert outcomes(steps(step)) == [wrong]


def test_a_day_of_events_takes_no_time_and_leaves_every_failure_named():
    began = time.monotonic()
    text = steps(
        'at_s = 10\nact = "fault"\nmeter = "m"\nkind = "silent"',
        'at_s = 20\nact = "read"\nmeter = "m"\ndi = "00010000"\nsilent = true',
        'act = "fault"\nmeter = "m"\nkind = "silent"\non = false',
        'at_s = 3600\nact = "control"\nmeter = "m"\norder = "cut_then_close"\nn2 = 2',
        'act = "expect"\nmeter = "m"\nwithin_s = 5\nreported = "open"\npower_w = 0',
        'act = "expect"\nmeter = "m"\nwithin_s = 590\ncontact = "closed"',
        'act = "expect"\nmeter = "m"\nwithin_s = 20\ncontact = "closed"',
        'at_s = 86400\nact = "read"\nmeter = "m"\ndi = "05060001"',
    )
    found = run_virtual(parse(one_meter()), scenario("end_s = 100000\n" + text)).outcomes
    assert [bool(outcome.message) for outcome in found] == [False] * 5 + [True] + [False] * 2
    assert found[5].message == "contact is 'open', not 'closed'" and found[5].name.startswith("step 6: 3603")
    assert time.monotonic() - began < 60


def test_the_same_seed_gives_the_same_report(tmp_path):
    text = steps(READ, CUT, 'act = "wait"\nwithin_s = 100', READ)
    for name in ("one", "two"):
        run_virtual(parse(one_meter(load={"kind": "household"})), scenario(text), "s", str(tmp_path / name))
    one, two = ((tmp_path / name / "report.json").read_text() for name in ("one", "two"))
    assert one == two and json.loads(one)["seconds"] > 100
    assert (tmp_path / "one" / "junit.xml").read_bytes() == (tmp_path / "two" / "junit.xml").read_bytes()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (steps('act = "dance"\nmeter = "m"'), "act must be one of press"),
        (steps('meter = "m"'), "act is missing"),
        (steps(READ + "colour = 1"), "colour is not a key"),
        (steps('at_s = 5\nact = "press"\nmeter = "m"', 'at_s = 4\nact = "press"\nmeter = "m"'), "must not fall"),
        (steps('act = "wait"'), "both are missing"),
        (steps('act = "control"\nmeter = "m"\norder = "jump"'), "order must be one of cut"),
        (steps('act = "send"\nmeter = "m"\nhex = "6"'), "hex must be hex digits"),
        ("step = 5", "must be a list"),
        ("end_s = -1", "end_s must be a number"),
    ],
)
def test_a_scenario_that_cannot_be_run_is_named(text, sentence):
    with pytest.raises(ScenarioError, match=sentence):
        scenario(text)


def test_a_scenario_about_what_is_not_there_is_refused(tmp_path):
    file = tmp_path / "steps.toml"
    file.write_text(steps('act = "press"\nmeter = "n"', 'act = "noise"\nline = "b"\nnoise = 0'))
    with pytest.raises(ScenarioError) as caught:
        read_scenario(parse(one_meter()), str(file))
    assert caught.value.errors == ["[[step]] 1: there is no meter 'n'", "[[step]] 2: there is no serial line 'b'"]


@pytest.mark.parametrize(
    ("expected", "wrong"),
    [
        ({"a": 1}, []),
        ({"a": "1.0"}, []),
        ({"b.c": "x"}, []),
        ({"b": {"c": "y"}}, ["b.c is 'x', not 'y'"]),
        ({"a": {"min": 2}}, ["a is 1, not within {'min': 2}"]),
        ({"b.d": 1}, ["b.d is None, not 1"]),
        ({"t": 1}, ["t is True, not 1"]),
        ({"l": [1, 2]}, []),
    ],
)
def test_expectations_are_compared_as_numbers_where_they_are_numbers(expected, wrong):
    assert list(differences({"a": 1, "b": {"c": "x"}, "t": True, "l": [1, 2]}, expected)) == wrong


async def test_the_same_steps_on_the_real_clock(tmp_path):
    table = one_meter(contact_ms=[10, 20], status_delay_ms=100)
    table["line"][0]["delay_ms"] = [1, 2]
    text = "end_s = 1\n" + steps(READ, CUT, 'act = "expect"\nmeter = "m"\nwithin_s = 30\nreported = "open"', READ + "silent = true")
    ready: list[str] = []
    async with asyncio.timeout(60):
        ok = await run(parse(table), None, ready.append, scenario(text), str(tmp_path / "out"))
    assert not ok and json.loads(ready[0])["ready"]
    suite = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot().find("testsuite")
    assert suite is not None and suite.get("failures") == "1"
    assert [step["failure"] for step in json.loads((tmp_path / "out" / "report.json").read_text())["steps"]] == [
        None, None, None, "answered, where silence was expected",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["sim-prepaid.toml", "sim-faults.toml"])
def test_the_example_scenarios_hold(name, capsys):
    assert load(EXAMPLES / name).meters
    assert main(str(EXAMPLES / name), virtual=True) == 0, capsys.readouterr().out
