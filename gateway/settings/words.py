"""The words that settings are made of: values checked one by one, and tables that know their keys."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints

from gateway.domain.requests import valid_id
from gateway.domain.units import DECIMALS, parse_price

RATIO = re.compile(r"[0-9]{1,6}(/[0-9]{1,6})?", re.ASCII)


def _id(text: str) -> str:
    if not valid_id(text):
        raise ValueError("an id is 1 to 64 letters, digits, _ or -")
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{text!r} is no time zone; write one like Asia/Shanghai") from None
    return text


def _currency(text: str) -> str:
    if text not in DECIMALS:
        raise ValueError(f"currency {text!r} is not known here; known are {', '.join(sorted(DECIMALS))}")
    return text


def _listen(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is no address to listen on; write HOST:PORT like 127.0.0.1:8080")
    return text


def _ratio(text: str) -> str:
    try:
        if RATIO.fullmatch(text) and Fraction(text) >= 1:
            return text
    except ZeroDivisionError:
        pass
    raise ValueError(f"{text!r} is no transformer ratio; write one like 300/5 or 60")


def _price(text: str) -> str:
    parse_price(text)
    return text


def service_url(text: str) -> str:
    """A service that is handed secrets: https, or http on loopback. ValueError otherwise."""
    parts = urlsplit(text)
    loopback = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or parts.scheme not in ("http", "https") or (parts.scheme == "http" and not loopback):
        raise ValueError(f"{text!r} is no URL of a service to trust: write https://HOST/PATH, or http:// on loopback")
    return text


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(f"{text!r} is no address or network; write one like 10.1.2.3 or 10.1.2.0/24") from None
    return text


def _hex(text: str) -> str:
    try:
        count = len(bytes.fromhex(text))
    except ValueError:
        count = 0
    if not 1 <= count <= MOST_SAID:
        raise ValueError(f"{text[:20]!r} is not 1 to {MOST_SAID} bytes in hex, like 48 42 0D")
    return text


MOST_SAID = 256
"""Bytes of a registration or a heartbeat: the longest known carry a serial number, a SIM's number and a version."""

Id = Annotated[str, AfterValidator(_id)]
Service = Annotated[str, AfterValidator(service_url)]
Zone = Annotated[str, AfterValidator(_zone)]
Currency = Annotated[str, AfterValidator(_currency)]
Listen = Annotated[str, AfterValidator(_listen)]
Ratio = Annotated[str, AfterValidator(_ratio)]
Price = Annotated[str, AfterValidator(_price)]
Hex = Annotated[str, AfterValidator(_hex)]
Network = Annotated[str, AfterValidator(_network)]
Address = Annotated[str, StringConstraints(pattern=r"^([0-9]{1,12})$")]


class Table(BaseModel):
    """A table of the file: an unknown key is an error, and so is a value of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def fault(error: Mapping[str, object], whole: str = "") -> str:
    """A fault that pydantic found, as key and reason in one sentence; whole: the key's name where all of it is meant."""
    where = error["loc"]
    assert isinstance(where, tuple)
    way = [part for part in where if part != "[key]"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in way).lstrip(".") or whole
    said = {"extra_forbidden": "is not a known key", "missing": "is missing"}
    reason = said.get(str(error["type"])) or str(error["msg"]).removeprefix("Value error, ")
    return f"{key}: {reason}" if key else reason
