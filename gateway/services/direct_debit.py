"""Direct debit: mandates, the batch of a bank's day, and what the bank says became of it; money enters by apply_topup only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

from gateway.domain.bank_terms import OURS
from gateway.domain.findings import FindingKind
from gateway.domain.mandates import (
    MOST_LINES,
    Batch,
    DebitLine,
    DebitResult,
    DebitState,
    Mandate,
    MandateState,
    ResultVerdict,
    batch_id,
    serial_of,
    valid_payer,
)
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.units import DECIMALS, MICRO, format_money
from gateway.services import findings
from gateway.services.apply_topup import apply_topup
from gateway.services.ports import InvalidField, Site, TopUpVerdict, Tx
from gateway.services.wallet_word import held_micro

PAGE = 500
"""Mandates looked at in one go."""

CHANNEL = "direct-debit"

LATEST_DAYS = 2
"""Behind today in UTC: the bank's tomorrow, in the easternmost zone."""

DAY_MS = 24 * 60 * 60 * 1000
_EPOCH = date(1970, 1, 1)

BY_A_PERSON = "resolved: "
"""Begins what is said of a debit of another amount that a person ended."""

RESOLVED = "debit_resolved:"
"""In `meta`, by bank and serial: what a person has resolved."""


class DebitRefused(Exception):
    """Why not, in one sentence; nothing is changed."""


def check_mandate(tx: Tx, mandate: Mandate) -> str | None:
    """Why this mandate cannot be signed; None when it can. Changes nothing (the check step before a signature)."""
    account, step = tx.account(mandate.account), MICRO // 10 ** DECIMALS.get(mandate.currency, 0)
    if mandate.bank in OURS:
        return f"{mandate.bank} is how we book by ourselves, and no bank"
    if account is None or account.closed:
        return f"account {mandate.account} is {'not known here' if account is None else 'closed'}"
    if account.currency != mandate.currency:
        return f"account {account.id} is kept in {account.currency}"
    if not valid_payer(mandate.payer):
        return "a payer's account has 1 to 40 letters, digits, blanks, points or dashes"
    if not 0 <= mandate.below_micro <= mandate.upto_micro or mandate.most_micro < step:
        return "a mandate begins at nothing or more, fills up to no less than that, and takes something at a time"
    if any(amount % step for amount in (mandate.below_micro, mandate.upto_micro, mandate.most_micro)):
        return f"amounts are in whole steps of {mandate.currency}"
    known = tx.mandate(mandate.id)
    if known is not None and replace(mandate, signed_ms=known.signed_ms) != known:
        return f"mandate {mandate.id} is {known.state.value} with other terms: a changed mandate has an id of its own"
    other = next((each for each in _signed(tx, None) if each.account == mandate.account and each.id != mandate.id), None)
    return None if other is None else f"account {mandate.account} has mandate {other.id} at bank {other.bank}: end it first"


def sign_mandate(tx: Tx, mandate: Mandate, who: str, now_ms: int) -> Mandate:
    """Sign it; the same again is the same. DebitRefused says what the check would have said."""
    if (why := check_mandate(tx, mandate)) is not None:
        raise DebitRefused(why)
    known = tx.mandate(mandate.id)
    if known is not None:
        return known
    tx.save_mandate(mandate)
    said = {"bank": mandate.bank, "account": mandate.account, "most": format_money(mandate.most_micro, mandate.currency)}
    tx.add_audit(now_ms, who, "sign_mandate", mandate.id, said)
    return mandate


def check_end(tx: Tx, mandate: str) -> str | None:
    """Why this mandate cannot be ended now; None when it can, or has been."""
    known = tx.mandate(mandate)
    if known is None:
        return f"mandate {mandate} is not known here"
    waits = tx.open_debit(mandate)
    return None if waits is None else f"debit {waits.serial} of batch {waits.batch} has no result yet"


