"""Findings begin once and end once, each with its event."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.domain.events import EventKind
from gateway.domain.findings import Finding, FindingKind
from gateway.services import announce
from gateway.services.ports import Tx


def found(
    tx: Tx,
    kind: FindingKind,
    subject: str,
    text: str,
    now_ms: int,
    data: Mapping[str, str] | None = None,
    *,
    account: str | None = None,
) -> Finding:
    """This needs a person. A finding that stands keeps its beginning and takes over the new text, without another event."""
    known = tx.finding(kind, subject)
    wanted = Finding(kind, subject, known.since_ms if known else now_ms, text, data or {})
    if wanted != known:
        tx.save_finding(wanted)
    if known is None:
        told = _named(subject, account)
        announce.event(tx, EventKind.FINDING_OPENED, now_ms, account=account, finding=kind.value, text=text, **told)
    return wanted


def over(tx: Tx, kind: FindingKind, subject: str, now_ms: int, *, account: str | None = None) -> None:
    """It no longer does."""
    known = tx.finding(kind, subject)
    if known is not None:
        tx.drop_finding(kind, subject)
        announce.event(tx, EventKind.FINDING_CLOSED, now_ms, account=account, finding=kind.value, **_named(subject, account))


def _named(subject: str, account: str | None) -> dict[str, str]:
    """An account is named as one only: on MQTT that is a pseudonym (contract.md 5)."""
    return {} if subject == account else {"subject": subject}
