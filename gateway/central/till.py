"""What a person at the console decides about a bank's day, beside a running central system."""

from __future__ import annotations

from pathlib import Path

from gateway.central import payments, receipts
from gateway.central.accounts import Accounts, BadTable
from gateway.central.bank_config import BadBanks
from gateway.central.config import CentralConfig, ConfigError
from gateway.central.payments import Desk
from gateway.central.resolving import Till
from gateway.domain.bank_terms import PartnerTerms


def till_of(config: CentralConfig, folder: Path, bank: str) -> Till:
    """The keys, the accounts and the bank's terms, as the running centre has them. ConfigError."""
    table, signer, own = config.bank, config.signer(folder, "commands"), config.signer(folder, "receipts")
    if table is None or signer is None:
        raise ConfigError(["bank: this centre is no bank's front: it has no [bank] table, or no keys.commands"])
    accounts = Accounts(folder / table.accounts)
    try:
        accounts.refresh()
        known = table.banks(folder).banks.get(bank)
    except BadTable as wrong:
        raise ConfigError([f"bank.accounts: {wrong}"]) from None
    except BadBanks as wrong:
        raise ConfigError(wrong.errors) from None
    terms = PartnerTerms(bank, table.zone) if known is None else known.terms
    seal = None if own is None else receipts.identity_of(own).seal
    desk = Desk(signer, config.central.name, seal)
    return Till(desk, lambda account, currency: payments.owner_of(accounts, account, currency), terms)
