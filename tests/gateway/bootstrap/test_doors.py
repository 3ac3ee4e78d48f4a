"""The whole gateway's door: every route of its application stands behind it with an entry in the table, and keeps strangers out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import httpx2
import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.roles import LOOKING, PUBLIC, ROLES, needed
from gateway.bootstrap.process import Gateway
from gateway.domain.people import Person, Role, hash_of
from gateway.services.people import revoke_person
from gateway.settings import load
from tests.gateway.bootstrap.site import Site

BANK = "/bank/v1/"
ENDLESS = "GET /api/v1/stream"


def routes(found: list[BaseRoute]) -> Iterator[APIRoute]:
    """All of them, also those of routers within routers."""
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        elif (router := getattr(route, "original_router", None)) is not None:
            yield from routes(router.routes)


def calls(gateway: Gateway) -> dict[str, APIRoute]:
    """Method and path of every route that is not a bank's."""
    app = gateway.listener.app
    found = {f"{method} {route.path}": route for route in routes(app.routes) for method in route.methods or ()}  # type: ignore[attr-defined]
    return {call: route for call, route in found.items() if BANK not in call}


@pytest.fixture
def gateway(site_of: Callable[..., Site]) -> Iterator[Gateway]:
    """One that is built and not run, with a user for each role, and one that is gone."""
    site = site_of(1, 1)
    site.write()
    gateway = Gateway(load(site.file), site.folder, site.file)
    people = [Person(f"{role.value}-1", (role,), hash_of(f"the-token-of-{role.value}-1"), 0) for role in Role]
    for person in (*people, Person("gone", tuple(Role), hash_of("the-token-of-gone"), 0)):
        gateway.store.write_now(lambda tx, person=person: tx.save_person(person))  # type: ignore[misc]
    gateway.store.write_now(lambda tx: revoke_person(tx, "gone", "console", 0))
    gateway.people.begin(gateway.store, first=False)
    yield gateway
    gateway._open.close()


def test_every_route_has_an_entry_and_stands_behind_the_door(gateway: Gateway) -> None:
    found = calls(gateway)
    assert len(found) > 40, "the walk has found the routes"
    for call, route in found.items():
        doors = [each for each in route.dependant.dependencies if isinstance(each.call, OperatorAuth)]
        assert bool(doors) is (call not in PUBLIC), call
        assert call in PUBLIC or call in ROLES or call.split()[0] in LOOKING, f"{call} has no entry in the table of roles"
    assert {*ROLES} <= {*found}, "entries of routes that there are not"


def asked(call: str) -> tuple[str, str]:
    method, path = call.split()
    return method, re.sub(r"\{\w+\}", "x-1", path)


async def ask(gateway: Gateway, call: str, token: str, number: int) -> httpx2.Response:
    """From a place of its own, so that nobody's wrong token closes the door to another."""
    transport = httpx2.ASGITransport(gateway.listener.app, client=(f"10.0.{number // 250}.{number % 250}", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as http:
        return await http.request(*asked(call), headers={"authorization": f"Bearer {token}"} if token else {})


async def test_every_route_keeps_out_who_may_not(gateway: Gateway) -> None:
    for number, call in enumerate(sorted({*calls(gateway)} - PUBLIC)):
        for token in ("", "the-token-of-nobody", "the-token-of-gone"):
            answer = await ask(gateway, call, token, number)
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), (call, token)
        for role in {*Role} - needed(*call.split()):
            answer = await ask(gateway, call, f"the-token-of-{role.value}-1", number)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (call, role)


async def test_every_route_lets_in_who_may(gateway: Gateway) -> None:
    for number, call in enumerate(sorted({*calls(gateway)} - PUBLIC - {ENDLESS, "POST /api/v1/reload"})):
        for role in needed(*call.split()):
            answer = await ask(gateway, call, f"the-token-of-{role.value}-1", number)
            assert answer.status_code not in (401, 403), (call, role, answer.text)
