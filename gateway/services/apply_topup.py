"""Every path to money ends here: a payment is credited exactly once, under its identity, for ever (contract.md 3)."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

from gateway.domain import ledger
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.events import EventKind
from gateway.domain.ledger import Entry, EntryKind, Leg
from gateway.domain.meters import Account, Authority, Contact, Meter, SwitchKind
from gateway.domain.records import Payment
from gateway.domain.requests import TopUp
from gateway.domain.supply import Verb
from gateway.domain.units import MICRO, format_money
from gateway.services import announce
from gateway.services.bank_limits import count_in, over_limit
from gateway.services.best_balance import lent_to
from gateway.services.deliveries import deliver_payment, delivery_state
from gateway.services.judge_account import judge_account
from gateway.services.lend_credit import take_back
from gateway.services.money_held import SERIES, must_be_open
from gateway.services.ports import InvalidField, NotOpen, Site, TopUpOutcome, TopUpVerdict, Tx
from gateway.services.post_entry import post_entry
from gateway.services.recover_debt import recover_debt
from gateway.services.stamp import rfc3339
from gateway.services.switching import CREDIT
from gateway.services.wallet_word import held_micro, over_hoard

MOST_BALANCE_MICRO = 999_999 * MICRO
"""What a meter's register can show (prepayment.md f): a top-up that would pass it is refused before the bank is told yes."""


def apply_topup(tx: Tx, topup: TopUp, site: Site, now_ms: int, *, missed: bool = False, in_meter: bool = False) -> TopUpOutcome:
    """Post a payment, or give the stored answer for its identity.

    Known identity: the stored payment, REPEATED (its status says whether it was reversed since, or before it came), or CONFLICT
    with the differing field; a stored refusal stays what it is. New: REFUSED on the merits (stored), InvalidField, NotOpen or
    MoneyHeld (bind nothing), else POSTED with receipt, and supply is judged at once. missed: a restored ledger lacks it
    (services/reopen), or two people book it (services/resolve_difference), whatever its day, hour and limits. in_meter: a card
    or token brought it there and a reading found it (services/found_purchase): it is booked as it is, and nothing is delivered.
    """
    if topup.amount_micro <= 0:
        raise InvalidField("amount", "a payment is greater than zero")
    known = tx.payment(topup.identity)
    if known is not None:
        return _known(tx, known, topup)
    terms = None if missed else site.banks.get(topup.identity.bank)
    if not missed:
        _must_trade(tx, topup, terms, now_ms)
    account = tx.account(topup.account)
    problem = None if in_meter else problem_of(tx, account, topup)
    if problem is None and terms is not None:
        problem = over_limit(tx, topup, terms)
    if problem is not None or account is None:
        code, detail = problem or ("unknown_account", f"account {topup.account} is not known here")
        refused = replace(_payment(topup, now_ms), status="refused", problem=code, detail=detail)
        tx.add_payment(refused)
        return TopUpOutcome(TopUpVerdict.REFUSED, refused)
    payment = _post(tx, account, topup, site, now_ms, missed, in_meter)
    if (counted := site.banks.get(topup.identity.bank)) is not None:
        count_in(tx, topup, counted)
    delivery = "none" if account.authority is Authority.GATEWAY else delivery_state(tx, payment)
    return TopUpOutcome(TopUpVerdict.POSTED, payment, delivery=delivery)


def _must_trade(tx: Tx, topup: TopUp, terms: PartnerTerms | None, now_ms: int) -> None:
    """Raises what keeps a payment from being judged now, and binds nothing."""
    must_be_open(tx)
    if terms is not None and not terms.trades(now_ms):
        raise NotOpen(f"bank {terms.bank} does not trade at this time of day: repeat the payment with the same serial")
    if abs(topup.accounting_date - topup.today) > timedelta(days=1):
        text = f"accounting_date {topup.accounting_date} is not between yesterday and tomorrow ({topup.today} here)"
        raise InvalidField("accounting_date", text)


def _known(tx: Tx, known: Payment, topup: TopUp) -> TopUpOutcome:
    if known.status == "refused":
        return TopUpOutcome(TopUpVerdict.REFUSED, known)
    if known.status == "reversed" and known.entry is None:  # a tombstone knows no account
        return TopUpOutcome(TopUpVerdict.REPEATED, known, reversal=_undone(tx, known))
    for name in ("account", "amount_micro", "currency"):
        if getattr(known, name) != getattr(topup, name):
            return TopUpOutcome(TopUpVerdict.CONFLICT, known, "amount" if name == "amount_micro" else name)
    undone = _undone(tx, known) if known.status == "reversed" else ""
    return TopUpOutcome(TopUpVerdict.REPEATED, known, delivery=delivery_state(tx, known), reversal=undone)


def _undone(tx: Tx, known: Payment) -> str:
    reversal = tx.bank_reversal(known.identity)
    return "" if reversal is None else reversal.document


def problem_of(tx: Tx, account: Account | None, topup: TopUp) -> tuple[str, str] | None:
    """Code and sentence of a refusal on the merits, or None. Limits of its bank come after it."""
    if account is None:
        return "unknown_account", f"account {topup.account} is not known here"
    day = topup.accounting_date.isoformat()
    if tx.closed_day(topup.identity.bank, day) is not None:
        return "day_closed", f"accounting date {day} of bank {topup.identity.bank} is closed"
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


def _post(tx: Tx, account: Account, topup: TopUp, site: Site, now_ms: int, missed: bool, found: bool) -> Payment:
    identity = topup.identity
    ref = {"bank": identity.bank, "institution": identity.institution, "scope": identity.scope, "serial": identity.serial}
    ref["accounting_date"] = topup.accounting_date.isoformat()
    in_meter = account.authority is Authority.METER and not found
    held = ledger.undelivered(account.id) if in_meter else ledger.customer(account.id)
    legs = (
        Leg(held, topup.amount_micro),
        Leg(ledger.bank_clearing(identity.bank), -topup.amount_micro),
    )
    before = tx.balance(ledger.customer(account.id), account.currency) if account.standing.lent else 0
    posted = post_entry(tx, Entry(EntryKind.TOPUP, topup.currency, legs, now_ms, ref))
    to_debt = 0 if found else recover_debt(tx, account, topup.amount_micro, posted.number, site, now_ms, held)
    if in_meter:
        deliver_payment(tx, account, topup.amount_micro - to_debt, posted.number, site, now_ms, missed=missed)
    elif not found:
        to_debt += take_back(tx, account, before, posted.number, now_ms)
    account = judge_account(tx, account.id, site, now_ms)
    receipt = _receipt(tx, account, topup, posted.number, to_debt, site, now_ms)
    sealed = None if site.seal is None else site.seal(receipt)
    payment = replace(_payment(topup, now_ms), receipt=receipt, entry=posted.number, receipt_jws=sealed)
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
        "booked_at": rfc3339(now_ms),
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
