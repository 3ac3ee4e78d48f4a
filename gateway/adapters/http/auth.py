"""Who may look and who may act: one operator token, compared in constant time. Names and roles come with `wattgate users`."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from starlette.requests import Request

from gateway.adapters.http.problems import Problem

SHORTEST_TOKEN = 16
"""Characters: 96 bits in base64; less can be guessed over the network in time."""


def read_token(path: Path) -> str:
    """The operator's token from a file that only its owner can read. ValueError says what is wrong with the file."""
    try:
        mode = path.stat().st_mode & 0o777
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the operator's token cannot be read from {path}: {error}") from None
    if mode & 0o077:
        raise ValueError(f"{path} holds a secret and may be read by others (mode {mode:04o}): chmod 600 {path}")
    if len(token) < SHORTEST_TOKEN:
        raise ValueError(f"the token in {path} is shorter than {SHORTEST_TOKEN} characters")
    return token


class OperatorAuth:
    """A FastAPI dependency. open_get: looking needs no token (the demo, on loopback); acting always needs it."""

    def __init__(self, token: str, *, open_get: bool = False) -> None:
        if len(token) < SHORTEST_TOKEN:
            raise ValueError(f"an operator's token has at least {SHORTEST_TOKEN} characters")
        self._digest, self._open_get = _digest(token), open_get

    def __call__(self, request: Request) -> None:
        """Problem `unauthorized` without the right token."""
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if not given and self._open_get and request.method in ("GET", "HEAD"):
            return
        if scheme.lower() != "bearer" or not given:
            raise _unauthorized("send the operator's token: Authorization: Bearer TOKEN")
        if not hmac.compare_digest(_digest(given.strip()), self._digest):
            raise _unauthorized("this is not the operator's token")


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(detail: str) -> Problem:
    return Problem("unauthorized", detail, headers={"www-authenticate": 'Bearer realm="wattgate"'})
