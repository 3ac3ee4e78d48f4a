"""Users over HTTP: a token is in one answer, and from then on only what it opens; acts are written down under the person's name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from starlette.requests import Request
from structlog.testing import capture_logs

from gateway.adapters.http.auth import OperatorAuth, answers_for
from gateway.adapters.http.guard import new_application
from gateway.adapters.http.people_api import PeopleApi
from gateway.adapters.http.protect_api import ProtectApi
from gateway.bootstrap.people import People
from gateway.domain.approvals import Decision
from gateway.domain.people import CONSOLE, FIRST, Person, Role
from gateway.domain.requests import Protection
from tests.gateway.adapters.http.doors import client
from tests.gateway.adapters.http.street import Street

USERS = "/api/v1/users"


class Office:
    """The street's people; `asked` is what was done for them."""

    def __init__(self, street: Street, folder: Path) -> None:
        self.street, self.file, self.asked = street, folder / "operator.token", list[Protection]()
        self.people = People(street.store, self.file, street.clock)
        self.people.begin(street.store, first=True)

    async def protect(self, wanted: Protection) -> Decision:
        self.asked.append(wanted)
        return Decision(None, "not today")

    def listener(self) -> httpx2.AsyncClient:
        auth = OperatorAuth(self.people.known)
        app = new_application("office", "0")
        app.include_router(PeopleApi(self.people.cases(), auth).router())
        app.include_router(ProtectApi(self.protect, self.street.store.read, auth, self.street.clock).router())
        return client(app)

    def audit(self) -> list[tuple[str, str, str]]:
        return [(row.who, row.act, row.subject) for row in self.street.store.read_now(lambda tx: tx.audit_rows(0, 99))]


@pytest.fixture
def office(street: Street, tmp_path: Path) -> Office:
    return Office(street, tmp_path)


@pytest.fixture
async def http(office: Office) -> AsyncIterator[httpx2.AsyncClient]:
    async with office.listener() as http:
        http.headers["authorization"] = f"Bearer {office.file.read_text().strip()}"
        yield http


async def add(http: httpx2.AsyncClient, name: str, *roles: str) -> dict[str, str]:
    answer = await http.post(USERS, json={"name": name, "roles": list(roles)})
    assert (answer.status_code, answer.json()["name"]) == (201, name), answer.text
    return {"authorization": f"Bearer {answer.json()['token']}"}


async def test_a_user_comes_acts_changes_its_token_and_goes(http: httpx2.AsyncClient, office: Office) -> None:
    li = await add(http, "li", "operator")
    assert (await http.get(USERS, headers=li)).status_code == 200
    newer = (await http.post(f"{USERS}/li/token")).json()["token"]
    assert (await http.get(USERS, headers=li)).status_code == 401
    li = {"authorization": f"Bearer {newer}"}
    rows = (await http.get(USERS, headers=li)).json()
    assert [(row["name"], row["roles"], row["revoked"]) for row in rows] == [
        ("li", ["operator"], None),
        ("operator", ["admin", "operator", "approver", "auditor"], None),
    ]
    gone = await http.post(f"{USERS}/li/revoke")
    assert gone.json() == {**rows[0], "revoked": "2026-11-21T04:00:00.000Z"}
    assert (await http.get(USERS, headers=li)).status_code == 401
    by = "operator:operator"
    assert office.audit()[1:] == [(by, "user_added", "li"), (by, "user_token", "li"), (by, "user_revoked", "li")]


def files_with(secret: bytes, folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.is_file() and secret in file.read_bytes()]


