"""`wattgate decode` as a user meets it: arguments, standard input, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from gateway.cli import decode
from protocols.decode import decode_line

ENERGY = "6812907856341268910833333433AB896745CC16"
REFUSED = "FEFEFEFE6818556006000068D10135AA16"


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    decode.register(app)
    app.command("other")(lambda: None)
    return app


def run(app: typer.Typer, *words: str, stdin: str | bytes = "") -> tuple[Result, list[dict[str, Any]]]:
    result = CliRunner().invoke(app, ["decode", *words], input=stdin)
    return result, [json.loads(line) for line in result.stdout.splitlines()]


def test_each_argument_is_a_line(app: typer.Typer) -> None:
    result, found = run(app, ENERGY, REFUSED)
    assert result.exit_code == 0
    assert found == [decode_line(ENERGY), decode_line(REFUSED)]
    assert found[0]["frames"][0]["items"][0]["value"] == "123456.78"


def test_single_bytes_are_one_line(app: typer.Typer) -> None:
    assert run(app, *(ENERGY[i : i + 2] for i in range(0, len(ENERGY), 2)))[1] == [decode_line(ENERGY)]


@pytest.mark.parametrize("words", [(), ("-",)])
def test_standard_input_line_by_line(app: typer.Typer, words: tuple[str, ...]) -> None:
    result, found = run(app, *words, stdin=f"{ENERGY}\r\n\n{REFUSED}")
    assert result.exit_code == 0
    assert found == [decode_line(ENERGY), decode_line(""), decode_line(REFUSED)]


def test_a_line_that_is_not_hex_does_not_stop_the_others(app: typer.Typer) -> None:
    result, found = run(app, stdin=b"zz\n\xff\xfe\n" + ENERGY.encode())
    assert result.exit_code == 2
    assert [set(f) == {"error"} for f in found] == [True, True, False]
    assert "not hex" in result.stderr and "Traceback" not in result.stderr


def test_a_line_without_end_is_refused_and_passed_over(app: typer.Typer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "LINE_LIMIT", 64)
    result, found = run(app, stdin="00" * 1000 + "\n" + ENERGY)
    assert result.exit_code == 2
    assert found == [{"error": "a line of more than 64 bytes"}, decode_line(ENERGY)]


def test_the_protocol_can_be_named(app: typer.Typer) -> None:
    _, found = run(app, "--protocol", "dlt645-1997", ENERGY)
    assert found[0]["frames"][0]["protocol"] == "dlt645-1997"
    assert run(app, "--protocol", "modbus-rtu", ENERGY)[1][0]["frames"] == []
    assert run(app, "--protocol", "iec62056", ENERGY)[0].exit_code == 2


def test_the_verb_is_light() -> None:
    heavy = "{'sqlalchemy', 'fastapi', 'pymodbus', 'pydantic', 'aiomqtt'}"
    code = f"import sys, gateway.cli.decode; sys.exit(len({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


def test_explain_says_each_frame_in_words(app: typer.Typer) -> None:
    result, found = run(app, "--explain", ENERGY, REFUSED)
    assert result.exit_code == 0
    words = [line["frames"][0]["explanation"] for line in found]
    assert "123456.78 kWh" in words[0] and "meter 123456789012" in words[0]
    assert "no requested data" in words[1]
    assert found == [decode_line(ENERGY, explain=True), decode_line(REFUSED, explain=True)]
