"""Meters that hold money, put together: who makes their MACs, which accounts can be in one, and what people may ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from gateway.adapters.crypto_service import Crypto, CryptoService
from gateway.adapters.http.wallets_api import WalletCases
from gateway.adapters.profile_facts import WalletFacts, wallet_facts
from gateway.adapters.profiles import ProfileError, profile
from gateway.domain.price_list import Tariff
from gateway.domain.wallet_mirror import unfit
from gateway.domain.wallets import Switching
from gateway.entrypoints.line_loop import Housekeeping
from gateway.services import deliveries, delivery_acts, meter_wallet, switch_authority, wallet_acts
from gateway.services.ports import Site, Tx
from gateway.settings import Settings, secret_file

T = TypeVar("T")

WALLETS = Housekeeping(
    due_wallets=meter_wallet.due_wallets,
    start_wallet=deliveries.start_delivery,
    finish_wallet=deliveries.finish_delivery,
    record_wallet=meter_wallet.record_wallet,
)
"""A line's work on wallets, and nothing else."""


class Stored(Protocol):
    """The store, as the interface uses it."""

    async def write(self, usecase: Callable[[Tx], T]) -> T: ...


def crypto_of(settings: Settings, folder: Path) -> Crypto | None:
    """The configured crypto service; None where there is none. SettingsError where its token cannot be read."""
    security = settings.security
    if security.url is None:
        return None
    return CryptoService(security.url, secret_file(folder / security.token_file) if security.token_file else None)


def form_of(model: str) -> WalletFacts | None:
    """How the wallet of this profile takes money; None where it has none, or the profile is not known."""
    try:
        return wallet_facts(profile(model))
    except (ProfileError, ValueError):
        return None


def examine_wallets(settings: Settings, tariffs: Mapping[str, Tariff]) -> list[str]:
    """What is wrong with accounts whose money is in a meter."""
    errors = []
    for account in settings.account:
        if account.authority != "meter" or account.closed:
            continue
        meters = [meter for meter in settings.meter if meter.account == account.id]
        if len(meters) != 1:
            errors.append(f"account {account.id}: money in a meter needs exactly one, and it has {len(meters)}")
            continue
        form, name = form_of(meters[0].profile), f"account {account.id}: its meter {meters[0].name}"
        if form is None:
            errors.append(f"{name} has no wallet in its profile {meters[0].profile}")
        elif form.macs and settings.security.url is None:
            errors.append(f"{name} takes money only with MACs: name a crypto service in [security] url")
        elif form.macs and account.customer is None:
            errors.append(f"{name} takes money only for a customer number: name it as `customer`, 12 digits")
        if meters[0].ratio != 1:
            errors.append(f"{name} counts behind transformers: its wallet would price secondary values")
        tariff = tariffs.get(account.tariff)
        if tariff is not None and (why := unfit(tariff)) is not None:
            errors.append(f"account {account.id}: no meter counts as its tariff {tariff.id}, which {why}")
    return errors


def wallet_cases(
    store: Stored, site: Callable[[], Site], now_ms: Callable[[], int], wake: Callable[[], None], new_id: Callable[[], str]
) -> WalletCases:
    """What a person may ask of wallets, each as one transaction; afterwards the lines look for work."""

    async def done(usecase: Callable[[Tx], T]) -> T:
        result = await store.write(usecase)
        wake()
        return result

    async def to_gateway(account: str, how: Switching, by: str, reason: str) -> str | None:
        def ask(tx: Tx) -> str | None:
            meters = tx.meters_of(account)
            form = form_of(meters[0].profile) if meters else None
            refundable = form is not None and form.refund
            return switch_authority.ask_for_gateway(tx, account, how, by, reason, now_ms(), refundable=refundable)

        return await done(ask)

    async def to_meter(account: str, customer: str, by: str, reason: str) -> str | None:
        def ask(tx: Tx) -> str | None:
            meters = tx.meters_of(account)
            if len(meters) == 1 and form_of(meters[0].profile) is None:
                return f"the meter of account {account} has no wallet in its profile"
            return switch_authority.ask_for_meter(tx, account, customer, by, reason, now_ms())

        return await done(ask)

    return WalletCases(
        to_meter=to_meter,
        to_gateway=to_gateway,
        call_off=lambda account, by, reason: done(lambda tx: switch_authority.call_off(tx, account, by, reason, now_ms())),
        deliver=lambda account, by, reason: done(lambda tx: delivery_acts.deliver_rest(tx, account, by, reason, site(), now_ms())),
        withdraw=lambda ident, by, reason: done(lambda tx: delivery_acts.withdraw(tx, ident, by, reason, now_ms())),
        resolve=lambda ident, inside, by, reason: done(
            lambda tx: wallet_acts.ask_resolve(tx, new_id(), ident, inside, reason, by, site(), now_ms())
        ),
        accept=lambda meter, by, reason: done(lambda tx: wallet_acts.ask_accept(tx, new_id(), meter, reason, by, site(), now_ms())),
    )
