"""Two people decide what becomes of a difference at the centre's door: it is booked, reversed, or stands (contract.md 3).

What is booked goes to its gateway as a voucher like every other payment. Only what its gateway refused can be reversed here: the
centre keeps no ledger, and money that a gateway credited is undone there first (central/vouchers follows it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection

from gateway.central import audit, day_books, payments, resolutions, reversals
from gateway.central.accounts import KnownAccount
from gateway.central.closed_days import is_closed
from gateway.central.day_lines import ASIDE
from gateway.central.payments import WAITING, Asked, Booked, Desk, Refusal
from gateway.central.store import CentralStore
from gateway.domain.bank_acts import Reversal, ReversalState
from gateway.domain.bank_terms import Limits, PartnerTerms
from gateway.domain.day_file import REVERSAL
from gateway.domain.differences import Action, NotResolved, Resolution, Wanted, beside, moved
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.units import parse_money

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Till:
    """What booking needs. owner: of an account, by its currency. terms: of the bank."""

    desk: Desk
    owner: Callable[[str, str], KnownAccount | Refusal]
    terms: PartnerTerms


def resolve_one(store: CentralStore, wanted: Wanted, till: Till, now_ms: Callable[[], int]) -> tuple[bool, Mapping[str, object]]:
    """`resolve` in a transaction of its own; whether it is done, and the difference as it now is. NotResolved."""

    def work(connection: Connection) -> tuple[bool, Mapping[str, object]]:
        done = resolve(store, connection, wanted, till, now_ms())
        return done, day_books.one(connection, wanted.bank, wanted.accounting_date, wanted.number)

    return store.write(work)


def resolve(store: CentralStore, connection: Connection, wanted: Wanted, till: Till, now_ms: int) -> bool:
    """Asks for it, or does it where another person asked for the same before; whether it is done. NotResolved."""
    found = _difference(connection, wanted)
    about, actions = str(found.get("about", "")), found["actions"]
    if not about:
        raise NotResolved("unavailable", f"the file of {wanted.accounting_date} was compared by an older version: upload it again")
    if wanted.action.value not in actions:  # type: ignore[operator]
        can = ", ".join(actions)  # type: ignore[arg-type]
        raise NotResolved("invalid", f"action: of a difference of this kind ({found['kind']}) there is only {can}", "action")
    if is_closed(connection, wanted.bank, wanted.accounting_date):
        raise NotResolved("day_closed", f"accounting date {wanted.accounting_date} of bank {wanted.bank} is closed")
    known = resolutions.of_day(connection, wanted.bank, wanted.accounting_date).get(about)
    if known is not None and known.state == "done":
        if known.action is wanted.action:
            return True
        raise NotResolved("serial_conflict", f"it was resolved before by another action ({known.action.value})", "action")
    said = {"kind": str(found["kind"]), "action": wanted.action.value, "reason": wanted.reason, "about": about}
    subject = f"{wanted.bank}/{wanted.accounting_date}"
    if known is None or known.action is not wanted.action:
        asked = Resolution(about, wanted.action, wanted.reason, "", wanted.who, now_ms)
        resolutions.save(store, connection, wanted.bank, wanted.accounting_date, asked)
        audit.add(connection, now_ms, wanted.who, "difference_asked", subject, said)
        return False
    if known.asked_by == wanted.who:
        return False
    told = _act(store, connection, wanted, found, about, till, now_ms)
    done = replace(known, state="done", decided_by=wanted.who, decided_ms=now_ms, told=told)
    resolutions.save(store, connection, wanted.bank, wanted.accounting_date, done)
    said |= {"asked_by": known.asked_by, "told": told}
    audit.add(connection, now_ms, wanted.who, "difference_resolved", subject, said)
    return True


def _difference(connection: Connection, wanted: Wanted) -> Mapping[str, object]:
    book = day_books.newest(connection, wanted.bank, wanted.accounting_date)
    found = [] if book is None else [each for each in day_books.differences_of(book) if each["id"] == wanted.number]
    if not found:
        raise NotResolved("not_found", f"the newest upload of {wanted.accounting_date} has no difference {wanted.number}")
    return found[0]


def _act(
    store: CentralStore,
    connection: Connection,
    wanted: Wanted,
    found: Mapping[str, object],
    about: str,
    till: Till,
    now_ms: int,
) -> str:
    """Does it; what was done, in one sentence. NotResolved, and the transaction is given up."""
    there, here = (_line(found[side]) for side in ("there", "here"))
    if wanted.action is Action.IGNORE:
        return "it stands as it is"
    told = []
    if there is not None and there["type"] == REVERSAL:
        known = _taken(connection, wanted, there["institution"], there["original_serial"])
        told.append(_undo(connection, wanted, known, there["serial"], till, now_ms))
    else:
        if here is not None:
            known = _ours(connection, wanted, here, f"{ASIDE}{about}")
            told.append(_undo(connection, wanted, known, f"{ASIDE}{about}", till, now_ms))
        if wanted.action is Action.BOOK and there is not None:
            if any(each.payment.status == "posted" for each in _named(connection, wanted, there["institution"], there["serial"])):
                raise moved(there["serial"])
            told.append(_book(store, connection, wanted, there, about, till, now_ms))
    return "; ".join(told)


def _undo(connection: Connection, wanted: Wanted, known: Booked, reversal: str, till: Till, now_ms: int) -> str:
    paid, serial = known.payment, known.payment.identity.serial
    if paid.status == "reversed":
        return f"serial {serial} is reversed"
    if known.reversal_state == ReversalState.STANDS:
        raise NotResolved("delivered", f"the bank was told that serial {serial} stands: settle it with a refund at {known.gateway}")
    if known.delivery in WAITING:
        raise NotResolved("unavailable", f"{known.gateway} has not said yet what became of serial {serial}: ask again when it has")
    if known.delivery != "uncertain":
        text = f"{known.gateway} has credited serial {serial}: it is reversed there, and here as soon as {known.gateway} says so"
        raise NotResolved("delivered", text)
    asked = Reversal(
        paid.identity, reversal, date.fromisoformat(wanted.accounting_date), paid.amount_micro, paid.currency, wanted.reason,
        _EPOCH + timedelta(milliseconds=now_ms),
    )  # fmt: skip
    first = reversals.first_asked(connection, known, asked, now_ms)
    reversals.undo(connection, first, wanted.who, till.desk.centre, now_ms)
    return f"serial {serial} is reversed"


def _named(connection: Connection, wanted: Wanted, institution: str, serial: str) -> Iterator[Booked]:
    """What was booked under this serial of the day: by the bank itself, and beside that by two people before."""
    decided = resolutions.of_day(connection, wanted.bank, wanted.accounting_date).values()
    besides = (beside(each.about) for each in decided if each.action is Action.BOOK and each.state == "done")
    for scope in ("", wanted.accounting_date, *besides):
        found = payments.booked(connection, PaymentIdentity(wanted.bank, institution, scope, serial))
        if found is not None and found.payment.receipt is not None:
            yield found


def _taken(connection: Connection, wanted: Wanted, institution: str, serial: str) -> Booked:
    """The one that stands, else the first of those that are undone."""
    found = sorted(_named(connection, wanted, institution, serial), key=lambda each: each.payment.status != "posted")
    if not found:
        raise NotResolved("not_found", f"nothing is booked under serial {serial}")
    return found[0]


def _ours(connection: Connection, wanted: Wanted, here: Mapping[str, str], reversal: str) -> Booked:
    """The payment that our line speaks of. One that is undone may be undone again, but is booked anew only by who undid it."""
    content = here["account"], parse_money(here["amount"], here["currency"]), here["currency"]
    for each in sorted(
        _named(connection, wanted, here["institution"], here["serial"]), key=lambda each: each.payment.status != "posted"
    ):
        paid = each.payment
        stands = paid.status == "posted" or each.reversal_serial == reversal or wanted.action is Action.REVERSE
        if stands and (paid.account, paid.amount_micro, paid.currency) == content:
            return each
    raise moved(here["serial"])


def _book(
    store: CentralStore,
    connection: Connection,
    wanted: Wanted,
    line: Mapping[str, str],
    about: str,
    till: Till,
    now_ms: int,
) -> str:
    """The bank's line as a payment: under its own identity, or beside one that was refused, reversed or booked otherwise."""
    on = date.fromisoformat(wanted.accounting_date)
    own = PaymentIdentity(wanted.bank, line["institution"], till.terms.scope_of(on), line["serial"])
    identity = own if payments.booked(connection, own) is None else replace(own, scope=beside(about))
    topup = TopUp(
        identity, line["account"], parse_money(line["amount"], line["currency"]), line["currency"],
        datetime.fromisoformat(line["paid_at"].upper()), on, on, line["channel"],
    )  # fmt: skip
    unlimited = replace(till.terms, limits=Limits(), channels={})
    asked = Asked(topup, till.owner(topup.account, topup.currency), unlimited, wanted.who)
    if (why := payments.refusal(connection, asked)) is not None:
        raise NotResolved("refused", f"{why.detail}: nothing can be booked to it")
    payments.judged(store, connection, asked, till.desk, now_ms)
    return f"serial {identity.serial} is booked to account {topup.account}"


def _line(said: object) -> Mapping[str, str] | None:
    return said if isinstance(said, dict) else None
