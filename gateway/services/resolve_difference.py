"""Two people decide what becomes of a difference: it is booked, reversed, or stands as it is (contract.md 3, resolution)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from gateway.domain.approvals import Approval, ApprovalState
from gateway.domain.bank_acts import Origin, Reversal, ReversalVerdict
from gateway.domain.day_file import REVERSAL, DayLine
from gateway.domain.differences import Action, Difference, DifferenceKind, NotResolved, Resolution, Wanted, beside, moved
from gateway.domain.events import EventKind, Json
from gateway.domain.records import Payment
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.units import parse_money
from gateway.services import announce
from gateway.services.apply_topup import apply_topup, problem_of
from gateway.services.approve import Act, approve, ask
from gateway.services.ports import InvalidField, Site, TopUpVerdict, Tx
from gateway.services.reverse_topup import reverse_topup

RESOLVE = "resolve_difference"
"""The act that waits for its second person."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MOST_TIMES = 100
"""How often the same may be asked for after it was refused or expired."""


def resolve_difference(tx: Tx, wanted: Wanted, site: Site, now_ms: int) -> Resolution:
    """Ask for it, or, where another person asked for the same before, do it. Raises NotResolved.

    On a one-person site the same person confirms it after a quarter of an hour (prepayment.md 6).
    """
    found = _difference(tx, wanted)
    if wanted.action not in found.actions:
        can = ", ".join(sorted(found.actions))
        raise NotResolved("invalid", f"action: of a difference of this kind ({found.kind.value}) there is only {can}", "action")
    if tx.closed_day(wanted.bank, wanted.accounting_date) is not None:
        raise NotResolved("day_closed", f"accounting date {wanted.accounting_date} of bank {wanted.bank} is closed")
    known = tx.resolution(wanted.bank, wanted.accounting_date, found.about)
    if known is not None and known.state == "done":
        if known.action is wanted.action:
            return known
        raise NotResolved("serial_conflict", f"it was resolved before by another action ({known.action.value})", "action")
    waits = tx.approval(known.approval) if known is not None and known.action is wanted.action else None
    if known is not None and waits is not None and waits.state is ApprovalState.ASKED and waits.expires_ms > now_ms:
        if waits.asked_by == wanted.who and not site.one_person:
            return known
        decision = approve(tx, waits.id, wanted.who, site, now_ms, {RESOLVE: RESOLVING})
        if decision.refused is not None and waits.asked_by == wanted.who:
            return known
        if decision.refused is not None:
            raise NotResolved("refused", decision.refused)
        return tx.resolution(wanted.bank, wanted.accounting_date, found.about) or known
    return _ask(tx, wanted, found, site, now_ms)


def _difference(tx: Tx, wanted: Wanted) -> Difference:
    book = tx.day_book(wanted.bank, wanted.accounting_date)
    found = tx.differences(wanted.bank, wanted.accounting_date, book.version, wanted.number - 1, 1) if book is not None else ()
    if not found or found[0][0] != wanted.number:
        raise NotResolved("not_found", f"the newest upload of {wanted.accounting_date} has no difference {wanted.number}")
    return found[0][1]


def _ask(tx: Tx, wanted: Wanted, found: Difference, site: Site, now_ms: int) -> Resolution:
    line = found.line
    body: dict[str, Json] = {
        "bank": wanted.bank, "accounting_date": wanted.accounting_date, "about": found.about, "number": wanted.number,
        "action": wanted.action.value, "reason": wanted.reason, "kind": found.kind.value, "detail": found.detail,
        "line": None if line is None else line.text(),
    }  # fmt: skip
    ident = _free_id(tx, wanted, found)
    decision = ask(tx, ident, RESOLVE, f"{wanted.bank}/{wanted.accounting_date}", body, wanted.who, site, now_ms)
    if decision.refused is not None:
        raise NotResolved("unavailable", decision.refused)
    asked = Resolution(found.about, wanted.action, wanted.reason, ident, wanted.who, now_ms)
    tx.save_resolution(wanted.bank, wanted.accounting_date, asked)
    return asked


