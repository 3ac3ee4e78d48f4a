"""All verbs in one program: the list of them is true, and a verb loads what it needs and no more."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import typer
from typer.main import get_group
from typer.testing import CliRunner

from gateway import cli
from gateway.cli import app

FOLDER = Path(str(cli.__file__)).parent
HEAVY = {"gateway.settings", "sqlalchemy", "fastapi", "rich", "httpx2", "structlog"}


def test_the_list_holds_every_verb_that_is_registered() -> None:
    registered: dict[str, str] = {}
    for file in FOLDER.glob("*.py"):
        module = import_module(f"gateway.cli.{file.stem}")
        if file.stem not in ("app", "account_life") and hasattr(module, "register"):
            part = typer.Typer()
            module.register(part)
            registered |= dict.fromkeys(get_group(part).commands, file.stem)
    assert sorted(registered) == sorted(app.VERBS)
    assert {verb: app.PLACES.get(verb, verb.replace("-", "_")) for verb in app.VERBS} == registered


def test_help_tells_all_of_them_and_a_slip_is_answered_with_a_guess() -> None:
    told = CliRunner().invoke(app.app, ["--help"]).output
    assert [verb for verb in app.VERBS if f" {verb} " not in told] == []
    slip = CliRunner().invoke(app.app, ["topupp"])
    assert slip.exit_code == 2 and "Did you mean 'topup'?" in slip.output


def test_a_verb_loads_what_it_needs_and_no_more() -> None:
    look = "import sys; from gateway.cli.app import app; app(['decode', '68'], standalone_mode=False)"
    ran = subprocess.run(
        [sys.executable, "-c", f"{look}\nprint(*sys.modules)"], cwd=FOLDER.parents[1], capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert not HEAVY & set(ran.stdout.split()) and "gateway.cli.decode" in ran.stdout
