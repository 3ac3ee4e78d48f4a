"""Users: who comes, who goes, who must stay, and what the audit log says of it."""

from __future__ import annotations

import pytest

from gateway.domain.people import FIRST, MOST_PEOPLE, Person, Role, hash_of
from gateway.services.people import add_person, first_wanted, keep_first, new_token, revoke_person
from tests.gateway.services.house import House

ADMIN, OPERATOR, APPROVER, AUDITOR = Role.ADMIN, Role.OPERATOR, Role.APPROVER, Role.AUDITOR
LI, WANG = hash_of("token-of-li"), hash_of("token-of-wang")
BY = "operator:operator"


def add(house: House, name: str, *roles: Role, token: str = "") -> str | None:
    return house.do(lambda tx: add_person(tx, name, roles, hash_of(token or name), BY, house.now_ms))


def revoke(house: House, name: str) -> str | None:
    return house.do(lambda tx: revoke_person(tx, name, BY, house.now_ms))


def person(house: House, name: str) -> Person:
    found = house.do(lambda tx: tx.person(name))
    assert found is not None
    return found


def audit(house: House) -> list[tuple[str, str, str, dict[str, str]]]:
    return [(row.who, row.act, row.subject, dict(row.data)) for row in house.do(lambda tx: tx.audit_rows(0, 100))]


def test_a_user_comes_with_roles_and_a_digest(house: House) -> None:
    assert add(house, "li", APPROVER, OPERATOR, OPERATOR, token="token-of-li") is None
    assert person(house, "li") == Person("li", (OPERATOR, APPROVER), LI, house.now_ms)
    assert audit(house) == [(BY, "user_added", "li", {"roles": "operator approver"})]


@pytest.mark.parametrize(
    ("name", "roles", "why"),
    [
        ("li", [OPERATOR], "there is a user li"),
        ("", [OPERATOR], "1 to 64 letters"),
        ("Li Wei", [OPERATOR], "1 to 64 letters"),
        ("l" * 65, [OPERATOR], "1 to 64 letters"),
        ("wang", [], "at least one role"),
        ("operator", [ADMIN], "the gateway's own"),
        ("console", [ADMIN], "the gateway's own"),
        ("rules", [ADMIN], "the gateway's own"),
        ("uplink", [ADMIN], "the gateway's own"),
    ],
)
def test_who_cannot_come_leaves_no_trace(house: House, name: str, roles: list[Role], why: str) -> None:
    add(house, "li", ADMIN)
    refused = add(house, name, *roles)
    assert refused is not None and why in refused
    assert len(audit(house)) == 1 and [p.name for p in house.do(lambda tx: tx.people())] == ["li"]


def test_the_table_of_users_has_an_end(house: House) -> None:
    for number in range(MOST_PEOPLE):
        house.do(lambda tx, n=number: tx.save_person(Person(f"p{n}", (AUDITOR,), hash_of(f"p{n}"), 0)))  # type: ignore[misc]
    assert "more than a gateway has" in (add(house, "one-more", AUDITOR) or "")
    assert revoke(house, "p7") is None and add(house, "p7", ADMIN, token="again") is None, "one that was there comes back"


def test_a_revoked_user_stays_known_and_comes_back_with_other_roles_and_another_token(house: House) -> None:
    add(house, "chief", ADMIN)
    add(house, "li", OPERATOR, token="token-of-li")
    assert revoke(house, "li") is None
    assert not person(house, "li").in_force and person(house, "li").token_hash == LI
    assert "revoked already" in (revoke(house, "li") or "")
    assert "lets it in again" in (house.do(lambda tx: new_token(tx, "li", WANG, BY, house.now_ms)) or "")
    assert add(house, "li", AUDITOR, token="another") is None
    back = person(house, "li")
    assert (back.in_force, back.roles, back.token_hash) == (True, (AUDITOR,), hash_of("another"))
    assert [row[1:3] for row in audit(house)] == [
        ("user_added", "chief"), ("user_added", "li"), ("user_revoked", "li"), ("user_added", "li"),
    ]  # fmt: skip


def test_the_last_who_may_change_users_stays(house: House) -> None:
    house.do(lambda tx: keep_first(tx, LI, house.now_ms))
    add(house, "wang", OPERATOR, APPROVER, AUDITOR)
    assert "last admin" in (revoke(house, FIRST) or ""), "all roles but admin do not replace one"
    add(house, "chief", ADMIN)
    assert revoke(house, FIRST) is None
    assert "last admin" in (revoke(house, "chief") or "")
    assert revoke(house, "wang") is None


def test_a_new_token_replaces_the_one_before(house: House) -> None:
    add(house, "li", OPERATOR, token="token-of-li")
    assert house.do(lambda tx: new_token(tx, "li", WANG, BY, house.now_ms)) is None
    assert house.do(lambda tx: tx.person_by_token(LI)) is None and person(house, "li").token_hash == WANG
    assert audit(house)[-1] == (BY, "user_token", "li", {})
    assert house.do(lambda tx: new_token(tx, "nobody", LI, BY, house.now_ms)) == "there is no user nobody"
    assert revoke(house, "nobody") == "there is no user nobody"


def test_the_token_file_opens_for_the_first_until_it_is_revoked(house: House) -> None:
    assert house.do(first_wanted)
    house.do(lambda tx: keep_first(tx, LI, house.now_ms))
    assert person(house, FIRST) == Person(FIRST, tuple(Role), LI, house.now_ms)
    house.do(lambda tx: keep_first(tx, LI, house.now_ms + 1))
    house.do(lambda tx: keep_first(tx, WANG, house.now_ms + 2))
    assert person(house, FIRST) == Person(FIRST, tuple(Role), WANG, house.now_ms)
    assert [row[:2] for row in audit(house)] == [("rules", "user_added"), ("rules", "user_token")], "the same file is no news"
    add(house, "chief", ADMIN)
    revoke(house, FIRST)
    assert not house.do(first_wanted)
    house.do(lambda tx: keep_first(tx, LI, house.now_ms))
    assert not person(house, FIRST).in_force and person(house, FIRST).token_hash == WANG


def test_where_an_admin_was_added_by_hand_the_first_is_not_made(house: House) -> None:
    add(house, "li", AUDITOR)
    assert house.do(first_wanted), "somebody must be able to change users"
    add(house, "chief", ADMIN)
    assert not house.do(first_wanted)


def test_what_is_said_of_a_token_is_its_digest_and_nothing_else(house: House) -> None:
    add(house, "li", ADMIN, token="token-of-li")
    assert "token-of-li" not in repr(house.do(lambda tx: (tx.people(), tx.audit_rows(0, 9), tx.events(9))))
