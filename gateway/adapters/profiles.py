"""Finds config/ and loads what stands there: meter profiles by name."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

from protocols.profile_file import parse_profile
from protocols.profiles import MeterProfile, ProfileError

__all__ = ["MeterProfile", "ProfileError", "config_folder", "load_profile", "load_profiles", "profile"]


def config_folder() -> Path:
    """The folder config/, in the installed package (as gateway/config) or at the top of a checkout. Raises FileNotFoundError."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "config", package.parent / "config"):
        if (folder / "meters").is_dir():
            return folder
    raise FileNotFoundError(f"the installation is incomplete: no folder config with meters in or beside {package}")


def load_profile(path: Path) -> MeterProfile:
    """The profile in this file, which is named like it. Raises ProfileError with one sentence."""
    try:
        profile = parse_profile(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path} is not TOML: {error}") from None
    if profile.name != path.stem:
        raise ProfileError(f"{path} holds the profile {profile.name}; file and profile must have one name")
    return profile


@cache
def load_profiles(folder: Path | None = None) -> Mapping[str, MeterProfile]:
    """All profiles of a folder (by default config/meters), by name. Raises ProfileError for the first that cannot be used."""
    files = sorted((folder or config_folder() / "meters").glob("*.toml"), key=lambda path: path.stem)
    return MappingProxyType({path.stem: load_profile(path) for path in files})


def profile(name: str, folder: Path | None = None) -> MeterProfile:
    """The profile of this name. Raises ProfileError that lists the known ones."""
    known = load_profiles(folder)
    if name not in known:
        raise ProfileError(f"there is no meter profile {name!r}; known are {', '.join(known)}")
    return known[name]