def _free_id(tx: Tx, wanted: Wanted, found: Difference) -> str:
    """One that was not decided before: what was refused or expired may be asked for again."""
    key = json.dumps([wanted.bank, wanted.accounting_date, found.about, wanted.action])
    stem = f"difference-{hashlib.sha256(key.encode()).hexdigest()[:20]}"
    for time in range(MOST_TIMES):
        if tx.approval(f"{stem}-{time}") is None:
            return f"{stem}-{time}"
    raise NotResolved("unavailable", f"this was asked for {MOST_TIMES} times; call us")


def _resolve(tx: Tx, approval: Approval, who: str, site: Site, now_ms: int) -> str | None:
    body = json.loads(approval.body)
    bank, day = str(body["bank"]), str(body["accounting_date"])
    asked, book = tx.resolution(bank, day, body["about"]), tx.day_book(bank, day)
    if asked is None or asked.state == "done" or asked.approval != approval.id or book is None:
        return "the difference is resolved otherwise"
    if tx.closed_day(bank, day) is not None:
        return f"accounting date {day} is closed"
    found = next((each for _, each in tx.differences(bank, day, book.version, body["number"] - 1, 1)), None)
    if found is None or found.about != asked.about:
        return "a newer upload of the file does not have this difference there any more"
    try:
        told = _act(tx, asked, found, bank, day, site, now_ms)
    except (InvalidField, NotResolved) as refused:
        return str(refused)
    done = replace(asked, state="done", decided_by=who, decided_ms=now_ms, told=told)
    tx.save_resolution(bank, day, done)
    announce.event(
        tx, EventKind.DIFFERENCE_RESOLVED, now_ms, bank=bank, accounting_date=day, difference=found.kind.value,
        action=asked.action.value, told=told, by=approval.asked_by, second=who,
    )  # fmt: skip
    return None


def _act(tx: Tx, asked: Resolution, found: Difference, bank: str, day: str, site: Site, now_ms: int) -> str:
    """Do it; what was done, in one sentence. Raises NotResolved or InvalidField."""
    line = found.line
    if asked.action is Action.IGNORE or line is None:
        return "it stands as it is"
    on_one_side = found.kind is DifferenceKind.REVERSED_ON_ONE_SIDE
    if on_one_side and found.there is not None and line.type == REVERSAL:
        if asked.action is Action.BOOK:
            raise NotResolved("invalid", "what the bank alone reversed is reversed here, or stands", "action")
        payment = _standing(tx, bank, day, line.institution, line.original_serial)
        if payment is None:
            raise moved(line.original_serial)
        return _undo(tx, payment, line.serial, day, Origin.BANK, asked, site, now_ms)
    if on_one_side and line.type == REVERSAL:
        if asked.action is Action.REVERSE:
            raise NotResolved("invalid", "what is reversed here alone is booked again, or stands", "action")
        payment = _taken_back(tx, bank, day, line.institution, line.original_serial)
        again = _topup_like(payment, asked)
        _must_be_bookable(tx, again, None)
        tx.set_aside(payment.identity)
        return _book(tx, again, site, now_ms)
    told, topup = "", None
    ours = None if found.here is None else _ours(tx, bank, day, found.here, asked)
    if asked.action is Action.BOOK and found.there is not None:
        topup = _topup_of(tx, found.there, bank, day, asked, site)
        _must_be_bookable(tx, topup, ours)
        if ours is None and _standing(tx, bank, day, line.institution, line.serial) is not None:
            raise moved(line.serial)
    if ours is not None:
        told = _undo(tx, ours, _undoing(asked), day, Origin.RESOLUTION, asked, site, now_ms)
    if topup is None:
        return told
    booked = _book(tx, topup, site, now_ms)
    return f"{told}; {booked}" if told else booked


def _named(tx: Tx, bank: str, day: str, institution: str, serial: str) -> Iterator[Payment]:
    """What was booked under this serial of the day: by the bank itself, and beside that by two people before."""
    done = (each for each in tx.resolutions(bank, day).values() if each.action is Action.BOOK and each.state == "done")
    for scope in ("", day, *(beside(each.about) for each in done)):
        found = tx.payment(PaymentIdentity(bank, institution, scope, serial))
        if found is not None and found.entry is not None:
            yield found


def _standing(tx: Tx, bank: str, day: str, institution: str, serial: str) -> Payment | None:
    return next((each for each in _named(tx, bank, day, institution, serial) if each.status == "posted"), None)


