"""Approvals, batches, quarantine and the stop switch over HTTP: who may ask, who may decide, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, TypeVar

import httpx2
import pytest

from gateway.adapters.clock import Clock
from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.views import rfc3339
from gateway.bootstrap.two_people import hang_two_people
from gateway.domain.people import Person, Role, hash_of
from gateway.domain.supply import Verb
from gateway.services.ports import Site, Tx
from tests.gateway.services.house import House, account, meter
from tests.gateway.services.memory_tx import MemoryStore

T = TypeVar("T")
TOKENS = {"li": "l" * 20, "wang": "w" * 20, "zhao": "z" * 20}
ROLES = {"li": (Role.OPERATOR,), "wang": (Role.APPROVER,), "zhao": (Role.AUDITOR,)}


class Desk:
    """A house behind the interface; `call` is a person's request."""

    def __init__(self, http: httpx2.AsyncClient, house: House) -> None:
        self.http, self.house = http, house

    async def call(self, who: str, method: str, path: str, **body: object) -> tuple[int, dict[str, Any]]:
        headers = {"authorization": f"Bearer {TOKENS[who]}"}
        answer = await self.http.request(method, f"/api/v1/{path}", json=body or None, headers=headers)
        found = answer.json()
        return answer.status_code, found if isinstance(found, dict) else {"list": found}


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    clock = Clock()
    house = House(MemoryStore(), clock.now_ms())
    house.settle(*(meter(f"m{n}", address=str(n)) for n in range(1, 13)), accounts=[account()], balance="100")

    class Behind:
        def __init__(self) -> None:
            self.clock = clock

        async def act(self, usecase: Callable[[Tx], T], meters: Callable[[Tx], Collection[str]]) -> T:
            return house.do(usecase)

        def site(self) -> Site:
            return house.site

    people = [Person(name, ROLES[name], hash_of(token), 0) for name, token in TOKENS.items()]
    app = new_application("test", "0")
    hang_two_people(app, Behind(), house.store.read, OperatorAuth(lambda: people))  # type: ignore[attr-defined]
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://desk") as http:
        yield Desk(http, house)


async def test_a_credit_is_asked_by_one_and_approved_by_another(desk: Desk) -> None:
    status, asked = await desk.call("li", "POST", "accounts/A-1/credit", id="c-1", amount="5.00", reason="goodwill")
    assert (status, asked["state"], asked["asked_by"], asked["body"]) == (
        202, "asked", "operator:li", {"micro": 5_000_000, "currency": "CNY", "reason": "goodwill"}
    )  # fmt: skip
    _, listed = await desk.call("zhao", "GET", "approvals")
    assert [each["id"] for each in listed["list"]] == ["c-1"]
    for nobody in ("li", "zhao"):
        status, problem = await desk.call(nobody, "POST", "approvals/c-1/approve", reason="yes")
        assert (status, problem["code"], problem["needs"]) == (403, "forbidden", ["approver"])
    status, done = await desk.call("wang", "POST", "approvals/c-1/approve", reason="yes")
    assert (status, done["state"], done["decided_by"], desk.house.balance()) == (200, "approved", "operator:wang", "105.000000")
    assert (await desk.call("wang", "POST", "approvals/c-1/approve", reason="yes"))[0] == 409
    _, listed = await desk.call("zhao", "GET", "approvals?asked=false")
    assert len(listed["list"]) == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("accounts/A-9/credit", {"amount": "5.00", "reason": "x"}, 404, "A-9"),
        ("accounts/A-1/credit", {"amount": "0.00", "reason": "x"}, 422, "more than nothing"),
        ("accounts/A-1/credit", {"amount": "five", "reason": "x"}, 422, "amount"),
        ("accounts/A-1/credit", {"amount": "5.00"}, 422, "reason"),
        ("accounts/A-9/lift-never-cut", {"reason": "x"}, 404, "A-9"),
        ("cuts", {"meters": [], "cause": "emergency", "reason": "x"}, 422, "meters"),
        ("cuts", {"meters": ["m1"], "cause": "emergency", "reason": "x", "facts": {"colour": "red"}}, 422, "facts"),
        ("approvals/none/refuse", {"reason": "x"}, 409, "nothing waits under none"),
    ],
)
async def test_what_cannot_be_asked_is_one_sentence(
    desk: Desk, path: str, body: dict[str, object], status: int, said: str
) -> None:
    got, problem = await desk.call("li", "POST", path, **body)
    assert got == status and said in f"{problem['detail']} {problem.get('field')}"


