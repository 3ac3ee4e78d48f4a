"""Asking a running gateway over its own HTTP interface."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import httpx2
import typer

from gateway.cli.answers import Failure, settings_of
from gateway.settings import SettingsError, secret_file

TIMEOUT_S = 10
"""The gateway answers within 5 s (contract.md 3)."""

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="The gateway's TOML file.")]
UrlOption = Annotated[str | None, typer.Option("--url", help="Where the gateway listens, like http://127.0.0.1:8080.")]


class GatewayClient:
    """One gateway by its address. Without a token, WATTGATE_TOKEN or the token file beside the configuration is used."""

    def __init__(self, url: str, token: str | None) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)
        self.url = url

    def call(
        self, method: str, path: str, json: object = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, object]]:
        """Status and JSON object of the answer. Failure when nobody answers."""
        try:
            answer = self._http.request(method, path, json=json, headers=headers)
            body = answer.json()
        except (httpx2.HTTPError, ValueError) as problem:
            raise Failure(f"no gateway answers at {self.url} ({problem})") from None
        return answer.status_code, body if isinstance(body, dict) else {"list": body}


def client(config: Path | None, url: str | None) -> GatewayClient:
    """The gateway that -c FILE or --url names."""
    if (config is None) == (url is None):
        raise Failure("name either a configuration (-c FILE) or a gateway (--url URL)", 2)
    token = os.environ.get("WATTGATE_TOKEN")
    if config is None:
        return GatewayClient(url or "", token)
    settings = settings_of(config)
    token_file = config.resolve().parent / settings.gateway.data / settings.http.token_file
    if token is None and token_file.exists():
        try:
            token = secret_file(token_file)
        except SettingsError as problem:
            raise Failure(problem.errors) from None
    return GatewayClient(f"http://{settings.http.listen}", token)
