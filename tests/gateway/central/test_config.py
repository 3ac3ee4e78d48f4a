"""The central system's configuration: what works, and every error at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.central.config import CentralConfig, ConfigError, load

EXAMPLE = Path(__file__).parents[3] / "config" / "examples" / "central.toml"


def write(folder: Path, text: str) -> Path:
    path = folder / "central.toml"
    path.write_text(text)
    return path


def refused(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load(write(folder, text), {})
    return [error.removeprefix(f"{folder / 'central.toml'}: ") for error in refusal.value.errors]


def test_the_example_works(tmp_path: Path) -> None:
    config = load(EXAMPLE, {})
    assert (config.mqtt.host, config.mqtt.port, config.topics().root) == ("127.0.0.1", 1883, "wattgate/v1")
    assert config.store_url(tmp_path) == str(tmp_path / "central-data" / "central.db")
    assert (tmp_path / "central-data").is_dir()
    assert config.broker(tmp_path).on_loopback


def test_the_environment_names_the_database(tmp_path: Path) -> None:
    config = load(EXAMPLE, {"WATTGATE_CENTRAL_URL": "postgresql://u:p@db/central"})
    assert config.store_url(tmp_path) == "postgresql://u:p@db/central"


def test_every_error_at_once(tmp_path: Path) -> None:
    errors = refused(tmp_path, '[central]\ndata="x"\nid="a b"\n[mqtt]\nport="1883"\nroot="a b"\nhots="x"\n[httpd]\n')
    assert errors == [
        "central.id: an id is 1 to 64 letters, digits, _ or -",
        "mqtt.port: Input should be a valid integer",
        "mqtt.root: 'a b' is no root of topics: levels of letters, digits, _ and - with / between them",
        "mqtt.hots: is not a known key",
        "httpd: is not a known key",
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    (
        ("", "central: is missing"),
        ("[central]", "central: name either data"),
        ('[central]\ndata="x"\nurl="y"', "central: name either data"),
        ("[central", "is not TOML"),
    ),
)
def test_refused(tmp_path: Path, text: str, error: str) -> None:
    [found] = refused(tmp_path, text)
    assert error in found


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml", {})


def test_the_password_comes_from_a_private_file(tmp_path: Path) -> None:
    config = CentralConfig.model_validate({"central": {"data": "d"}, "mqtt": {"password_file": "secret"}})
    with pytest.raises(ConfigError, match="cannot be read"):
        config.broker(tmp_path)
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    secret.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        config.broker(tmp_path)
    secret.chmod(0o600)
    broker = config.broker(tmp_path)
    assert broker.password == "open sesame" and "sesame" not in repr(broker)