async def test_a_token_is_nowhere_but_in_its_answer(office: Office, tmp_path: Path) -> None:
    with capture_logs() as logged:
        async with office.listener() as http:
            http.headers["authorization"] = f"Bearer {office.file.read_text().strip()}"
            token = (await add(http, "li", "operator"))["authorization"].removeprefix("Bearer ")
            assert len(token) == 43 and token not in (await http.get(USERS)).text, "256 bits"
    assert logged and token not in repr(logged)
    assert files_with(token.encode(), tmp_path) == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", USERS, {"name": "li", "roles": ["chief"]}, 422, "does not have the right form"),
        ("POST", USERS, {"name": "li", "roles": []}, 422, ""),
        ("POST", USERS, {"name": "li", "roles": ["admin"], "token": "mine"}, 422, "not a field"),
        ("POST", USERS, {"name": "Li Wei", "roles": ["admin"]}, 409, "a name is 1 to 64 letters"),
        ("POST", USERS, {"name": "console", "roles": ["admin"]}, 409, "the gateway's own"),
        ("POST", f"{USERS}/nobody/token", None, 409, "there is no user nobody"),
        ("POST", f"{USERS}/nobody/revoke", None, 409, "there is no user nobody"),
        ("POST", f"{USERS}/operator/revoke", None, 409, "operator is the last admin"),
    ],
)
async def test_what_cannot_be_is_one_sentence(
    http: httpx2.AsyncClient, method: str, path: str, body: object, status: int, said: str
) -> None:
    answer = await http.request(method, path, json=body)
    assert answer.status_code == status and said in answer.json()["detail"], answer.text


async def test_the_first_person_and_its_file_are_one(http: httpx2.AsyncClient, office: Office, street: Street) -> None:
    assert office.file.stat().st_mode & 0o777 == 0o600
    newer = (await http.post(f"{USERS}/operator/token")).json()["token"]
    assert (office.file.read_text().strip(), office.file.stat().st_mode & 0o777) == (newer, 0o600)
    http.headers["authorization"] = f"Bearer {newer}"
    chief = await add(http, "chief", "admin")
    assert (await http.post(f"{USERS}/operator/revoke", headers=chief)).status_code == 200
    assert not office.file.exists() and (await http.get(USERS)).status_code == 401
    again = People(street.store, office.file, street.clock)
    again.begin(street.store, first=True)
    assert not office.file.exists() and not next(p for p in again.known() if p.name == FIRST).in_force


async def test_a_token_file_that_was_replaced_opens_and_one_that_is_gone_is_made(office: Office, street: Street) -> None:
    office.file.write_text("a-token-from-elsewhere\n")
    again = People(street.store, office.file, street.clock)
    again.begin(street.store, first=True)
    office.file.unlink()
    again.begin(street.store, first=True)
    assert len(office.file.read_text().strip()) == 43
    assert office.audit() == [("rules", "user_added", FIRST), *[("rules", "user_token", FIRST)] * 2]
    office.file.write_text("short\n")
    with pytest.raises(ValueError, match="less than 16 characters"):
        again.begin(street.store, first=True)
    office.file.chmod(0o644)
    with pytest.raises(ValueError, match="chmod 600"):
        again.begin(street.store, first=True)


async def test_an_act_is_written_down_under_the_persons_name(http: httpx2.AsyncClient, office: Office) -> None:
    li, path = await add(http, "li", "operator"), "/api/v1/accounts/A-1/unprotect"
    for headers, owner in ((li, None), (li, "Li Wei"), (li, "li"), ({}, "Li Wei"), ({}, None)):
        body = {"reason": "moved away"} | ({"owner": owner} if owner else {})
        assert (await http.post(path, json=body, headers=headers)).json()["detail"] == "not today"
    assert [(asked.owner, asked.who) for asked in office.asked] == [
        ("li", "operator:li"), ("Li Wei (li)", "operator:li"), ("li", "operator:li"),
        ("Li Wei", "operator:operator"), ("operator", "operator:operator"),
    ]  # fmt: skip


def test_at_the_console_the_given_name_is_all_that_is_known() -> None:
    request = Request({"type": "http", "state": {"person": Person(CONSOLE, tuple(Role), "", 0)}})
    assert (answers_for(request, "Li Wei"), answers_for(request, None)) == ("Li Wei", "console")
    assert request.state.person.who == "console"
