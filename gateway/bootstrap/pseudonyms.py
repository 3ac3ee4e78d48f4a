"""Under which names the centre knows our accounts (contract.md 5)."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.adapters.store import Store
from gateway.adapters.uplink_payloads import pseudonym
from gateway.services.apply_topup import masked
from gateway.services.ports import Tx


def account_names(url: str) -> list[tuple[str, str, str, str]]:
    """Account, pseudonym, currency and masked holder of every open account; also beside a running gateway."""
    with Store.open(url, read_only=True) as store:
        return store.read_now(lambda tx: list(_names(tx)))


def _names(tx: Tx) -> Iterator[tuple[str, str, str, str]]:
    key = bytes.fromhex(tx.meta("pseudonym_key") or "")
    for account in tx.accounts():
        if not account.closed:
            yield account.id, pseudonym(key, account.id), account.currency, masked(account.holder)
