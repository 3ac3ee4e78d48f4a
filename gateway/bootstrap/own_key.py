"""The gateway's own signing key, changed while it runs or by hand."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from fastapi import FastAPI

from gateway.adapters.clock import Clock
from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.identity_api import IdentityApi
from gateway.adapters.identity import Identity, rotate
from gateway.services.ports import Tx

T = TypeVar("T")


class House(Protocol):
    """A gateway, running or by hand. take_identity: what signs from now on."""

    identity: Identity
    clock: Clock

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...
    def take_identity(self, identity: Identity) -> None: ...


def hang_own_key(app: FastAPI, house: House, data: Path, auth: OperatorAuth) -> None:
    """The routes of the key. data: the directory that it is in."""

    async def change(who: str) -> Identity:
        seed, before, now_ms = secrets.token_bytes(32), house.identity.kid, house.clock.now_ms()

        def usecase(tx: Tx) -> Identity:
            """Written down and done together; done twice it is the same key."""
            new = rotate(data, lambda: seed)
            tx.add_audit(now_ms, who, "rotate_identity", new.kid, {"before": before, "x": new.x})
            return new

        identity = await house.write(usecase)
        house.take_identity(identity)
        return identity

    app.include_router(IdentityApi(lambda: house.identity, change, auth).router())
