"""Every role at every route of the table: who is let through, who is told which role it takes, and who is not known at all."""

from __future__ import annotations

import re

import httpx2
import pytest
from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import person_of
from gateway.adapters.http.roles import ANY, PUBLIC, ROLES, needed
from gateway.domain.people import Role
from tests.gateway.adapters.http.doors import Door, bearer, client

UNKNOWN = ("POST /api/v1/nobody/entered/this", "DELETE /api/v1/nor/{this}")
CALLS = (*ROLES, "GET /api/v1/anything", *UNKNOWN)


async def through(request: Request) -> Response:
    return Response(person_of(request).name)


def door_to(call: str, **how: object) -> httpx2.AsyncClient:
    door = Door(**how)  # type: ignore[arg-type]
    app = door.application()
    method, path = call.split()
    app.add_api_route(path, through, methods=[method], response_class=Response, dependencies=[Depends(door.auth)])
    return client(app)


async def ask(http: httpx2.AsyncClient, call: str, headers: dict[str, str]) -> httpx2.Response:
    method, path = call.split()
    return await http.request(method, re.sub(r"\{\w+\}", "x-1", path), headers=headers)


@pytest.mark.parametrize("call", CALLS)
async def test_a_role_is_let_through_exactly_where_the_table_says_so(call: str) -> None:
    roles = needed(*call.split())
    async with door_to(call) as http:
        for role in Role:
            answer = await ask(http, call, bearer(role.value))
            if role in roles:
                assert (answer.status_code, answer.text) == (200, role.value)
            else:
                problem = answer.json()
                assert (answer.status_code, problem["code"], problem["needs"]) == (403, "forbidden", sorted(roles))
                assert f"this needs the role {' or '.join(sorted(roles))}" in problem["detail"]
        both = await ask(http, call, bearer("two"))
        assert (both.status_code == 200) is bool(roles & {Role.APPROVER, Role.AUDITOR}), "one of two roles is enough"


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("headers", [{}, bearer("nobody"), bearer("gone"), {"cookie": "wattgate_session=made-up"}])
async def test_nobody_unknown_gets_anywhere(call: str, headers: dict[str, str]) -> None:
    async with door_to(call) as http:
        answer = await ask(http, call, headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    async with door_to(call, open_get=True) as http:
        looks = call.startswith("GET") and Role.AUDITOR in needed(*call.split())
        open_to = looks and "authorization" not in headers
        assert (await ask(http, call, headers)).status_code == (200 if open_to else 401)


def test_the_table_says_what_it_was_meant_to() -> None:
    acts = {call for call, roles in ROLES.items() if roles != ANY}
    assert all(Role.AUDITOR not in ROLES[call] for call in acts), "an auditor only looks"
    orders = [call for call in acts if re.search(r"/(cut|restore|allow_close|protect|unprotect)$", call)]
    assert len(orders) == 5 and all(ROLES[call] == {Role.OPERATOR} for call in orders)
    assert all(ROLES[call] == {Role.ADMIN} for call in acts if re.search(r"/(users|reload)", call))
    assert needed("GET", "/anything") == needed("HEAD", "/anything") == ANY
    assert all(needed(*call.split()) == {Role.ADMIN} for call in UNKNOWN), "what nobody entered, nobody may by chance"
    assert not PUBLIC & {*ROLES}


async def test_wrong_tokens_close_the_door_to_their_place_alone() -> None:
    door = Door()
    app = door.application()
    app.add_api_route("/api/v1/x", through, methods=["GET"], response_class=Response, dependencies=[Depends(door.auth)])
    async with client(app, "10.0.0.7") as guesser, client(app, "10.0.0.8") as operator:
        for _ in range(10):
            assert (await guesser.get("/api/v1/x", headers=bearer("guess"))).status_code == 401
        for name in ("guess", "operator"):
            answer = await guesser.get("/api/v1/x", headers=bearer(name))
            assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (429, "rate_limited", "5")
        assert (await operator.get("/api/v1/x", headers=bearer("operator"))).status_code == 200
        door.steady_s += 5
        assert (await guesser.get("/api/v1/x", headers=bearer("operator"))).status_code == 200


async def test_a_revoked_user_is_told_so() -> None:
    async with door_to("GET /api/v1/x") as http:
        answer = await ask(http, "GET /api/v1/x", bearer("gone"))
        assert answer.json()["detail"] == "the token of gone is revoked"
