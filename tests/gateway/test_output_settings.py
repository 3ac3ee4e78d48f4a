"""[[output]] tables: what they say, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.adapters.mqtt_session import Broker, Tls
from gateway.bootstrap.outputs import broker, examine_outputs, profile
from gateway.settings import Settings, SettingsError, load
from gateway.settings.outputs import Output

HEAD = '[gateway]\nid = "G1"\n'
MQTT = '[mqtt]\nhost = "127.0.0.1"\nport = 1999\n'
NEAR = 'host = "127.0.0.1"\n'
AWAY = 'host = "ha.lan"\n'


def settings(folder: Path, text: str) -> Settings:
    file = folder / "gateway.toml"
    file.write_text(HEAD + text)
    return load(file, {})


def output(folder: Path, text: str) -> Output:
    return settings(folder, f"[[output]]\n{text}").output[0]


def test_every_kind_with_what_is_its_own(tmp_path: Path) -> None:
    found = settings(
        tmp_path,
        MQTT
        + '[[output]]\nkind = "homeassistant"\ndiscovery_prefix = "ha/discovery"\ncommands = true\ncut_cause = "emergency"\n'
        + '[[output]]\nkind = "sparkplug"\ngroup = "street"\nprimary_host = "SCADA"\ntyped_data = true\n'
        + '[[output]]\nkind = "thingsboard"\nid = "tb"\nhost = "tb.lan"\nusername = "token"\n',
    )
    assert [each.name for each in found.output] == ["homeassistant", "sparkplug", "tb"]
    names = [type(profile(each, found, tmp_path, lambda: 0)).__name__ for each in found.output]
    assert names == ["HomeAssistant", "Sparkplug", "ThingsBoard"]
    assert examine_outputs(found, tmp_path) == []
    assert broker(found.output[0], found, tmp_path) == Broker("127.0.0.1", 1999)
    assert broker(found.output[2], found, tmp_path) == Broker("tb.lan", 1883, "token")


def test_a_broker_of_its_own_with_everything(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    (tmp_path / "secret").chmod(0o600)
    keys = 'ca = "ca.pem"\ncert = "c.pem"\nkey = "k.pem"\nversion = "3.1.1"\nusername = "u"\npassword_file = "secret"\n'
    found = settings(tmp_path, MQTT + f'[[output]]\nkind = "thingsboard"\n{AWAY}{keys}')
    files = Tls(*(tmp_path / name for name in ("ca.pem", "c.pem", "k.pem")))
    assert broker(found.output[0], found, tmp_path) == Broker("ha.lan", 8883, "u", "hush", 4, files)
    (fault,) = examine_outputs(found, tmp_path)
    assert fault.startswith("output thingsboard: its certificate or key cannot be used")


def test_a_secret_that_others_can_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    (tmp_path / "secret").chmod(0o644)
    found = settings(tmp_path, f'[[output]]\nkind = "sparkplug"\n{NEAR}username = "u"\npassword_file = "secret"\n')
    (fault,) = examine_outputs(found, tmp_path)
    assert "may be read by others" in fault


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('kind = "homie"', "kind"),
        ('kind = "sparkplug"\n' + NEAR + "colour = 1", "colour"),
        ('kind = "sparkplug"\n' + NEAR + 'discovery_prefix = "x"', "an output of kind sparkplug has no discovery_prefix"),
        ('kind = "homeassistant"\n' + NEAR + 'group = "x"\ntyped_data = true', "has no group, typed_data"),
        ('kind = "thingsboard"\nport = 1', "port belongs to a broker of its own"),
        ('kind = "sparkplug"\n' + NEAR + 'cut_cause = "emergency"\nplan = "p"', "cut_cause, plan does nothing without commands"),
        ('kind = "sparkplug"\n' + NEAR + 'commands = true\ncut_cause = "safety"', "cut_cause"),
        ('kind = "sparkplug"\n' + NEAR + 'commands = true\ncut_cause = "demand_response"', "needs the contract"),
        ('kind = "sparkplug"\n' + NEAR + 'cert = "c"', "cert and key belong together"),
        ('kind = "sparkplug"\n' + NEAR + 'password_file = "p"', "needs a username"),
        ('kind = "sparkplug"\n' + NEAR + 'group = "a/b"', "an id is 1 to 64"),
        ('kind = "homeassistant"\n' + NEAR + 'discovery_prefix = "a b"', "discovery_prefix"),
        ('kind = "homeassistant"', "there is no broker"),
        ('kind = "homeassistant"\n' + AWAY + "commands = true", "only over TLS"),
        ('kind = "homeassistant"\n' + AWAY + "commands = true\ntls = true", "with a user name or a certificate"),
        ('kind = "homeassistant"\n' + AWAY + 'commands = true\nusername = "u"', "only over TLS"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(SettingsError) as wrong:
        output(tmp_path, text)
    assert len(wrong.value.errors) == 1 and why in wrong.value.errors[0], wrong.value.errors


def test_two_of_a_kind_need_names(tmp_path: Path) -> None:
    table = f'[[output]]\nkind = "sparkplug"\n{NEAR}'
    with pytest.raises(SettingsError, match="output sparkplug: is there twice"):
        settings(tmp_path, table + table)
    assert len(settings(tmp_path, table + table + 'id = "second"\n').output) == 2


def test_commands_from_afar_over_tls_with_a_name(tmp_path: Path) -> None:
    found = output(tmp_path, f'kind = "homeassistant"\n{AWAY}commands = true\ntls = true\nusername = "u"\n')
    assert found.commands and found.cut_cause is None and found.facts == {}


def test_the_facts_of_a_cause(tmp_path: Path) -> None:
    keys = 'commands = true\ncut_cause = "demand_response"\ncontract = "C-7"\nevent = "DR-1"\n'
    assert output(tmp_path, f'kind = "sparkplug"\n{NEAR}{keys}').facts == {"contract": "C-7", "event": "DR-1"}
