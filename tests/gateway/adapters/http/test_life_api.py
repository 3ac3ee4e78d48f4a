"""The life of accounts and meters over HTTP: forms, refusals and answers as documents, and who answers for an act."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from gateway.adapters.http.archive_api import MOST_ARCHIVE_BYTES, ArchiveApi
from gateway.adapters.http.auth import OperatorAuth
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.life_api import Answer, LifeApi, Wrong
from gateway.adapters.http.life_forms import ArchiveForm
from gateway.domain.life import Act, NeedsSecond, Refusal
from gateway.domain.people import Person, Role, hash_of
from gateway.services.ports import MoneyHeld

FIRST, LI = "the-first-token-of-all", "li-s-own-token-of-hers"


class Cases:
    """Does what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.fails: Exception | None = None

    async def _do(self, *asked: Any) -> Answer:
        self.asked.append(asked)
        if self.fails is not None:
            raise self.fails
        return {"done": asked[0]}

    def __getattr__(self, name: str) -> Any:
        return lambda *asked: self._do(name, *asked)

    async def take(self, what: str, form: ArchiveForm, act: Act) -> Answer:
        return await self._do("take", what, form, act)

    def give(self, what: str) -> Sequence[dict[str, object]]:
        return [{"id": what}]


@pytest.fixture
def cases() -> Cases:
    return Cases()


@pytest.fixture
async def http(cases: Cases) -> AsyncIterator[httpx2.AsyncClient]:
    people = (
        Person("operator", tuple(Role), hash_of(FIRST), 0),
        Person("li", (Role.OPERATOR,), hash_of(LI), 0),
        Person("au", (Role.AUDITOR,), hash_of("an-auditor-s-own-token"), 0),
    )
    app, auth = new_application("life", "0"), OperatorAuth(lambda: people)
    app.include_router(LifeApi(cases, auth).router())
    app.include_router(ArchiveApi(cases, auth).router())
    headers = {"authorization": f"Bearer {FIRST}"}
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://life", headers=headers) as client:
        yield client


BODY: dict[str, object] = {"id": "R-1", "reason": "moves in"}
KWH = {"energy_import": "1234.56"}
CALLS = [
    ("/api/v1/accounts", {"account": {"id": "A-9"}, "meters": [{"meter": "m1", "kwh": KWH}, {"meter": "m2"}]}, "open"),
    ("/api/v1/accounts/A-9/close", {"final": {"m1": KWH}, "refund": "counter"}, "close"),
    ("/api/v1/accounts/A-9/refunds", {"amount": "1.00"}, "refund"),
    ("/api/v1/refunds/R-0/paid", {"receipt": "K-1"}, "pay_refund"),
    ("/api/v1/refunds/R-0/void", {}, "void_refund"),
    ("/api/v1/moves", {"meters": [{"meter": "m1", "to": None, "kwh": KWH}]}, "move"),
    ("/api/v1/meters/m1/change", {"device": {"address": "9"}, "last": KWH, "first": KWH}, "change"),
    ("/api/v1/meters/m1/change-ct", {"ct": "400/5", "kwh": KWH}, "change_ct"),
    ("/api/v1/meters/m1/remove", {}, "remove"),
    ("/api/v1/archive/meters", {"format": "csv", "text": "id\n"}, "take"),
    ("/api/v1/rules/tariffs", {"format": "toml", "text": ""}, "take"),
]


@pytest.mark.parametrize(("path", "body", "name"), CALLS, ids=[name for _, _, name in CALLS])
async def test_each_act_reaches_its_case(
    http: httpx2.AsyncClient, cases: Cases, path: str, body: dict[str, object], name: str
) -> None:
    answer = await http.post(path, json=BODY | body)
    assert (answer.status_code, answer.json()) == (200, {"done": name}), answer.text
    [act] = [part for part in cases.asked[0] if isinstance(part, Act)]
    assert (act.id, act.by, act.reason, act.who, len(act.content)) == ("R-1", "operator", "moves in", "operator:operator", 64)
    if name in ("open", "close", "move"):
        kwh = {"energy_import": Decimal("1234.56")}
        assert cases.asked[0][-1] in ([kwh, None], {"m1": kwh}, [kwh])


