"""The central system's TOML file: every error at once (contract.md 7)."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.adapters.mqtt_link import Broker
from protocols.errors import RequestError
from protocols.uplink.topics import ROOT, Topics, valid_id


class ConfigError(ValueError):
    """Everything that is wrong with the file; `errors` holds one sentence each."""

    def __init__(self, errors: list[str]) -> None:
        self.errors = errors
        super().__init__("\n".join(errors))


def _root(text: str) -> str:
    try:
        return Topics(text).root
    except RequestError as wrong:
        raise ValueError(str(wrong)) from None


def _id(text: str) -> str:
    if not valid_id(text):
        raise ValueError("an id is 1 to 64 letters, digits, _ or -")
    return text


class Table(BaseModel):
    """A table of the file: unknown keys and other types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CentralTable(Table):
    """id: of this system at the broker. data: folder of the SQLite store, beside the file. url: of PostgreSQL instead."""

    id: Annotated[str, AfterValidator(_id)] = "wattgate-central"
    data: str | None = None
    url: str | None = None

    @model_validator(mode="after")
    def _one_store(self) -> CentralTable:
        if (self.data is None) == (self.url is None):
            raise ValueError("name either data, a folder for a SQLite store, or url, a postgresql:// database")
        return self


class MqttTable(Table):
    """The broker. password_file: mode 0600, the password alone in it."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    root: Annotated[str, AfterValidator(_root)] = ROOT
    username: str | None = None
    password_file: str | None = None


class CentralConfig(Table):
    """The whole file."""

    central: CentralTable
    mqtt: MqttTable = MqttTable()

    def topics(self) -> Topics:
        """The topics of all gateways."""
        return Topics(self.mqtt.root)

    def store_url(self, folder: Path) -> str:
        """Database URL or path of the SQLite file; `folder` is where the configuration stands. Makes the data folder."""
        if self.central.url is not None:
            return self.central.url
        data = folder / str(self.central.data)
        data.mkdir(parents=True, exist_ok=True)
        return str(data / "central.db")

    def broker(self, folder: Path) -> Broker:
        """Where the broker is, with the password of its file. ConfigError when that cannot be used."""
        name = self.mqtt.password_file
        password = None if name is None else _secret(folder / name)
        return Broker(self.mqtt.host, self.mqtt.port, self.mqtt.username, password)


def load(path: Path, environment: Mapping[str, str] = os.environ) -> CentralConfig:
    """The checked configuration. WATTGATE_CENTRAL_URL overrides central.url. ConfigError with every error at once."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as problem:
        raise ConfigError([f"{path}: cannot be read: {problem.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ConfigError([f"{path}: is not TOML: {problem}"]) from None
    if (url := environment.get("WATTGATE_CENTRAL_URL")) and isinstance(table := document.setdefault("central", {}), dict):
        table.pop("data", None)
        table["url"] = url
    try:
        return CentralConfig.model_validate(document)
    except ValidationError as problem:
        errors = problem.errors()
    raise ConfigError([_sentence(path, ".".join(map(str, e["loc"])), e["type"], e["msg"]) for e in errors])


def _sentence(path: Path, key: str, kind: str, text: str) -> str:
    reason = {"extra_forbidden": "is not a known key", "missing": "is missing"}.get(kind, text.removeprefix("Value error, "))
    return f"{path}: {key or 'the file'}: {reason}"


def _secret(path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text("utf-8").strip()
    except OSError as problem:
        raise ConfigError([f"mqtt.password_file: {path} cannot be read: {problem.strerror}"]) from None
    if mode & 0o077:
        raise ConfigError([f"mqtt.password_file: {path} can be read by others: chmod 600 it"])
    return text
