"""POST /api/v1/reload: who may, what it answers when it was done, and every reason when it was not."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2
import pytest

from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.reload import Changes, NotReloaded, Parts, ReloadApi
from tests.gateway.adapters.http.street import TOKEN

BEARER = {"authorization": f"Bearer {TOKEN}"}
PATH = "/api/v1/reload"


class Gateway:
    """Answers as told, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Changes | NotReloaded = Changes()
        self.asked: list[str | None] = []

    async def reload(self, file: str | None) -> Changes:
        self.asked.append(file)
        if isinstance(self.answer, NotReloaded):
            raise self.answer
        return self.answer


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
async def http(gateway: Gateway) -> AsyncIterator[httpx2.AsyncClient]:
    app = new_application("operator", "0.1.0")
    app.include_router(ReloadApi(gateway.reload, OperatorAuth(TOKEN, open_get=True)).router())
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://operator") as client:
        yield client


async def test_it_wants_the_operators_token(http: httpx2.AsyncClient, gateway: Gateway) -> None:
    assert (await http.post(PATH)).status_code == 401
    assert (await http.post(PATH, headers={"authorization": "Bearer another-token-than-his"})).status_code == 401
    assert gateway.asked == []


async def test_it_answers_what_changed(http: httpx2.AsyncClient, gateway: Gateway) -> None:
    gateway.answer = Changes(meters=Parts(added=("m1",), changed=("m2",)), keys=("clock.source",), passwords=True)
    answer = await http.post(PATH, headers=BEARER)
    assert answer.status_code == 200
    nothing: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}
    assert answer.json() == {
        "lines": nothing,
        "meters": {"added": ["m1"], "removed": [], "changed": ["m2"]},
        "accounts": nothing,
        "tariffs": nothing,
        "schemes": nothing,
        "outputs": nothing,
        "keys": ["clock.source"],
        "passwords": True,
    }


async def test_a_file_may_be_named_and_nothing_else(http: httpx2.AsyncClient, gateway: Gateway) -> None:
    assert (await http.post(PATH, headers=BEARER, json={"file": "/etc/g.toml"})).status_code == 200
    assert (await http.post(PATH, headers=BEARER, json={})).status_code == 200
    assert gateway.asked == ["/etc/g.toml", None]
    wrong = await http.post(PATH, headers=BEARER, json={"path": "/etc/g.toml"})
    assert (wrong.status_code, wrong.json()["detail"]) == (422, "path is not a field of this request")


@pytest.mark.parametrize(("valid", "status", "code"), [(False, 422, "invalid"), (True, 409, "refused")])
async def test_a_refusal_has_every_reason(http: httpx2.AsyncClient, gateway: Gateway, valid: bool, status: int, code: str) -> None:
    gateway.answer = NotReloaded(["the first", "the second"], valid=valid)
    answer = await http.post(PATH, headers=BEARER)
    body = answer.json()
    assert (answer.status_code, body["code"], body["errors"]) == (status, code, ["the first", "the second"])
    assert body["detail"] == "nothing was changed: the first"
