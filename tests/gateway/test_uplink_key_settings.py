"""Keys of the centre in the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.settings import SettingsError, load

HEAD = '[gateway]\nid = "G1"\ndata = "d"\nzone = "Asia/Shanghai"\n'
X, Y = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "GXwB9cv5Z3FQy2i6MAyWd3UUgKgXmqoMECU1p7Y-yOw"


def key(kid: str, public: str, more: str = "") -> str:
    return f'[[uplink_key]]\nkid = "{kid}"\npublic = "{public}"\nverbs = ["*"]\n{more}\n'


def loaded(folder: Path, text: str) -> None:
    (folder / "gateway.toml").write_text(HEAD + text)
    load(folder / "gateway.toml")


def test_one_key_cannot_be_two_people(tmp_path: Path) -> None:
    loaded(tmp_path, key("a", X) + key("b", Y))
    with pytest.raises(SettingsError, match="uplink_key b: its public key is that of a: one key cannot be two people"):
        loaded(tmp_path, key("a", X, 'holder = "li"') + key("b", X, 'holder = "wang"'))


def test_a_slip_in_the_last_letter_of_a_key_is_found(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="public"):
        loaded(tmp_path, key("a", X[:-1] + "p"))
