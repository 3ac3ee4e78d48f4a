"""A share of each payment goes to an old debt, as the customer's agreement says (prepayment.md 3 and a7)."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from gateway.domain import ledger, vending
from gateway.domain.arrears import week_begins
from gateway.domain.ledger import EntryKind
from gateway.domain.meters import Account
from gateway.domain.units import DECIMALS
from gateway.services.ports import Site, Tx
from gateway.services.post_entry import post_entry

LOOKED_AT = 64
"""Entries of a debt per read, newest first: more than a week brings; each further read asks for four times as many."""


def recover_debt(tx: Tx, account: Account, paid_micro: int, entry: int, site: Site, now_ms: int, source: str | None = None) -> int:
    """Move the agreed share of a payment (posted by this entry) from the balance to the debt; how much, in whole units of money.

    Never more than is owed, nor than the week's cap leaves; nothing without an agreement, nor to a debt
    that is not for energy. source: the ledger account that it was posted to, by default the customer's balance.
    """
    owed = -tx.balance(ledger.debt(account.id), account.currency)
    if account.debt is None or not account.debt.cut_relevant or owed <= 0:
        return 0
    recovered = _since(tx, account, week_begins(now_ms, ZoneInfo(site.zone)))
    share, cap = account.debt.share_per_mille, account.debt.weekly_cap_micro
    micro = vending.recover_debt(owed, paid_micro, share, cap, recovered)
    if micro != owed:
        micro -= micro % int(10 ** (6 - DECIMALS[account.currency]))  # so that the receipt's parts sum to the amount
    if micro <= 0:
        return 0
    ref = {"account": account.id, "agreement": account.debt.agreement, "topup": str(entry)}
    held, owing = source or ledger.customer(account.id), ledger.debt(account.id)
    post_entry(tx, ledger.moved(EntryKind.DEBT_RECOVERY, account.currency, held, owing, micro, now_ms, ref))
    return micro


def _since(tx: Tx, account: Account, from_ms: int) -> int:
    """What payments recovered since then."""
    name, asked = ledger.debt(account.id), LOOKED_AT
    while True:
        found = tx.entries_of(name, asked)
        recent = [posted.entry for posted in found if posted.entry.at_ms >= from_ms]
        if len(recent) < len(found) or len(found) < asked:
            break
        asked *= 4
    recovered = [entry for entry in recent if entry.kind is EntryKind.DEBT_RECOVERY]
    return sum(leg.micro for entry in recovered for leg in entry.legs if leg.account == name)
