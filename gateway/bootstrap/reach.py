"""A running gateway as the tools reach it: where it listens, whose token opens it, and what it says of its lines and meters."""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import httpx2

if TYPE_CHECKING:
    from gateway.settings import Settings

ANSWER_WITHIN_S = 10.0
"""The gateway answers within 5 s (contract.md 3)."""

TOKEN = "WATTGATE_TOKEN"
Kind = Literal["serial", "tcp", "modbus-tcp", "tcp-listen"]


class Unreached(Exception):
    """No gateway answers, or it says no; one sentence."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Where a gateway listens, and the operator's token."""

    url: str
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class LineTold:
    """What a running gateway says of a line. baud, parity: None where they are not its to know; device: for people."""

    kind: Kind
    device: str
    baud: int | None
    parity: str | None


@dataclass(frozen=True, slots=True)
class MeterTold:
    """What a running gateway says of a meter."""

    line: str
    address: str
    protocol: str


def listener_of(settings: Settings, folder: Path) -> Listener:
    """Where the gateway of this configuration listens. Raises Unreached for a token file that others may read."""
    from gateway.settings import SettingsError, secret_file

    token, file = os.environ.get(TOKEN), folder / settings.gateway.data / settings.http.token_file
    if token is None and file.exists():
        try:
            token = secret_file(file)
        except SettingsError as problem:
            raise Unreached(problem.errors[0]) from None
    return Listener(f"http://{settings.http.listen}", token)


def in_use(data: Path) -> str | None:
    """Who has a data directory, in one sentence; None when nobody. A look only, without all that a store needs to be opened."""
    try:
        with (data / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return f"the data directory {data} is in use by process {(data / 'lock').read_text().strip() or 'another one'}"
    except OSError:
        return None  # there is none yet, or whoever takes it says what is wrong with it
    return None


def ask_line(listener: Listener, line: str) -> LineTold:
    """How a line is set. Raises Unreached."""
    told = _object(_get(listener, f"/api/v1/lines/{line}"))
    kind, baud, parity = told.get("kind"), told.get("baud"), told.get("parity")
    if kind not in ("serial", "tcp", "modbus-tcp", "tcp-listen"):
        raise Unreached(f"what answers at {listener.url} is no gateway of this version")
    device, known_baud = str(told.get("device") or ""), baud if isinstance(baud, int) else None
    return LineTold(kind, device, known_baud, parity if isinstance(parity, str) else None)


def meter_told(listener: Listener, meter: str) -> MeterTold:
    """Where a meter is. Raises Unreached."""
    found = _get(listener, "/api/v1/meters")
    for each in found if isinstance(found, list) else ():
        if isinstance(each, dict) and each.get("meter") == meter:
            return MeterTold(str(each.get("line")), str(each.get("address")), str(each.get("protocol")))
    raise Unreached(f"meter {meter} is not known to the gateway at {listener.url}")


def _get(listener: Listener, path: str) -> object:
    headers = {"authorization": f"Bearer {listener.token}"} if listener.token else {}
    try:
        with httpx2.Client(base_url=listener.url, headers=headers, timeout=ANSWER_WITHIN_S, trust_env=False) as http:
            answer = http.get(path)
            body: object = answer.json()
    except (httpx2.HTTPError, ValueError) as problem:
        raise Unreached(f"no gateway answers at {listener.url} ({problem})") from None
    if answer.status_code != 200:
        raise Unreached(str(_object(body).get("detail") or f"the gateway at {listener.url} said {answer.status_code}"))
    return body


def _object(body: object) -> dict[str, object]:
    return body if isinstance(body, dict) else {}
