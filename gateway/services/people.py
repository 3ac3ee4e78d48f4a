"""Users: added, given a new token, revoked; and the first of them, which the first start makes.

Each answers None when it is done, else why not in one sentence. Tokens themselves never come here, only their digests. `who`: as
the audit log names whoever asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.domain.people import FIRST, MOST_PEOPLE, Person, Role, admins, unfit_name
from gateway.services.ports import Tx


def add_person(tx: Tx, name: str, roles: Sequence[Role], token_hash: str, who: str, now_ms: int) -> str | None:
    """A new person, or one that was revoked and comes back with these roles."""
    known, people = tx.person(name), tx.people()
    if (unfit := unfit_name(name)) is not None:
        return unfit
    if not roles:
        return "a user has at least one role"
    if known is not None and known.in_force:
        return f"there is a user {name}: `wattgate users token {name}` gives a new token; revoke it first for other roles"
    if known is None and len(people) >= MOST_PEOPLE:
        return f"there are {MOST_PEOPLE} users, more than a gateway has"
    person = Person(name, _ordered(roles), token_hash, now_ms)
    tx.save_person(person)
    tx.add_audit(now_ms, who, "user_added", name, {"roles": " ".join(person.roles)})
    return None


def revoke_person(tx: Tx, name: str, who: str, now_ms: int) -> str | None:
    """It may do nothing any more, from this moment on. The last one who may change users cannot be revoked."""
    person = tx.person(name)
    if person is None:
        return f"there is no user {name}"
    if not person.in_force:
        return f"user {name} is revoked already"
    if admins(tx.people()) == [name]:
        return f"{name} is the last admin: add another one first (wattgate users add NAME --role admin)"
    tx.save_person(replace(person, revoked_ms=now_ms))
    tx.add_audit(now_ms, who, "user_revoked", name, {"roles": " ".join(person.roles)})
    return None


def new_token(tx: Tx, name: str, token_hash: str, who: str, now_ms: int) -> str | None:
    """Its token is another one from this moment on."""
    person = tx.person(name)
    if person is None:
        return f"there is no user {name}"
    if not person.in_force:
        return f"user {name} is revoked: `wattgate users add {name}` lets it in again"
    tx.save_person(replace(person, token_hash=token_hash))
    tx.add_audit(now_ms, who, "user_token", name, {})
    return None


def first_wanted(tx: Tx) -> bool:
    """Whether there is, or must be, the person that the token file opens for: until somebody else may change users and it is
    revoked."""
    first = tx.person(FIRST)
    return first.in_force if first is not None else not admins(tx.people())


def keep_first(tx: Tx, token_hash: str, now_ms: int) -> None:
    """The token file's token is the first person's, at every start: who may write that file may write the store too."""
    first = tx.person(FIRST)
    if not first_wanted(tx) or (first is not None and first.token_hash == token_hash):
        return
    tx.save_person(replace(first, token_hash=token_hash) if first else Person(FIRST, tuple(Role), token_hash, now_ms))
    tx.add_audit(now_ms, "rules", "user_token" if first else "user_added", FIRST, {"by": "token file"})


def _ordered(roles: Sequence[Role]) -> tuple[Role, ...]:
    return tuple(role for role in Role if role in roles)
