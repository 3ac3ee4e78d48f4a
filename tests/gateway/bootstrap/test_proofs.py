"""An export of the audit log in foreign hands: whatever was done to it is found, in one sentence, and a true one is clean."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.bootstrap import proofs
from gateway.bootstrap.proofs import Proof, verify_export
from gateway.domain.approvals import AuditRow
from gateway.domain.audit_chain import chain
from gateway.domain.ledger import GENESIS
from gateway.domain.uplink_orders import Anchor
from gateway.services.anchor import claim
from protocols.uplink.signing import sign, x_of
from tests.gateway.centre_keys import Signer
from tests.gateway.cli.street import wattgate

GATEWAY, KID = "G1", "own-1"
KEY = Signer(KID, 5)
OWNERS = ("Li Wei", "Li\u2028Wei", "Li\x85Wei", "O\u2029Neil\x0b")
"""Names with what some programs take for the end of a line."""


def exported(rows: int = 6, anchors: Sequence[int] = (2, 5)) -> list[str]:
    """Lines of an export: rows, and anchors after these of them."""
    keys = {KID: x_of(KEY.private)}
    log, end = list[AuditRow](), (0, GENESIS)
    for number in range(rows):
        log.append(chain(end, 1_000 + number, "operator:li", "protect", f"A{number}", {"owner": OWNERS[number % len(OWNERS)]}))
        end = (log[-1].number, log[-1].hash)
    signed = list[Anchor]()
    for number, after in enumerate(anchors, 1):
        bare = Anchor(number, 2_000 + number, "e1", (after, log[after - 1].hash), (1, "ab" * 32), "")
        jws = sign(claim(bare, GATEWAY), KID, KEY.private).decode()
        signed.append(Anchor(bare.number, bare.at_ms, bare.epoch, bare.audit, bare.ledger, jws))
    rows_, anchors_ = map(proofs.row_line, log), map(proofs.anchor_line, signed)
    return [proofs.head_line(GATEWAY, keys, end, len(signed)), *rows_, *anchors_]


TRUE = exported()


def judged(lines: Sequence[str]) -> Proof | str:
    """What an auditor is told who knows the gateway's key. Any other error than a sentence fails the test."""
    try:
        return verify_export(lines, {KID: x_of(KEY.private)})
    except ValueError as problem:
        assert str(problem).startswith(("line ", "there is nothing")), problem
        return str(problem)


def clean(said: Proof | str) -> bool:
    return isinstance(said, Proof) and said.finding is None


def test_a_true_export_is_clean_and_says_how_far_it_is_signed() -> None:
    assert judged(TRUE) == Proof(6, 2, signed=5)
    assert verify_export(TRUE, {}) == Proof(6, 2, signed=5, own_keys=True)
    assert judged(exported(anchors=())) == Proof(6, 0)


def test_no_changed_character_is_clean() -> None:
    rng, text = random.Random(7), "\n".join(TRUE)
    keys = range(text.index('"keys"'), text.index("}", text.index('"keys"')) + 1)  # the auditor has his own
    passed = list[tuple[int, str]]()
    for at in range(len(text)):
        for other in {chr(rng.randrange(33, 127)), "9\"[\n"[at % 4]} - {text[at]}:
            if at not in keys and clean(judged((text[:at] + other + text[at + 1 :]).split("\n"))):
                passed.append((at, text[max(0, at - 10) : at + 10] + " " + other))
    white = [each for each in passed if text[each[0]] == " " or each[1].endswith("\n")]
    assert passed == white, passed[:5]


@pytest.mark.parametrize("at", range(len(TRUE)))
def test_no_line_may_be_missing_or_twice(at: int) -> None:
    assert not clean(judged(TRUE[:at] + TRUE[at + 1 :]))
    assert not clean(judged(TRUE[: at + 1] + TRUE[at:]))
    assert not clean(judged(TRUE[:at]))


def test_lines_do_not_change_places() -> None:
    first, last = TRUE.index(next(line for line in TRUE if line.startswith('{"anchor"'))), len(TRUE) - 1
    for at in {*range(last)} - {first - 1}:  # the last row and the first anchor are of two lists
        assert not clean(judged([*TRUE[:at], TRUE[at + 1], TRUE[at], *TRUE[at + 2 :]])), at


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (TRUE[1].replace('"who"', '"whp"'), "line 2 is no row of an audit log"),
        (TRUE[1].replace('"number": 1', '"number": "1"'), "line 2 is no row of an audit log"),
        (TRUE[1].replace('"act"', '"more": 1, "act"'), "line 2 is no row of an audit log"),
        (TRUE[-1].replace('"audit"', '"audio"'), "line 2 is no anchor"),
        ("[" * 100_000, "line 2 is not JSON"),
        ("7", "line 2 is not a JSON object"),
        ('{"x": 1}', "line 2 is neither a row nor an anchor"),
    ],
)
def test_a_strange_line_is_named(line: str, why: str) -> None:
    assert judged([TRUE[0], line, *TRUE[2:]]) == why


def test_it_must_begin_with_whose_it_is() -> None:
    assert judged(TRUE[1:]) == "line 1 does not say whose log it is: an export begins with that"
    assert judged([json.dumps(json.loads(TRUE[0]) | {"rows": "x"}), *TRUE[1:]]).__class__ is str


def test_an_export_from_before_anchors_were_counted_is_still_proved() -> None:
    head = {name: value for name, value in json.loads(TRUE[0]).items() if name != "anchors"}
    assert judged([json.dumps(head), *TRUE[1:]]) == Proof(6, 2, signed=5)


def test_the_verb_reads_what_the_verb_wrote(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text("".join(line + "\n" for line in TRUE), encoding="utf-8")
    said = wattgate(tmp_path, "audit", "verify", "--export", file, "--key", f"{KID}:{x_of(KEY.private)}")
    assert (said.code, said.out) == (0, "6 rows, 2 anchors: clean, signed up to row 5\n"), said
    alone = wattgate(tmp_path, "audit", "verify", "--export", file)
    assert alone.out.endswith("signed up to row 5 by the keys that it brings itself\n"), alone
    file.write_text("".join(line + "\n" for line in exported(anchors=())), encoding="utf-8")
    assert wattgate(tmp_path, "audit", "verify", "--export", file).out == "6 rows, 0 anchors: clean, none of it signed\n"
    missing = wattgate(tmp_path, "audit", "verify", "--export", tmp_path / "nowhere")
    assert missing.code == 1 and missing.err.strip().endswith("cannot be read: No such file or directory"), missing