async def test_a_batch_over_ten_waits_and_a_small_one_tells_who_was_refused(desk: Desk) -> None:
    some = {"cause": "emergency", "reason": "flood"}
    status, done = await desk.call("li", "POST", "cuts", id="b-1", meters=["m1", "m2", "nobody"], **some)
    assert (status, done["approval"]) == (200, None)
    assert done["refused"] == {"nobody": "meter nobody is not in the archive"} and len(desk.house.open()) == 2
    status, waits = await desk.call("li", "POST", "cuts", id="b-2", meters=[f"m{n}" for n in range(1, 12)], **some)
    assert status == 202 and waits["approval"]["act"] == "cut_batch"
    assert len(desk.house.open()) == 2
    assert (await desk.call("wang", "POST", "approvals/b-2/approve", reason="yes"))[0] == 200
    assert len(desk.house.open()) == 11


async def test_a_plan_is_signed_by_a_second_person(desk: Desk) -> None:
    await desk.call("li", "POST", "plans", id="p-1", meters=["m1"], text="22:00-06:00 off", reason="contract 7")
    status, signed = await desk.call("wang", "POST", "approvals/p-1/approve", reason="yes")
    assert (status, signed["act"], signed["state"]) == (200, "plan", "approved")


async def test_the_quarantine_is_listed_released_and_refused(desk: Desk) -> None:
    for number in (1, 2):
        desk.house.order(Verb.CUT, "theft_by_two_people", ident=f"m{number}", id=f"q-{number}", who="operator:li", second="")
    _, listed = await desk.call("zhao", "GET", "quarantine")
    assert [(each["command"]["id"], each["by"]) for each in listed["list"]] == [
        ("q-2", "operator:li"), ("q-1", "operator:li")
    ]  # fmt: skip
    assert (await desk.call("li", "POST", "quarantine/q-1/release", reason="x"))[0] == 403
    status, released = await desk.call("wang", "POST", "quarantine/q-1/release", reason="seen the seal")
    assert (status, released["state"]) == (200, "queued")
    status, refused = await desk.call("wang", "POST", "quarantine/q-2/refuse", reason="the wrong house")
    assert (status, refused["state"]) == (200, "refused")
    assert (await desk.call("wang", "POST", "quarantine/q-2/release", reason="x"))[0] == 409


async def test_anybody_on_duty_stops_cuts_and_resuming_takes_a_role(desk: Desk) -> None:
    assert (await desk.call("zhao", "POST", "stop-cuts", reason="x"))[0] == 403
    status, state = await desk.call("li", "POST", "stop-cuts", reason="a wrong tariff")
    assert (status, state) == (200, {"stopped": True, "why": "a wrong tariff (operator:li)"})
    assert (await desk.call("zhao", "GET", "stop-cuts"))[1] == state
    assert (await desk.call("li", "POST", "resume-cuts", reason="x"))[0] == 403
    assert (await desk.call("wang", "POST", "resume-cuts", reason="right again"))[1] == {"stopped": False, "why": None}
    assert (await desk.call("wang", "POST", "resume-cuts", reason="again"))[0] == 409


async def test_protection_begins_at_once_and_its_end_waits(desk: Desk) -> None:
    until = "2099-01-01T00:00:00Z"
    status, refused = await desk.call("li", "POST", "accounts/A-1/protect", until=until, owner="Li Wei", reason="oxygen")
    assert status == 409 and "366 days" in str(refused["detail"])
    until = rfc3339(desk.house.now_ms + 86_400_000)
    body = {"until": until, "owner": "Li Wei", "reason": "oxygen", "blocks": "commercial", "in_meter": True}
    status, view = await desk.call("li", "POST", "accounts/A-1/protect", **body)
    assert (status, view["blocks"], view["in_meter"], view["approval"]) == (200, "commercial", True, None)
    status, view = await desk.call("li", "POST", "accounts/A-1/unprotect", owner="Li Wei", reason="moved away")
    assert status == 202 and view["protected_until"] is not None
    ident = view["approval"]["id"]
    assert (await desk.call("wang", "POST", f"approvals/{ident}/approve", reason="yes"))[0] == 200
    assert not desk.house.account().protected(desk.house.now_ms)
