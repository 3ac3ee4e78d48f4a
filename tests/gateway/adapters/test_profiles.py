"""config/ is found and its meter profiles are loaded; what is wrong with a file is one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.adapters import profiles
from protocols.profiles import ProfileError


def test_the_shipped_profiles_are_found_and_usable() -> None:
    known = profiles.load_profiles()
    assert {"dlt645-single", "dlt645-three", "eastron-sdm630", "hiking-dds238-zn-sr", "relay-module-8"} <= set(known)
    assert profiles.profile("dlt645-single").dlt645 is not None
    assert (profiles.config_folder() / "meters" / "dlt645-single.toml").is_file()


def test_the_folder_inside_an_installed_package_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wheel carries config as gateway/config; a checkout has it beside gateway."""
    package = tmp_path / "gateway"
    (package / "adapters").mkdir(parents=True)
    monkeypatch.setattr(profiles, "__file__", str(package / "adapters" / "profiles.py"))
    with pytest.raises(FileNotFoundError, match="installation is incomplete"):
        profiles.config_folder()
    (tmp_path / "config" / "meters").mkdir(parents=True)
    assert profiles.config_folder() == tmp_path / "config"
    (package / "config" / "meters").mkdir(parents=True)
    assert profiles.config_folder() == package / "config"


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.toml", "name = ", "a.toml is not TOML"),
        (
            "a.toml",
            'name = "b"\nprotocol = "modbus"\nunconfirmed = ["it"]\n[switch]\nkind = "coil"\naddress = 0\n',
            "must have one name",
        ),
        ("a.toml", 'name = "a"\nprotocol = "morse"\n', "protocol"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, name: str, text: str, sentence: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ProfileError, match=sentence) as refused:
        profiles.load_profiles(tmp_path)
    assert "\n" not in str(refused.value).removeprefix(str(tmp_path)).split("(at")[0]


def test_an_unknown_profile_names_the_known_ones() -> None:
    with pytest.raises(ProfileError, match=r"no meter profile 'sdm'; known are acrel-adl400, acrel-ddsy1352, "):
        profiles.profile("sdm")
