"""The audit log and its anchors, proved and given to others to prove, beside a running gateway or far from it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import msgspec

from gateway.adapters.anchors import foul
from gateway.adapters.identity import IN_USE, identity_of
from gateway.adapters.store import Store, StoreError
from gateway.bootstrap.examine import CannotStart
from gateway.domain.approvals import AuditRow
from gateway.domain.audit_chain import AuditWalk
from gateway.domain.uplink_orders import Anchor
from gateway.services.anchor import claim
from gateway.services.ports import Tx
from gateway.services.verify_audit import PAGE, audit_log

T = TypeVar("T")
Heads = dict[int, str]


@dataclass(slots=True)
class Proof:
    """What was checked, and the first thing wrong. signed: up to this row an anchor proves the log; later rows only fit each other.
    keyless: anchors whose signature nobody could check; own_keys: it was by the keys that the export brings itself."""

    rows: int = 0
    anchors: int = 0
    keyless: bool = False
    finding: str | None = None
    signed: int = 0
    own_keys: bool = False


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line of an export. anchors: how many follow; None in one from before they were counted."""

    gateway: str
    rows: int
    hash: str
    keys: dict[str, str] = {}
    anchors: int | None = None


@dataclass(slots=True)
class _Anchors:
    """Anchors against the chains that they speak of. keys: `x` of the gateway's public keys by kid, empty where none is known."""

    keys: Mapping[str, str]
    gateway: str
    seen: list[Anchor] = field(default_factory=list)

    @property
    def signed(self) -> int:
        """The last row of the audit log that one of them signs."""
        return max((each.audit[0] for each in self.seen), default=0) if self.keys else 0

    def wrong(self, audit: Heads, ledger: Heads | None) -> str | None:
        """The first anchor that does not hold. ledger: None where the journal is not here."""
        before = 0
        for each in self.seen:
            if each.number != before + 1:
                return f"after anchor {before} comes anchor {each.number}: one is missing"
            before = each.number
            for what, (number, hash_), chain in (("audit log", each.audit, audit), ("ledger", each.ledger, ledger)):
                if chain is not None and number and chain.get(number) != hash_:
                    return f"anchor {each.number} says that the {what} ended at {number} with another content than it has now"
            if self.keys and (why := foul(each.jws, claim(each, self.gateway), self.keys)) is not None:
                return f"anchor {each.number}: {why}"
        return None


def verify(url: str, gateway: str, keys: Mapping[str, str]) -> Proof:
    """Of a store."""

    def look(tx: Tx) -> Proof:
        walk, audit, rows = AuditWalk(), {}, 0
        for row in audit_log(tx):
            walk.take([row])
            audit[row.number], rows = row.hash, rows + 1
        walk.end(tx.audit_end())
        anchors = _Anchors(keys, gateway, list(_anchors(tx)))
        wanted = {each.ledger[0] for each in anchors.seen if each.ledger[0]}
        ledger = {number: row.hash for number in wanted for row in tx.journal_rows(number - 1, 1)}
        finding = walk.finding or anchors.wrong(audit, ledger)
        return Proof(rows, len(anchors.seen), not keys, finding, anchors.signed)

    return _looked(url, look)


def export(url: str, gateway: str, keys: Mapping[str, str], write: Callable[[str], object]) -> int:
    """One JSON object a line: whose it is, rows, anchors; how many rows."""

    def give(tx: Tx) -> int:
        last, rows = tx.last_anchor(), 0
        write(head_line(gateway, keys, tx.audit_end(), last.number if last else 0) + "\n")
        for row in audit_log(tx):
            write(row_line(row) + "\n")
            rows += 1
        for each in _anchors(tx):
            write(anchor_line(each) + "\n")
        return rows

    return _looked(url, give)


def head_line(gateway: str, keys: Mapping[str, str], end: tuple[int, str], anchors: int) -> str:
    """How an export begins: whose it is, where its log ends, and how many anchors follow."""
    return json.dumps({"gateway": gateway, "keys": dict(keys), "rows": end[0], "hash": end[1], "anchors": anchors})


def row_line(row: AuditRow) -> str:
    """A row of the audit log in an export."""
    return json.dumps({"row": {name: getattr(row, name) for name in AuditRow.__slots__}}, ensure_ascii=False)


def anchor_line(each: Anchor) -> str:
    """An anchor in an export."""
    return json.dumps({"anchor": {name: getattr(each, name) for name in Anchor.__slots__}})


def verify_export(lines: Iterable[str], keys: Mapping[str, str]) -> Proof:
    """Of an export, far from any store. keys: as they are known from elsewhere; without any the export's own are gone by, which
    proves only that it fits itself. ValueError for what is no export."""
    walk, audit, rows = AuditWalk(), Heads(), 0
    head: _Head | None = None
    anchors = _Anchors({}, "")
    for number, line in enumerate(lines, 1):
        said = _object(line, number)
        if head is None:
            head = _taken(said, _Head, f"line {number} does not say whose log it is: an export begins with that")
            anchors = _Anchors(keys or head.keys, head.gateway)
        elif isinstance(row := said.get("row"), dict):
            found = _taken(row, AuditRow, f"line {number} is no row of an audit log")
            walk.take([found])
            audit[found.number], rows = found.hash, rows + 1
        elif isinstance(each := said.get("anchor"), dict):
            anchors.seen.append(_taken(each, Anchor, f"line {number} is no anchor"))
        else:
            raise ValueError(f"line {number} is neither a row nor an anchor")
    if head is None:
        raise ValueError("there is nothing in it")
    walk.end((head.rows, head.hash))
    finding = walk.finding or anchors.wrong(audit, None)
    if finding is None and head.anchors not in (None, len(anchors.seen)):
        finding = f"it has {len(anchors.seen)} anchors, but {head.anchors} were written: its end is missing"
    return Proof(rows, len(anchors.seen), not anchors.keys, finding, anchors.signed, own_keys=bool(anchors.keys) and not keys)


def keys_of(data: Path) -> dict[str, str]:
    """The public keys of a data directory's own identity, the retired too; none before its first start. ValueError."""
    if not (data / IN_USE).exists():
        return {}
    return {each["kid"]: each["x"] for each in identity_of(data).published()}


def gateway_of(url: str) -> str:
    """Whose store it is."""
    return _looked(url, lambda tx: tx.meta("gateway") or "")


def _looked(url: str, look: Callable[[Tx], T]) -> T:
    try:
        with Store.open(url, read_only=True) as store:
            return store.read_now(look)
    except StoreError as problem:
        raise CannotStart(str(problem)) from None


def _anchors(tx: Tx) -> Iterator[Anchor]:
    after = 0
    while page := tx.anchors(after, PAGE):
        yield from page
        after = page[-1].number


def _taken(said: dict[str, object], kind: type[T], wrong: str) -> T:
    """All its fields and no others. ValueError with this sentence for anything else."""
    try:
        if kind is not _Head and said.keys() != set(kind.__slots__):  # type: ignore[attr-defined]
            raise ValueError(wrong)
        return msgspec.convert(said, kind, strict=True)
    except msgspec.ValidationError:
        raise ValueError(wrong) from None


def _object(line: str, number: int) -> dict[str, object]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError(f"line {number} is not JSON") from None
    if not isinstance(said, dict):
        raise ValueError(f"line {number} is not a JSON object")
    return said
