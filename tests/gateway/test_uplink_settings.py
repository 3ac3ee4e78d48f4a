"""The tables [mqtt] and [uplink]: what is taken, and what is refused with which word."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.bootstrap.transport import broker_of, examine_transport, keep_bounds, send_bounds
from gateway.settings import SettingsError, load

HEAD = '[gateway]\nid = "G1"\n'


def written(folder: Path, text: str) -> Path:
    file = folder / "gateway.toml"
    file.write_text(HEAD + text)
    return file


@pytest.mark.parametrize(
    ("mqtt", "port", "secured"),
    (
        ('host = "b"', 1883, False),
        ('host = "b"\ntls = true', 8883, True),
        ('host = "b"\nca = "ca.crt"', 8883, True),
        ('host = "b"\ncert = "c"\nkey = "k"\nport = 443', 443, True),
    ),
)
def test_where_the_broker_is(tmp_path: Path, mqtt: str, port: int, secured: bool) -> None:
    settings = load(written(tmp_path, f"[mqtt]\n{mqtt}\n"), {})
    assert settings.mqtt is not None
    broker = broker_of(settings.mqtt, tmp_path)
    assert (broker.host, broker.port, broker.tls is not None) == ("b", port, secured)
    assert all(file.parent == tmp_path for file in (broker.tls.files if broker.tls else ()))


@pytest.mark.parametrize(
    ("text", "says"),
    (
        ('[mqtt]\nhost = "b"\ncert = "c"\n', "cert and key belong together"),
        ('[mqtt]\nhost = "b"\nkey = "k"\n', "cert and key belong together"),
        ('[mqtt]\nhost = "b"\npassword_file = "p"\n', "a password_file needs a username"),
        ('[mqtt]\nhost = "b"\nport = 0\n', "port"),
        ('[mqtt]\nhost = "b"\ninsecure = true\n', "insecure"),
        ("[uplink]\ndrain_per_s = 0\n", "drain_per_s"),
        ("[uplink]\nmost_rows = 5\n", "most_rows"),
    ),
)
def test_what_is_refused(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load(written(tmp_path, text), {})


def test_what_the_outbox_keeps_to(tmp_path: Path) -> None:
    keys = "drain_per_s = 50\nahead = 500\nmost_rows = 2000\nmost_mib = 3\nthin_after_days = 9\n"
    settings = load(written(tmp_path, f"[uplink]\n{keys}"), {})
    assert (send_bounds(settings).drain_per_s, send_bounds(settings).ahead) == (50, 500)
    bounds = keep_bounds(settings)
    assert (bounds.rows, bounds.bytes, bounds.older_days) == (2000, 3 * 1024 * 1024, 9)


def test_a_password_stands_in_a_file_for_its_owner_only(tmp_path: Path) -> None:
    settings = load(written(tmp_path, '[mqtt]\nhost = "b"\nusername = "u"\npassword_file = "p"\n'), {})
    assert settings.mqtt is not None
    (tmp_path / "p").write_text("secret\n")
    (tmp_path / "p").chmod(0o644)
    assert any("may be read by others" in text for text in examine_transport(settings, tmp_path, 0))
    (tmp_path / "p").chmod(0o600)
    assert examine_transport(settings, tmp_path, 0) == []
    assert broker_of(settings.mqtt, tmp_path).password == "secret"
    assert "secret" not in repr(broker_of(settings.mqtt, tmp_path))
