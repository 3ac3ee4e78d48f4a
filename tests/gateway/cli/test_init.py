"""`wattgate init`: what it writes works together, and nothing is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.bootstrap.examine import examine
from gateway.central.config import load as load_central
from gateway.cli.answers import Failure
from gateway.cli.app import app
from gateway.settings import load
from protocols.uplink.signing import x_of

FILES = {"gateway.toml", "sim.toml", "central.toml", "passwords.toml", "centre.jwk", "commands.jwk"}
PRIVATE = {"passwords.toml", "centre.jwk", "commands.jwk"}


def test_its_files_work_together(tmp_path: Path) -> None:
    folder = tmp_path / "street"
    done = CliRunner().invoke(app, ["init", str(folder)])
    assert done.exit_code == 0, done.output
    assert {file.name for file in folder.iterdir()} == FILES
    assert {file.name for file in folder.iterdir() if file.stat().st_mode & 0o077 == 0} == PRIVATE
    settings = load(folder / "gateway.toml", {})
    report = examine(settings, folder)
    assert not report.errors and not report.ended
    central = load_central(folder / "central.toml", {})
    for role in ("centre", "commands"):
        signer = central.signer(folder, role)
        assert signer is not None
        [table] = [key for key in settings.uplink_key if key.role == role]
        assert (table.kid, table.public) == (signer.kid, x_of(signer.key))
    assert settings.mqtt is not None and (settings.mqtt.host, settings.mqtt.port) == (central.mqtt.host, central.mqtt.port)
    assert str(folder / "rs485-north") in (folder / "sim.toml").read_text()


@pytest.mark.parametrize("name", sorted(FILES))
def test_nothing_is_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    refused = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert isinstance(refused.exception, Failure) and f"{name} is there already" in str(refused.exception.sentences)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {name: "mine"}


def test_two_folders_have_keys_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert CliRunner().invoke(app, ["init", str(tmp_path / name)]).exit_code == 0
    assert (tmp_path / "a" / "centre.jwk").read_text() != (tmp_path / "b" / "centre.jwk").read_text()