def end_mandate(tx: Tx, mandate: str, who: str, now_ms: int) -> Mandate:
    """Nothing is asked for by it any more. DebitRefused says what the check would have said."""
    known = tx.mandate(mandate)
    if known is None or (why := check_end(tx, mandate)) is not None:
        raise DebitRefused(f"mandate {mandate} is not known here" if known is None else why or "")
    if known.state is MandateState.ENDED:
        return known
    ended = replace(known, state=MandateState.ENDED, ended_ms=now_ms)
    tx.save_mandate(ended)
    tx.add_audit(now_ms, who, "end_mandate", mandate, {"bank": known.bank, "account": known.account})
    return ended


def make_batch(tx: Tx, bank: str, day: date, who: str, now_ms: int) -> Batch:
    """What is asked of a bank on its accounting date, decided once: the same again is the same batch, whatever was paid since.

    A mandate whose last debit has no result is left out. DebitRefused where nothing is to be asked for, or too much for a file.
    """
    ident = batch_id(bank, day)
    known = tx.batch(ident)
    if known is not None:
        return known
    lines = _lines(tx, bank, day)
    if not lines:
        raise DebitRefused(f"nothing is to be asked of bank {bank} on {day}")
    if len(lines) > MOST_LINES or len({line.currency for line in lines}) > 1:
        raise DebitRefused(f"a batch has at most {MOST_LINES} lines in one currency")
    batch = Batch(
        ident, bank, day.isoformat(), lines[0].currency, len(lines), sum(line.amount_micro for line in lines), now_ms
    )
    tx.add_batch(batch, lines)
    total = format_money(batch.sum_micro, batch.currency)
    tx.add_audit(now_ms, who, "make_batch", ident, {"count": str(batch.count), "sum": total, "currency": batch.currency})
    return batch


