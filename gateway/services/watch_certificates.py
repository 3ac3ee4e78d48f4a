"""Certificates that end soon are findings: after that no connection is made again."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.domain.findings import FindingKind
from gateway.services.findings import found, over
from gateway.services.ports import Tx

SOON_DAYS = {FindingKind.CERTIFICATE_ENDING: 30, FindingKind.CERTIFICATE_ENDING_SOON: 7}
"""Days left at which a person is told, and told again."""

WHOSE = {
    "gateway": "the gateway's own certificate",
    "ca": "the certificate that vouches for the broker",
    "bank": "the certificate of the banks' listener",
    "bank-ca": "the certificate that vouches for the banks",
}


def certificates_due(tx: Tx, days_left: Mapping[str, int]) -> bool:
    """Whether watch_certificates would do anything. Reads only."""
    return any(
        (days <= soon) is (tx.finding(kind, name) is None) for name, days in days_left.items() for kind, soon in SOON_DAYS.items()
    )


def watch_certificates(tx: Tx, days_left: Mapping[str, int], now_ms: int) -> None:
    """Opens and closes their findings. days_left: whole days by certificate (as in WHOSE), negative once it has ended."""
    for name, days in days_left.items():
        whose = WHOSE.get(name, f"the certificate of {name}")
        when = f"ends in {days} days" if days >= 0 else "has ended"
        for kind, soon in SOON_DAYS.items():
            if days > soon:
                over(tx, kind, name, now_ms)
            elif tx.finding(kind, name) is None:  # how long it has changes with every day
                found(tx, kind, name, f"{whose} {when}; put a new one in its place, it is taken over by itself", now_ms)
