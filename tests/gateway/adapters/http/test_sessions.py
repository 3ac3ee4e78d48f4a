"""Sessions of the page: the cookie no script reads, acts that only our page sends, and every way in which one ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.cookies import SimpleCookie

import httpx2
import pytest
from fastapi import Depends
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.auth import COOKIE, person_of
from gateway.adapters.http.sessions import IDLE_S, LONGEST_S, MOST_SESSIONS, SessionApi, Sessions
from gateway.domain.people import hash_of
from tests.gateway.adapters.http.doors import PAGE, Door, bearer, client, person, token

LOOK, ACT, SESSION = "/api/v1/meters", "/api/v1/meters/m1/cut", "/api/v1/session"


async def through(request: Request) -> Response:
    return Response(person_of(request).name)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
async def page(door: Door) -> AsyncIterator[httpx2.AsyncClient]:
    app = door.application()
    app.include_router(SessionApi(door.sessions, door.auth).router())
    for path, method in ((LOOK, "GET"), ("/api/v1/meters/{meter}/cut", "POST")):
        app.add_api_route(path, through, methods=[method], response_class=Response, dependencies=[Depends(door.auth)])
    async with client(app) as http:
        yield http


async def sign_in(http: httpx2.AsyncClient, name: str = "operator") -> str:
    answer = await http.post(SESSION, json={"token": token(name)}, headers=PAGE)
    assert answer.status_code == 201, answer.text
    return str(answer.cookies[COOKIE])


async def test_a_token_given_once_opens_a_session_whose_cookie_is_no_scripts(page: httpx2.AsyncClient) -> None:
    assert (await page.get(LOOK)).status_code == 401
    answer = await page.post(SESSION, json={"token": f" {token('operator')}\n"}, headers=PAGE)
    assert answer.json() == {"name": "operator", "roles": ["operator"]} and token("operator") not in answer.text
    cookie = SimpleCookie(answer.headers["set-cookie"])[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["max-age"]) == (True, "strict", "/", str(LONGEST_S))
    assert len(cookie.value) >= 43 and token("operator") not in cookie.value, "256 bits"
    assert (await page.get(LOOK)).text == "operator" == (await page.get(SESSION)).json()["name"]
    assert (await page.post(ACT, headers=PAGE)).text == "operator"


async def test_an_act_that_another_site_could_have_sent_is_refused(page: httpx2.AsyncClient, door: Door) -> None:
    assert (await page.post(SESSION, json={"token": token("operator")})).status_code == 403, "nobody is signed in from elsewhere"
    await sign_in(page)
    for headers in ({}, {"x-wattgate-page": ""}, {"content-type": "text/plain"}, {"origin": "http://elsewhere"}):
        answer = await page.post(ACT, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await page.delete(SESSION)).status_code == 403 and len(door.sessions) == 1
    assert (await page.get(LOOK)).status_code == 200, "a look changes nothing"
    page.cookies.clear()
    assert (await page.post(ACT, headers=bearer("operator"))).status_code == 200, "a token is sent by nobody else's page"


async def test_a_session_may_what_its_person_may(page: httpx2.AsyncClient) -> None:
    await sign_in(page, "auditor")
    assert ((await page.get(LOOK)).status_code, (await page.post(ACT, headers=PAGE)).status_code) == (200, 403)
    assert (await page.post(ACT, headers={**PAGE, **bearer("operator")})).text == "operator", "a token goes before the session"
    assert (await page.get(LOOK, headers=bearer("wrong"))).status_code == 401


async def test_a_session_ends_when_it_is_signed_out(page: httpx2.AsyncClient) -> None:
    kept = await sign_in(page)
    answer = await page.delete(SESSION, headers=PAGE)
    assert answer.status_code == 204 and COOKIE not in page.cookies
    assert (await page.get(LOOK, headers={"cookie": f"{COOKIE}={kept}"})).status_code == 401, "also a cookie that was copied"


async def test_a_session_ends_when_it_is_quiet_and_after_a_shift(page: httpx2.AsyncClient, door: Door) -> None:
    await sign_in(page)
    for _ in range(LONGEST_S // IDLE_S):
        assert (await page.get(LOOK)).status_code == 200
        door.steady_s += IDLE_S
    assert (await page.get(LOOK)).status_code == 200
    door.steady_s += 1
    answer = await page.get(LOOK)
    assert (answer.status_code, answer.json()["detail"]) == (401, "the session is over: sign in again")
    await sign_in(page)
    door.steady_s += IDLE_S + 1
    assert (await page.get(LOOK)).status_code == 401 and len(door.sessions) == 0


@pytest.mark.parametrize("change", [{"revoked_ms": 5}, {"token_hash": hash_of("another-token")}])
async def test_a_session_ends_with_the_token_that_began_it(page: httpx2.AsyncClient, door: Door, change: dict[str, object]) -> None:
    await sign_in(page)
    door.change("operator", **change)
    assert (await page.get(LOOK)).status_code == 401


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"token": token("gone")}, 401),
        ({"token": "no-such-token"}, 401),
        ({"token": ""}, 422),
        ({"token": "x" * 513}, 422),
        ({"token": 7}, 422),
        ({}, 422),
        ({"token": token("operator"), "for_ever": True}, 422),
    ],
)
async def test_what_opens_no_session(page: httpx2.AsyncClient, door: Door, body: dict[str, object], status: int) -> None:
    answer = await page.post(SESSION, json=body, headers=PAGE)
    assert (answer.status_code, len(door.sessions), "set-cookie" in answer.headers) == (status, 0, False)


async def test_guesses_at_the_session_are_counted_too(page: httpx2.AsyncClient) -> None:
    for _ in range(10):
        assert (await page.post(SESSION, json={"token": "guess"}, headers=PAGE)).status_code == 401
    assert (await page.post(SESSION, json={"token": token("operator")}, headers=PAGE)).status_code == 429


def test_there_is_room_for_so_many_sessions_and_the_quietest_goes() -> None:
    sessions = Sessions(lambda: 0.0)
    first, second = sessions.begin(person("a")), sessions.begin(person("b"))
    for _ in range(MOST_SESSIONS - 2):
        sessions.begin(person("c"))
    assert sessions.holder(first) is not None
    sessions.begin(person("d"))
    assert len(sessions) == MOST_SESSIONS and sessions.holder(first) is not None and sessions.holder(second) is None