def book_result(tx: Tx, bank: str, result: DebitResult, site: Site, now_ms: int) -> ResultVerdict:
    """What a result file says of one line. The same file again changes nothing; what contradicts what is known moves nothing.

    MoneyHeld and NotOpen leave the line as it is, to be read again, and so does DebitRefused: a day that is still to come.
    """
    line = tx.debit_line(bank, result.serial)
    if line is None:
        return ResultVerdict.UNKNOWN
    if (result.amount_micro, result.currency) != (line.amount_micro, line.currency):
        said = f"{_words(result)} {format_money(result.amount_micro, result.currency)} {result.currency}"
        _needs_a_person(tx, line, f"the bank {said}, which is not what was asked for", now_ms)
        return ResultVerdict.AMOUNT
    if result.paid and line.state is DebitState.UNBOOKED and line.said.startswith(BY_A_PERSON):
        _needs_a_person(tx, line, "the bank took it, after a person had resolved it otherwise", now_ms)
        return ResultVerdict.CONTRADICTS
    if line.state is not DebitState.SENT:
        if result.paid is (line.state is not DebitState.FAILED):
            return ResultVerdict.AGAIN
        _needs_a_person(tx, line, f"the bank {_words(result)} it now, and said the opposite before", now_ms)
        return ResultVerdict.CONTRADICTS
    if not result.paid:
        tx.save_debit_line(replace(line, state=DebitState.FAILED, said=result.said))
        return ResultVerdict.FAILED
    if result.paid_on > _EPOCH + timedelta(days=now_ms // DAY_MS + LATEST_DAYS):
        raise DebitRefused(f"debit {line.serial} was not taken on {result.paid_on}, which is still to come")
    booked = _credit(tx, line, result, site, now_ms)
    state = DebitState.PAID if booked is None else DebitState.UNBOOKED
    tx.save_debit_line(replace(line, state=state, said=booked or result.said))
    if booked is not None:
        _needs_a_person(tx, line, "the bank took it, and it could not be credited", now_ms, booked)
    return ResultVerdict.BOOKED if booked is None else ResultVerdict.UNBOOKED


def book_results(tx: Tx, bank: str, results: Sequence[DebitResult], site: Site, now_ms: int) -> list[ResultVerdict]:
    """One after another, in one transaction."""
    return [book_result(tx, bank, result, site, now_ms) for result in results]


def resolve_debit(tx: Tx, bank: str, serial: str, reason: str, who: str, now_ms: int) -> DebitLine:
    """A person has put it right beyond our books (paid back, credited at the counter) and says how: its finding ends.

    DebitRefused where nothing is open of this debit. No money moves by this.
    """
    line = tx.debit_line(bank, serial)
    known = None if line is None else tx.finding(FindingKind.DEBIT_UNBOOKED, _subject(line))
    if line is None or known is None:
        raise DebitRefused(f"debit {serial} of bank {bank} {'is not known here' if line is None else 'needs nobody'}")
    tx.set_meta(RESOLVED + _subject(line), known.text)
    if line.state is DebitState.SENT:  # of another amount: nobody credits it any more, and its mandate waits for nothing
        line = replace(line, state=DebitState.UNBOOKED, said=f"{BY_A_PERSON}{reason}"[:200])
        tx.save_debit_line(line)
    findings.over(tx, FindingKind.DEBIT_UNBOOKED, _subject(line), now_ms, account=line.account)
    tx.add_audit(now_ms, who, "resolve_debit", _subject(line), {"account": line.account, "reason": reason})
    return line


def _needs_a_person(tx: Tx, line: DebitLine, what: str, now_ms: int, why: str = "") -> None:
    """why: in words that may name the account: they stay here, where an event carries a pseudonym (contract.md 5)."""
    amount = f"{format_money(line.amount_micro, line.currency)} {line.currency}"
    data = {"bank": line.bank, "serial": line.serial, "account": line.account, "amount": amount, "why": why}
    text = f"debit {line.serial} of {amount}: {what}"
    if tx.meta(RESOLVED + _subject(line)) != text:  # the same file again says nothing new
        findings.found(tx, FindingKind.DEBIT_UNBOOKED, _subject(line), text, now_ms, data, account=line.account)


def _subject(line: DebitLine) -> str:
    return f"{line.bank}/{line.serial}"


def _words(result: DebitResult) -> str:
    return "took" if result.paid else "did not take"


def _credit(tx: Tx, line: DebitLine, result: DebitResult, site: Site, now_ms: int) -> str | None:
    """Why it cannot be credited; None when it is. The bank's date is its own: however late its file is read, it is its day's."""
    terms = site.banks.get(line.bank)
    topup = TopUp(
        PaymentIdentity(line.bank, "", "" if terms is None else terms.scope_of(result.paid_on), line.serial),
        line.account,
        line.amount_micro,
        line.currency,
        datetime.combine(result.paid_on, time(), UTC),
        result.paid_on,
        result.paid_on,
        CHANNEL,
    )
    try:
        outcome = apply_topup(tx, topup, site, now_ms)
    except InvalidField as problem:
        return str(problem)
    if outcome.verdict in (TopUpVerdict.POSTED, TopUpVerdict.REPEATED) and outcome.payment.status == "posted":
        return None
    return outcome.payment.detail or f"serial {line.serial} is {outcome.payment.status} with other content"


def _lines(tx: Tx, bank: str, day: date) -> list[DebitLine]:
    found: list[DebitLine] = []
    for mandate in _signed(tx, bank):
        account = tx.account(mandate.account)
        if account is None or account.closed or tx.open_debit(mandate.id) is not None:
            continue
        micro = mandate.wants(held_micro(tx, account), MICRO // 10 ** DECIMALS[mandate.currency])
        if micro > 0:
            number = len(found) + 1
            found.append(
                DebitLine(
                    batch_id(bank, day), number, bank, serial_of(day, number), mandate.id, account.id, mandate.payer, micro,
                    mandate.currency,
                )
            )  # fmt: skip
    return found


def _signed(tx: Tx, bank: str | None) -> list[Mandate]:
    found: list[Mandate] = []
    after = ""
    while page := tx.mandates(bank, after, PAGE):
        found += [mandate for mandate in page if mandate.state is MandateState.SIGNED]
        after = page[-1].id
    return found
