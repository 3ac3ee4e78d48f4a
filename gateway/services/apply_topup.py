"""Every path to money ends here: a payment is credited exactly once, under its identity, for ever (contract.md 3)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

from gateway.domain import ledger
from gateway.domain.events import EventKind
from gateway.domain.ledger import Entry, EntryKind, Leg
from gateway.domain.meters import Account, Authority, Contact, Meter, SwitchKind
from gateway.domain.records import Payment
from gateway.domain.requests import TopUp
from gateway.domain.supply import Verb
from gateway.domain.units import MICRO, format_money
from gateway.services import announce
from gateway.services.best_balance import lent_to
from gateway.services.deliveries import deliver_payment, delivery_state
from gateway.services.judge_account import judge_account
from gateway.services.lend_credit import take_back
from gateway.services.money_held import SERIES, must_be_open
from gateway.services.ports import InvalidField, Site, TopUpOutcome, TopUpVerdict, Tx
from gateway.services.post_entry import post_entry
from gateway.services.recover_debt import recover_debt
from gateway.services.switching import CREDIT
from gateway.services.wallet_word import held_micro, over_hoard

MOST_BALANCE_MICRO = 999_999 * MICRO
"""What a meter's register can show (prepayment.md f): a top-up that would pass it is refused before the bank is told yes."""


def apply_topup(tx: Tx, topup: TopUp, site: Site, now_ms: int, *, missed: bool = False) -> TopUpOutcome:
    """Post a payment, or give the stored answer for its identity.

    Known identity: the stored payment, REPEATED, or CONFLICT with the differing field; a stored refusal stays what it is.
    New: REFUSED on the merits (stored), InvalidField or MoneyHeld (bind nothing), else POSTED with receipt, and supply is judged
    at once. missed: a restored ledger lacks it (services/reopen), whatever its day.
    """
    if topup.amount_micro <= 0:
        raise InvalidField("amount", "a payment is greater than zero")
    known = tx.payment(topup.identity)
    if known is not None:
        return _known(tx, known, topup)
    if not missed:
        must_be_open(tx)
    if not missed and abs(topup.accounting_date - topup.today) > timedelta(days=1):
        text = f"accounting_date {topup.accounting_date} is not between yesterday and tomorrow ({topup.today} here)"
        raise InvalidField("accounting_date", text)
    account = tx.account(topup.account)
    problem = _problem(tx, account, topup)
    if problem is not None or account is None:
        code, detail = problem or ("unknown_account", f"account {topup.account} is not known here")
        refused = replace(_payment(topup, now_ms), status="refused", problem=code, detail=detail)
        tx.add_payment(refused)
        return TopUpOutcome(TopUpVerdict.REFUSED, refused)
    payment = _post(tx, account, topup, site, now_ms, missed)
    delivery = "none" if account.authority is Authority.GATEWAY else delivery_state(tx, payment)
    return TopUpOutcome(TopUpVerdict.POSTED, payment, delivery=delivery)


def _known(tx: Tx, known: Payment, topup: TopUp) -> TopUpOutcome:
    if known.status == "refused":
        return TopUpOutcome(TopUpVerdict.REFUSED, known)
    for name in ("account", "amount_micro", "currency"):
        if getattr(known, name) != getattr(topup, name):
            return TopUpOutcome(TopUpVerdict.CONFLICT, known, "amount" if name == "amount_micro" else name)
    return TopUpOutcome(TopUpVerdict.REPEATED, known, delivery=delivery_state(tx, known))


def _problem(tx: Tx, account: Account | None, topup: TopUp) -> tuple[str, str] | None:
    """Code and sentence of a refusal on the merits, or None."""
    if account is None:
        return "unknown_account", f"account {topup.account} is not known here"
    if account.closed:
        return "account_closed", f"account {account.id} is closed"
    if account.currency != topup.currency:
        return "currency_mismatch", f"account {account.id} is kept in {account.currency}"
    balance = held_micro(tx, account)
    own = balance - (lent_to(tx, account) if account.standing.lent else 0)
    in_meter = over_hoard(tx, account, topup.amount_micro)
    if in_meter is not None or account.policy.over_hoard(own, topup.amount_micro):
        limit = format_money(account.policy.hoard_micro if in_meter is None else in_meter, account.currency)
        return "over_hoarding_limit", f"account {account.id} may hold at most {limit} {account.currency}"
    highest = MOST_BALANCE_MICRO - max(0, balance)
    if topup.amount_micro > highest:
        shown = format_money(max(0, highest), account.currency)
        return "amount_out_of_range", f"a top-up of 0.01 to {shown} {account.currency} is accepted now"
    return None