@pytest.mark.parametrize(("path", "body", "name"), CALLS, ids=[name for _, _, name in CALLS])
async def test_whoever_only_looks_does_none_of_it(
    http: httpx2.AsyncClient, cases: Cases, path: str, body: dict[str, object], name: str
) -> None:
    answer = await http.post(path, json=BODY | body, headers={"authorization": "Bearer an-auditor-s-own-token"})
    assert (answer.status_code, answer.json()["code"], cases.asked) == (403, "forbidden", [])


async def test_a_second_name_counts_only_where_nobody_has_an_identity(http: httpx2.AsyncClient, cases: Cases) -> None:
    body = BODY | {"account": {}, "by": "wang", "second": "zhao"}
    await http.post("/api/v1/accounts", json=body)
    await http.post("/api/v1/accounts", json=body, headers={"authorization": f"Bearer {LI}"})
    first, second = (next(part for part in asked if isinstance(part, Act)) for asked in cases.asked)
    assert (first.by, first.second, first.who) == ("wang", "zhao", "operator:operator")
    assert (second.by, second.second, second.who) == ("wang (li)", None, "operator:li")
    assert first.content == second.content


@pytest.mark.parametrize(
    ("fails", "status", "members"),
    [
        (Refusal("the account is closed"), 409, {"code": "refused", "detail": "the account is closed"}),
        (NeedsSecond("two of you"), 409, {"code": "refused", "needs": "second_person", "approval": "R-1"}),
        (Wrong(["a is wrong", "b too"]), 422, {"code": "invalid", "errors": ["a is wrong", "b too"]}),
        (MoneyHeld("no money is taken"), 503, {"code": "unavailable", "detail": "no money is taken"}),
    ],
)
async def test_why_not_is_said(
    http: httpx2.AsyncClient, cases: Cases, fails: Exception, status: int, members: dict[str, object]
) -> None:
    cases.fails = fails
    answer = await http.post("/api/v1/accounts", json=BODY | {"account": {}})
    assert answer.status_code == status
    assert {key: answer.json().get(key) for key in members} == members


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/v1/accounts", {}, "account"),
        ("/api/v1/accounts", {"account": {}, "colour": 1}, "colour"),
        ("/api/v1/accounts", {"account": {}, "id": "no id"}, "id"),
        ("/api/v1/accounts", {"account": {}, "meters": [{"meter": "m1", "kwh": {"voltage_a": "1"}}]}, "meters"),
        ("/api/v1/accounts", {"account": {}, "meters": [{"meter": "m1", "kwh": {"energy_import": "1e3"}}]}, "meters"),
        ("/api/v1/accounts", {"account": {}, "agreement": {"id": "P", "date": "soon"}}, "agreement"),
        ("/api/v1/accounts/A-1/close", {"supply": "off"}, "supply"),
        ("/api/v1/moves", {"meters": []}, "meters"),
        ("/api/v1/meters/m1/change", {"device": {}}, "first"),
    ],
)
async def test_a_form_that_is_wrong_is_named(
    http: httpx2.AsyncClient, cases: Cases, path: str, body: dict[str, object], field: str
) -> None:
    answer = await http.post(path, json=BODY | body)
    assert (answer.status_code, answer.json()["field"], cases.asked) == (422, field, [])


async def test_tables_are_given_out_and_a_file_has_an_end(http: httpx2.AsyncClient, cases: Cases) -> None:
    assert (await http.get("/api/v1/archive/accounts")).json() == {"accounts": [{"id": "accounts"}]}
    assert (await http.get("/api/v1/rules/calendars")).json() == {"calendars": [{"id": "calendars"}]}
    for path in ("archive/people", "archive/tariffs", "rules/meters"):
        assert (await http.get(f"/api/v1/{path}")).status_code == 422
    li = {"authorization": f"Bearer {LI}"}
    refused = await http.post("/api/v1/rules/schemes", json=BODY | {"format": "toml", "text": ""}, headers=li)
    assert (refused.status_code, refused.json()["needs"]) == (403, ["admin"])
    much = BODY | {"format": "csv", "text": "x" * MOST_ARCHIVE_BYTES}
    assert (await http.post("/api/v1/archive/meters", json=much)).status_code == 413
    assert (await http.post("/api/v1/archive/meters", content=b"{}")).status_code == 415
    assert cases.asked == []
