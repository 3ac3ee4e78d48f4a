"""Asking a running gateway over its own HTTP interface, or doing one act by hand where none runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import httpx2
import typer

from gateway.bootstrap.reach import TOKEN, Unreached, in_use, listener_of
from gateway.cli.answers import Failure, settings_of

if TYPE_CHECKING:  # a gateway named by its URL is asked without what reads configurations
    from gateway.settings import Settings

TIMEOUT_S = 10
"""The gateway answers within 5 s (contract.md 3)."""

FILES, FILE_WITHIN_S = ("/api/v1/archive/", "/api/v1/rules/"), 120
"""A file of 10,000 tables is taken over in some 10 s on a quiet machine."""

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="The gateway's TOML file.")]
UrlOption = Annotated[str | None, typer.Option("--url", help="Where the gateway listens, like http://127.0.0.1:8080.")]


class Asked(Protocol):
    """What answers a verb."""

    def call(
        self, method: str, path: str, json: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, object]]:
        """Status and JSON object of the answer. Failure when nobody answers."""

    def left_over(self) -> list[tuple[str, str, str]]:
        """Meter, verb and id of commands that nobody but this verb carries out."""


class GatewayClient:
    """One running gateway by its address. taken: what else is known of it, for when it does not answer."""

    def __init__(self, url: str, token: str | None, taken: str = "") -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)
        self.url, self._taken = url, taken

    def call(
        self, method: str, path: str, json: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, object]]:
        """Status and JSON object of the answer. Failure when nobody answers."""
        try:
            timeout_s = FILE_WITHIN_S if path.startswith(FILES) else TIMEOUT_S
            answer = self._http.request(method, path, json=json, headers=headers, timeout=timeout_s)
            body = answer.json()
        except (httpx2.HTTPError, ValueError) as problem:
            silent = f"no gateway answers at {self.url} ({problem})"
            raise Failure(f"{self._taken}, and {silent}" if self._taken else silent) from None
        return answer.status_code, body if isinstance(body, dict) else {"list": body}

    def left_over(self) -> list[tuple[str, str, str]]:
        """None: the gateway goes on."""
        return []


@contextlib.contextmanager
def asking(config: Path | None, url: str | None) -> Iterator[Asked]:
    """The gateway that -c FILE or --url names; where none runs on FILE's data, this process for the one act."""
    if (config is None) == (url is None):
        raise Failure("name either a configuration (-c FILE) or a gateway (--url URL)", 2)
    if config is None:
        yield GatewayClient(url or "", os.environ.get(TOKEN))
        return
    settings, folder = settings_of(config), config.resolve().parent
    if (taken := in_use(folder / settings.gateway.data)) is not None:
        yield _running(settings, folder, taken)
        return
    from gateway.bootstrap import by_hand, examine  # everything heavy is loaded only by those who act themselves

    try:
        act = by_hand.ByHand(settings, folder)
    except examine.CannotStart as problem:
        raise Failure(str(problem)) from None
    except by_hand.Taken as meanwhile:
        yield _running(settings, folder, str(meanwhile))
        return
    with act:
        yield act


def client(config: Path | None, url: str | None) -> GatewayClient:
    """The running gateway that -c FILE or --url names, for what only a running one can be asked."""
    if (config is None) == (url is None):
        raise Failure("name either a configuration (-c FILE) or a gateway (--url URL)", 2)
    if config is None:
        return GatewayClient(url or "", os.environ.get(TOKEN))
    return _running(settings_of(config), config.resolve().parent, "")


def _running(settings: Settings, folder: Path, taken: str) -> GatewayClient:
    """The gateway that has the data directory. taken: who has it, for when nobody answers."""
    try:
        listener = listener_of(settings, folder)
    except Unreached as problem:
        raise Failure(str(problem)) from None
    return GatewayClient(listener.url, listener.token, taken)
