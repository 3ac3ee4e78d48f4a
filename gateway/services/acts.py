"""An act of a person happens once: its answer is kept under its id, and it stands in the audit log (contract.md 3, identity)."""

from __future__ import annotations

import json
from collections.abc import Mapping

from gateway.domain.approvals import ApprovalState
from gateway.domain.events import Json
from gateway.domain.life import Act, NeedsSecond, Refusal
from gateway.domain.requests import valid_id
from gateway.services import approve
from gateway.services.ports import Site, Tx

LIFE = "life"
"""The kind of approval that an act waits for."""

Answer = dict[str, Json]
"""What the person is told, the same for ever."""


def known(tx: Tx, act: Act, kind: str) -> Answer | None:
    """The answer to this act if it was done before. Refusal where its id is none, or is that of another act."""
    if not valid_id(act.id):
        raise Refusal("a request's id is 1 to 64 letters, digits, _ or -")
    text = tx.meta(_key(act))
    if text is None:
        return None
    kept = json.loads(text)
    if (kept["kind"], kept["content"]) != (kind, act.content):
        raise Refusal(f"request {act.id} is known with another content")
    answer: Answer = kept["answer"]
    return answer


def done(tx: Tx, act: Act, kind: str, subject: str, answer: Answer, now_ms: int, data: Mapping[str, str] | None = None) -> Answer:
    """Keep the answer, and write down who did what."""
    tx.set_meta(_key(act), json.dumps({"kind": kind, "content": act.content, "answer": answer}, sort_keys=True))
    said = {"request": act.id, "reason": act.reason, **(data or {})}
    second = act.second or approved_by(tx, act)
    if second:
        said["second"] = second
    tx.add_audit(now_ms, act.who, kind, subject, said)
    return answer


def must_be_two(tx: Tx, act: Act, what: str) -> None:
    """NeedsSecond unless two persons answer for it (prepayment.md 6): both named, or the second one approved it. what: what for."""
    if second_of(tx, act) is None:
        raise NeedsSecond(f"{what}: a second person must answer for it too")


def second_of(tx: Tx, act: Act) -> str | None:
    """Who answers for it beside the one who asked; None for nobody."""
    return act.second if act.two_people else approved_by(tx, act)


def approved_by(tx: Tx, act: Act) -> str | None:
    """Who approved exactly this act."""
    found = tx.approval(act.id)
    if found is None or found.act != LIFE or found.state is not ApprovalState.APPROVED:
        return None
    return found.decided_by if json.loads(found.body)["content"] == act.content else None


def ask_second(tx: Tx, act: Act, kind: str, what: str, site: Site, now_ms: int) -> str | None:
    """Write down that it waits for a second person: when that one has approved it, it is asked for again. Why it cannot wait.

    what: what it is that the second person answers for, in a sentence.
    """
    body: dict[str, Json] = {"content": act.content, "kind": kind, "reason": act.reason, "what": what}
    return approve.ask(tx, act.id, LIFE, kind, body, act.who, site, now_ms).refused


APPROVED = approve.Act(run=lambda tx, approval, who, site, now_ms: None)
"""What an approval of LIFE does: whoever asked now asks again, and then it is done."""


def _key(act: Act) -> str:
    return f"life:{act.id}"
