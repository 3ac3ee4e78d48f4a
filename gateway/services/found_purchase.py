"""Money that somebody carried to a meter, on a card or as a token, is found by reading and becomes a payment like any other.

Its count moved the meter's purchase count, and no delivery of ours has it; its amount is what the wallet then holds more.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.bank_terms import AT_METER
from gateway.domain.meters import Account
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.wallet_mirror import FEN, Span
from gateway.domain.wallets import DeliveryState, Wallet, WalletMemory
from gateway.services.apply_topup import apply_topup
from gateway.services.money_held import held
from gateway.services.ports import Site, TopUpVerdict, Tx

TOKEN = "token"
"""The bank and channel of such payments: whoever sold the token or wrote the card owes us for it, under one name."""

MOST_LOOKED_AT = 10
"""Whole hundredths that could be meant: two spans of a hundredth or two leave no more."""

LOOKED_AT = 100
"""Deliveries of an account that may have gone in although they were given back: those of four years."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def found_purchase(memory: WalletMemory, now: Span) -> int:
    """How much was bought elsewhere, in whole hundredths; 0 where no purchase of somebody else's explains what differs.

    Of several that are possible the roundest: people buy in whole units.
    """
    known = memory.offset
    if known is None or not memory.elsewhere:
        return 0
    first = -(-(now.low - known.high) // FEN)
    last = (now.high - known.low) // FEN
    possible = [fen for fen in range(max(1, first), last + 1)][:MOST_LOOKED_AT]
    return max(possible, key=lambda fen: (fen % 100 == 0, fen % 10 == 0, -fen)) * FEN if possible else 0


def _may_be_ours(tx: Tx, account: Account, wallet: Wallet, micro: int) -> bool:
    sent = (each for each in tx.deliveries(LOOKED_AT, account.id) if each.meter == wallet.meter and each.attempts)
    return any(each.state is DeliveryState.RETURNED and each.micro == micro for each in sent)


def record_found(tx: Tx, account: Account, wallet: Wallet, micro: int, site: Site, now_ms: int) -> bool:
    """Book it under the meter's own count; False where it cannot be now, and a person has to look.

    After the restore of a backup it may be a delivery of ours that is not remembered, and one of ours that was given back may have
    gone in all the same: never by itself then.
    """
    if account.closed or held(tx) is not None or _may_be_ours(tx, account, wallet, micro):
        return False
    at = _EPOCH + timedelta(milliseconds=now_ms)
    today = at.astimezone(ZoneInfo(site.zone)).date()
    serial = f"{wallet.meter[:40]}.{wallet.memory.epoch}.{wallet.count}"
    identity = PaymentIdentity(AT_METER, "", "", serial)
    paid = TopUp(identity, account.id, micro, account.currency, at, today, today, TOKEN)
    outcome = apply_topup(tx, paid, site, now_ms, missed=True, in_meter=True)
    if outcome.verdict is not TopUpVerdict.POSTED:
        return False
    more = {"amount_micro": str(micro), "count": str(wallet.count), "purchases": str(wallet.memory.elsewhere)}
    tx.add_audit(now_ms, "rules", "record_found", wallet.meter, {"account": account.id, "serial": serial, **more})
    return True
