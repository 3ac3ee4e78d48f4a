"""The gateway's own signing key over HTTP: which it is, and a new one in its place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import OperatorAuth, person_of
from gateway.adapters.http.problems import Problem
from gateway.adapters.http.views import PROBLEM_DOCUMENT, as_json
from gateway.adapters.identity import Identity, IdentityError

PATH = "/api/v1/identity"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class IdentityView:
    """The public half of the key in use (the x of its JWK), and how many before it are still published."""

    kid: str
    x: str
    retired: int


class IdentityApi:
    """The handlers. identity: as it is now. rotate: a new key by this person; raises IdentityError, ports.Unavailable."""

    def __init__(self, identity: Callable[[], Identity], rotate: Callable[[str], Awaitable[Identity]], auth: OperatorAuth) -> None:
        self._identity, self._rotate, self._auth = identity, rotate, auth

    def router(self) -> APIRouter:
        """The routes, to be hung into an application of guard.new_application."""
        router = APIRouter(dependencies=[Depends(self._auth)], tags=["operator"], responses={"default": PROBLEM_DOCUMENT})
        for path, handler, method in ((PATH, self.show, "GET"), (f"{PATH}/rotate", self.rotate, "POST")):
            router.add_api_route(path, handler, methods=[method], response_class=Response, responses={200: {"model": IdentityView}})
        return router

    async def show(self, request: Request) -> Response:
        """The key that signs receipts, answers to banks and anchors."""
        return as_json(_view(self._identity()))

    async def rotate(self, request: Request) -> Response:
        """A new key signs from now on; the one before stays published, for what it has signed."""
        try:
            new = await self._rotate(person_of(request).who)
        except IdentityError as wrong:
            raise Problem("refused", str(wrong)) from None
        log.info("identity_rotated", kid=new.kid, by=person_of(request).who)
        return as_json(_view(new))


def _view(identity: Identity) -> IdentityView:
    return IdentityView(identity.kid, identity.x, len(identity.retired))
