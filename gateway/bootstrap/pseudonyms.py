"""Under which names the centre knows our accounts (contract.md 5)."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.adapters.store import Store
from gateway.adapters.store.engine import StoreError
from gateway.adapters.uplink_payloads import pseudonym
from gateway.services.apply_topup import masked
from gateway.services.ports import Tx


class NoNames(Exception):
    """There are none yet; one sentence."""


def account_names(url: str) -> list[tuple[str, str, str, str]]:
    """Account, pseudonym, currency and masked holder of every open account; also beside a running gateway. NoNames."""
    try:
        with Store.open(url, read_only=True) as store:
            found = store.read_now(lambda tx: list(_names(tx)))
    except StoreError as problem:
        raise NoNames(f"{problem}: the gateway makes its store, and the secret of these names, when it is first run") from None
    if not found:
        raise NoNames("the gateway's store has no account yet: run the gateway once first")
    return found


def _names(tx: Tx) -> Iterator[tuple[str, str, str, str]]:
    if not (secret := tx.meta("pseudonym_key")):
        return
    key = bytes.fromhex(secret)
    for account in tx.accounts():
        if not account.closed:
            yield account.id, pseudonym(key, account.id), account.currency, masked(account.holder)
