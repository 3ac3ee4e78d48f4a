"""The chain of the audit log, against JSON and SHA-256 of the standard library, and what a walk over changed rows finds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

import pytest

from gateway.domain.approvals import AuditRow
from gateway.domain.audit_chain import AuditWalk, chain, row_hash
from gateway.domain.ledger import GENESIS

ACTS = (
    ("operator:李", "protect", 'house "7"', {"until": "1", "a": "\u2028é\\"}),
    ("rules", "cut", "m", {}),
    ("console", "x", "", {}),
)


def log() -> list[AuditRow]:
    rows: list[AuditRow] = []
    end = (0, GENESIS)
    for at_ms, act in enumerate(ACTS):
        rows.append(chain(end, at_ms, *act))
        end = (rows[-1].number, rows[-1].hash)
    return rows


def test_a_hash_is_that_of_the_rows_canonical_json() -> None:
    for row in log():
        said = {name: value for name, value in asdict(row).items() if name != "hash"}
        text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert row.hash == hashlib.sha256(text.encode()).hexdigest()


def test_an_untouched_log_is_sound() -> None:
    rows, walk = log(), AuditWalk()
    walk.take(rows[:1])
    walk.take(rows[1:])
    walk.end((3, rows[-1].hash))
    assert (walk.finding, walk.number) == (None, 3)


@pytest.mark.parametrize(
    ("field", "value"), [("at_ms", 9), ("who", "x"), ("act", "x"), ("subject", "x"), ("data", {"a": "b"}), ("hash", "0" * 64)]
)
def test_a_changed_row_is_found(field: str, value: object) -> None:
    rows, walk = log(), AuditWalk()
    rows[1] = replace(rows[1], **{field: value})
    walk.take(rows)
    assert walk.finding == "row 2 was changed: its hash does not match its content"


def test_a_row_made_right_in_itself_breaks_the_chain() -> None:
    rows, walk = log(), AuditWalk()
    changed = replace(rows[1], who="nobody")
    rows[1] = replace(changed, hash=row_hash(changed))
    walk.take(rows)
    assert walk.finding == "row 3 is not chained to the one before it"


def test_missing_rows_are_found_wherever_they_stood() -> None:
    rows = log()
    for left, finding in (
        (rows[1:], "after row 0 comes row 2: the numbers are not dense"),
        ([rows[0], rows[2]], "after row 1 comes row 3: the numbers are not dense"),
        (rows[:2], "the audit log stops at row 2, but 3 were written, or the last was another one"),
    ):
        walk = AuditWalk()
        walk.take(left)
        walk.end((3, rows[-1].hash))
        assert walk.finding == finding
