"""`wattgate schemas` writes the documents of the uplink."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.cli.answers import Failure
from gateway.cli.app import app


def test_it_writes_every_document_and_names_it(tmp_path: Path) -> None:
    ran = CliRunner().invoke(app, ["schemas", "--out", str(tmp_path / "new" / "folder")])
    assert ran.exit_code == 0, ran.output
    files = [Path(line) for line in ran.output.splitlines()]
    assert len(files) == 10 and all(json.loads(file.read_text()) for file in files)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure) as failed:
        CliRunner().invoke(app, ["schemas", "--out", str(tmp_path / "file" / "x")], catch_exceptions=False)
    (sentence,) = failed.value.sentences
    assert "cannot be written" in sentence
