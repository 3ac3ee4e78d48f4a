"""The central system's TOML file: every error at once (contract.md 7)."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from joserfc.jwk import OKPKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from gateway.adapters.http.server import is_loopback
from gateway.adapters.mqtt_session import Broker, Tls
from gateway.central import keys
from gateway.central.bank_config import BankTable
from gateway.central.orders import Signer
from protocols.errors import RequestError
from protocols.uplink import signing
from protocols.uplink.messages import BadMessage
from protocols.uplink.topics import ROOT, Topics, valid_id

PLAIN_PORT, TLS_PORT = 1883, 8883
_PROTOCOLS = {None: None, "5": 5, "3.1.1": 4}


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


def _listen(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("is an address and a port, like 127.0.0.1:8090")
    return text


def _public(text: str) -> str:
    try:
        signing.public_key(text)
    except BadMessage as wrong:
        raise ValueError(str(wrong)) from None
    return text


def _id(text: str) -> str:
    if not valid_id(text):
        raise ValueError("an id is 1 to 64 letters, digits, _ or -")
    return text


class Table(BaseModel):
    """A table of the file: unknown keys and other types are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class CentralTable(Table):
    """id: of this instance at the broker. name: the centre in receipts. data: folder of a SQLite store; url: PostgreSQL instead.

    share: name of the group of instances that share the work; without it this one takes everything.
    """

    id: Annotated[str, AfterValidator(_id)] = "wattgate-central"
    name: Annotated[str, AfterValidator(_id)] = "CENTRE"
    data: str | None = None
    url: str | None = None
    share: Annotated[str, AfterValidator(_id)] | None = None

    @model_validator(mode="after")
    def _one_store(self) -> CentralTable:
        if (self.data is None) == (self.url is None):
            raise ValueError("name either data, a folder for a SQLite store, or url, a postgresql:// database")
        return self


class MqttTable(Table):
    """The broker. password_file: mode 0600, the password alone in it. ca, cert, key: PEM files, as a gateway has them."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    version: Literal["5", "3.1.1"] | None = None
    root: Annotated[str, AfterValidator(_root)] = ROOT
    username: str | None = None
    password_file: str | None = None
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @model_validator(mode="after")
    def _in_pairs(self) -> MqttTable:
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together: name both, or neither")
        return self

    @property
    def secured(self) -> bool:
        """Whether the connection is TLS."""
        return self.tls or self.ca is not None or self.cert is not None


class KeysTable(Table):
    """Files of private keys, mode 0600 (wattgate central keys new). centre: signs acks and requests. commands: signs orders.

    receipts: signs receipts and answers to banks.
    """

    centre: str | None = None
    commands: str | None = None
    receipts: str | None = None


class HttpTable(Table):
    """listen: of /healthz and /metrics, and of the banks' interface where there is one."""

    listen: Annotated[str, AfterValidator(_listen)]


class GatewayTable(Table):
    """A gateway whose books are watched. anchor_keys: public keys by id, the x of their JWK."""

    id: Annotated[str, AfterValidator(_id)]
    anchor_keys: dict[Annotated[str, AfterValidator(_id)], Annotated[str, AfterValidator(_public)]]


class CentralConfig(Table):
    """The whole file."""

    central: CentralTable
    mqtt: MqttTable = MqttTable()
    keys: KeysTable = KeysTable()
    http: HttpTable | None = None
    bank: BankTable | None = None
    gateway: list[GatewayTable] = []

    @model_validator(mode="after")
    def _across(self) -> CentralConfig:
        if self.bank is not None and self.bank.enabled:
            self._bank_can_be(self.bank)
        if len({g.id for g in self.gateway}) != len(self.gateway):
            raise ValueError("a gateway is there twice")
        return self

    def _bank_can_be(self, bank: BankTable) -> None:
        where = "bank.listen" if bank.listen is not None or self.http is None else "http.listen"
        listen = bank.listen or (None if self.http is None else self.http.listen)
        if listen is None:
            raise ValueError("bank needs bank.listen, or http.listen")
        if self.keys.commands is None:
            raise ValueError("bank needs keys.commands: vouchers are signed")
        if bank.signatures == "required" and self.keys.receipts is None:
            raise ValueError('bank: signatures = "required" needs keys.receipts: what banks are answered is signed too')
        if is_loopback(listen.rpartition(":")[0].strip("[]")):
            return
        if bank.signatures == "off":
            raise ValueError(f'bank: signatures = "off" is allowed only where {where} is on loopback')
        if bank.certificate is None:
            raise ValueError(f"bank: {where} is not on loopback: give the banks a listen of their own, with certificate and key")

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
        m = self.mqtt
        password = None if m.password_file is None else _secret(folder / m.password_file)
        ca, cert, key = (None if name is None else folder / name for name in (m.ca, m.cert, m.key))
        tls = Tls(ca, cert, key) if m.secured else None
        port = m.port or (TLS_PORT if m.secured else PLAIN_PORT)
        return Broker(m.host, port, m.username, password, protocol=_PROTOCOLS[m.version], tls=tls)

    def signer(self, folder: Path, role: Literal["centre", "commands", "receipts"]) -> Signer | None:
        """Our key for this, None where the file names none. ConfigError when it cannot be used."""
        name = getattr(self.keys, role)
        try:
            return None if name is None else keys.load(folder / name)
        except keys.BadKey as wrong:
            raise ConfigError([f"keys.{role}: {wrong}"]) from None

    def anchor_keys(self) -> dict[str, dict[str, OKPKey]]:
        """Public keys of the gateways' anchors, by gateway and key id."""
        return {g.id: {kid: signing.public_key(x) for kid, x in g.anchor_keys.items()} for g in self.gateway}


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
