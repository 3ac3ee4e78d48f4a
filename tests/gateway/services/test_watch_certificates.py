"""Certificates that end soon: told at 30 days and again at 7, each once."""

from __future__ import annotations

import pytest

from gateway.domain.findings import FindingKind
from gateway.services.watch_certificates import certificates_due, watch_certificates
from tests.gateway.services.memory_tx import MemoryTx

ENDING, SOON = FindingKind.CERTIFICATE_ENDING, FindingKind.CERTIFICATE_ENDING_SOON


@pytest.mark.parametrize(
    ("days", "open"),
    ((90, set()), (31, set()), (30, {ENDING}), (8, {ENDING}), (7, {ENDING, SOON}), (-1, {ENDING, SOON})),
)
def test_findings_by_days(days: int, open: set[FindingKind]) -> None:
    tx = MemoryTx()
    assert certificates_due(tx, {"gateway": days, "ca": 900}) is bool(open)
    watch_certificates(tx, {"gateway": days, "ca": 900}, 1)
    assert {finding.kind for finding in tx.findings()} == open
    assert not certificates_due(tx, {"gateway": days, "ca": 900})
    assert len(tx.events(9)) == len(open)


def test_a_renewed_one_is_over() -> None:
    tx = MemoryTx()
    watch_certificates(tx, {"gateway": 3, "ca": -2}, 1)
    texts = {finding.subject: finding.text for finding in tx.findings()}
    assert "own certificate ends in 3 days" in texts["gateway"] and "vouches for the broker has ended" in texts["ca"]
    assert certificates_due(tx, {"gateway": 89})
    watch_certificates(tx, {"gateway": 89}, 2)
    assert {finding.subject for finding in tx.findings()} == {"ca"}
