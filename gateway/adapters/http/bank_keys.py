"""The keys that sign our receipts and answers, for everybody (contract.md 3, RFC 7517)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.bank_answers import Answers, problems
from gateway.adapters.http.bank_caller import anybody
from gateway.adapters.http.views import as_json

Published = Callable[[], Sequence[dict[str, str]]]


class JwkSet(BaseModel):
    """Public keys as a JWK set; the first is in use, the others signed what is older."""

    keys: list[dict[str, str]] = Field(
        examples=[[{"kty": "OKP", "crv": "Ed25519", "kid": "...", "x": "...", "use": "sig", "alg": "EdDSA"}]]
    )


def hang_keys(router: APIRouter, published: Published) -> None:
    """GET /keys, onto a router of bank_gate."""

    async def keys(request: Request) -> Response:
        """The public keys that check `receipt_jws` and the signatures of our answers."""
        anybody(request)
        return as_json({"keys": published()})

    answers: Answers = {200: {"model": JwkSet}, **problems("malformed", "too_large", "unavailable", head_only=True)}
    router.add_api_route("/keys", keys, methods=["GET"], response_class=Response, responses=answers)