def _taken_back(tx: Tx, bank: str, day: str, institution: str, serial: str) -> Payment:
    """The one that its bank reversed, where nothing was booked in its place since."""
    named = [*_named(tx, bank, day, institution, serial)]
    for payment in named if all(each.status == "reversed" for each in named) else []:
        undone = tx.bank_reversal(payment.identity)
        if undone is not None and undone.origin is Origin.BANK:
            return payment
    raise moved(serial)


def _ours(tx: Tx, bank: str, day: str, here: DayLine, asked: Resolution) -> Payment:
    """The payment that our line speaks of. One that is undone may be undone again, but is booked anew only by who undid it."""
    content = here.account, parse_money(here.amount, here.currency), here.currency
    named = _named(tx, bank, day, here.institution, here.serial)
    same = [each for each in named if (each.account, each.amount_micro, each.currency) == content]
    for payment in sorted(same, key=lambda each: each.status != "posted"):
        undone = tx.bank_reversal(payment.identity)
        by_this = undone is not None and undone.reversal_serial == _undoing(asked)
        if payment.status == "posted" or by_this or asked.action is Action.REVERSE:
            return payment
    raise moved(here.serial)


def _undo(tx: Tx, payment: Payment, serial: str, day: str, origin: Origin, asked: Resolution, site: Site, now_ms: int) -> str:
    wanted = Reversal(
        payment.identity, serial, date.fromisoformat(day), payment.amount_micro, payment.currency, asked.reason,
        _EPOCH + timedelta(milliseconds=now_ms), origin,
    )  # fmt: skip
    outcome = reverse_topup(tx, wanted, site, now_ms)
    if outcome.verdict is ReversalVerdict.PENDING:
        raise NotResolved("unavailable", "its credit is on its way into the meter: ask again in a quarter of an hour")
    if outcome.verdict is not ReversalVerdict.REVERSED:
        raise NotResolved("delivered", outcome.detail or "it cannot be reversed")
    return f"serial {payment.identity.serial} is reversed"


def _topup_of(tx: Tx, line: DayLine, bank: str, day: str, asked: Resolution, site: Site) -> TopUp:
    """The bank's line as a payment: under its own identity, or beside one that was refused, reversed or booked otherwise."""
    on, terms = date.fromisoformat(day), site.banks.get(bank)
    own = PaymentIdentity(bank, line.institution, terms.scope_of(on) if terms is not None else "", line.serial)
    identity = own if tx.payment(own) is None else replace(own, scope=beside(asked.about))
    micro = parse_money(line.amount, line.currency)
    return TopUp(identity, line.account, micro, line.currency, datetime.fromisoformat(line.paid_at.upper()), on, on, line.channel)


def _topup_like(payment: Payment, asked: Resolution) -> TopUp:
    identity, on = replace(payment.identity, scope=beside(asked.about)), date.fromisoformat(payment.accounting_date)
    paid_at = datetime.fromisoformat(payment.paid_at)
    return TopUp(identity, payment.account, payment.amount_micro, payment.currency, paid_at, on, on, payment.channel)


def _undoing(asked: Resolution) -> str:
    return f"resolution-{asked.about}"


def _must_be_bookable(tx: Tx, topup: TopUp, instead_of: Payment | None) -> None:
    """Before anything is undone for it: what it stands for until then makes room. Raises NotResolved."""
    if instead_of is not None and instead_of.status == "posted" and instead_of.account == topup.account:
        topup = replace(topup, amount_micro=topup.amount_micro - instead_of.amount_micro)
    if (problem := problem_of(tx, tx.account(topup.account), topup)) is not None:
        raise NotResolved("refused", f"{problem[1]}: nothing can be booked to it")


def _book(tx: Tx, topup: TopUp, site: Site, now_ms: int) -> str:
    outcome = apply_topup(tx, topup, site, now_ms, missed=True)
    if outcome.verdict in (TopUpVerdict.REFUSED, TopUpVerdict.CONFLICT) or outcome.payment.status != "posted":
        raise NotResolved("refused", outcome.payment.detail or "it is booked otherwise")
    return f"serial {topup.identity.serial} is booked to account {topup.account}"


RESOLVING = Act(_resolve)
"""What an approval of RESOLVE does."""