def _payment(topup: TopUp, now_ms: int) -> Payment:
    return Payment(
        identity=topup.identity,
        account=topup.account,
        amount_micro=topup.amount_micro,
        currency=topup.currency,
        accounting_date=topup.accounting_date.isoformat(),
        paid_at=topup.paid_at.isoformat(),
        channel=topup.channel,
        status="posted",
        at_ms=now_ms,
    )


def _post(tx: Tx, account: Account, topup: TopUp, site: Site, now_ms: int, missed: bool) -> Payment:
    identity = topup.identity
    ref = {"bank": identity.bank, "institution": identity.institution, "scope": identity.scope, "serial": identity.serial}
    ref["accounting_date"] = topup.accounting_date.isoformat()
    in_meter = account.authority is Authority.METER
    held = ledger.undelivered(account.id) if in_meter else ledger.customer(account.id)
    legs = (
        Leg(held, topup.amount_micro),
        Leg(ledger.bank_clearing(identity.bank), -topup.amount_micro),
    )
    before = tx.balance(ledger.customer(account.id), account.currency) if account.standing.lent else 0
    posted = post_entry(tx, Entry(EntryKind.TOPUP, topup.currency, legs, now_ms, ref))
    to_debt = recover_debt(tx, account, topup.amount_micro, posted.number, site, now_ms, held)
    if in_meter:
        deliver_payment(tx, account, topup.amount_micro - to_debt, posted.number, site, now_ms, missed=missed)
    else:
        to_debt += take_back(tx, account, before, posted.number, now_ms)
    account = judge_account(tx, account.id, site, now_ms)
    receipt = _receipt(tx, account, topup, posted.number, to_debt, site, now_ms)
    payment = replace(_payment(topup, now_ms), receipt=receipt, entry=posted.number)
    tx.add_payment(payment)
    announce.balance(tx, account, now_ms)
    announce.event(
        tx,
        EventKind.TOPUP_POSTED,
        now_ms,
        account=account.id,
        amount=format_money(topup.amount_micro, topup.currency),
        currency=topup.currency,
        bank=identity.bank,
        serial=identity.serial,
    )
    return payment


def _receipt(tx: Tx, account: Account, topup: TopUp, number: int, to_debt: int, site: Site, now_ms: int) -> str:
    """The receipt document as canonical JSON; stored and sent byte for byte the same for ever."""
    micro = topup.amount_micro
    document = {
        "receipt_no": f"{site.gateway}-{tx.meta(SERIES) or ''}{number:010d}",
        "bank": topup.identity.bank,
        "institution": topup.identity.institution,
        "serial": topup.identity.serial,
        "accounting_date": topup.accounting_date.isoformat(),
        "account": account.id,
        "holder": masked(account.holder),
        "amount": format_money(micro, topup.currency),
        "currency": topup.currency,
        "to_credit": format_money(micro - to_debt, topup.currency),
        "to_debt": format_money(to_debt, topup.currency),
        "fees": format_money(0, topup.currency),
        "balance_after": format_money(held_micro(tx, account), account.currency),
        "booked_at": _rfc3339(now_ms),
        "gateway": site.gateway,
        "next": _next(tx, account),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _next(tx: Tx, account: Account) -> str:
    """What happens to the light: restored | press_button | still_below | none."""
    meters = tx.meters_of(account.id)
    if any(CREDIT in meter.cut_reasons for meter in meters):
        return "still_below"
    ways = {way for meter in meters if (way := _way_back(tx, meter)) is not None}
    return "none" if not ways else "restored" if ways == {Verb.RESTORE} else "press_button"


def _way_back(tx: Tx, meter: Meter) -> Verb | None:
    """How this meter's supply is coming back; None where it is on, or held for another reason."""
    if meter.cut_reasons or not meter.cuttable:
        return None
    verbs = [c.verb for c in tx.open_commands(meter=meter.id) if c.verb in (Verb.RESTORE, Verb.ALLOW_CLOSE)]
    if not verbs and meter.observed not in (Contact.OPEN, Contact.ALLOWED):
        return None
    by_itself = meter.switch is SwitchKind.EXTERNAL_AUTO  # closes as soon as it is allowed to (contract.md, Words)
    return Verb.RESTORE if by_itself or Verb.RESTORE in verbs else Verb.ALLOW_CLOSE


def masked(holder: str) -> str:
    """A name for a receipt: the first character, the rest hidden."""
    return holder[:1] + "*" * min(max(len(holder) - 1, 1), 8) if holder else ""


def _rfc3339(now_ms: int) -> str:
    seconds, ms = divmod(now_ms, 1000)
    day, rest = divmod(seconds, 86_400)
    at = date(1970, 1, 1) + timedelta(days=day)
    return f"{at.isoformat()}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}.{ms:03d}Z"
