"""Nothing is changed in the journal: what was wrong is reversed by an entry, and what is right is another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway.domain import ledger
from gateway.domain.credit import anew, in_force
from gateway.domain.ledger import Entry, EntryKind, Leg, PostedEntry
from gateway.services.ports import Duplicate, Tx
from gateway.services.post_entry import post_entry


class CannotCorrect(ValueError):
    """Why an entry cannot be reversed or corrected, in one sentence."""


def reverse(tx: Tx, number: int, why: Mapping[str, str], now_ms: int) -> PostedEntry:
    """Undo an entry by one that mirrors it. CannotCorrect where there is none, it is reversed, or of a kind that never is.

    A charge of energy is not left reversed: the same transaction corrects it. Supply is the caller's to judge.
    """
    original = tx.entry(number)
    if original is None:
        raise CannotCorrect(f"there is no entry {number}")
    by = tx.reversed_by(number)
    if by is not None:
        raise CannotCorrect(f"entry {number} is reversed already, by entry {by}")
    try:
        posted = post_entry(tx, ledger.reversal(original, now_ms, why))
    except ValueError as refused:
        raise CannotCorrect(str(refused)) from None
    try:
        tx.add_reversal(posted.number, number)
    except Duplicate as known:  # somebody else in a store without our lock
        raise CannotCorrect(str(known)) from None
    if original.entry.kind in (EntryKind.TOPUP, EntryKind.EMERGENCY, EntryKind.EMERGENCY_RECOVERY):
        _remembered(tx, original.entry)
    return posted


def _remembered(tx: Tx, undone: Entry) -> None:
    """Whoever owes because a payment was taken back is cut only after new notices (contract.md 3); what is lent is counted anew."""
    for leg in undone.legs:
        account = tx.account(leg.account.removeprefix("customer:")) if leg.account.startswith("customer:") else None
        if account is None:
            continue
        if undone.kind is not EntryKind.TOPUP:
            tx.save_account(replace(account, standing=replace(account.standing, lent=True)))
        elif tx.balance(leg.account, account.currency) <= in_force(account.policy, account.agreement).cut_micro:
            tx.save_account(replace(account, warned_ms=None, standing=anew(account.standing)))


def correct(
    tx: Tx, number: int, legs: Sequence[Leg], ref: Mapping[str, str], why: Mapping[str, str], now_ms: int
) -> tuple[PostedEntry, PostedEntry]:
    """Reverse an entry, and post what should have been posted instead; gives both. CannotCorrect as for `reverse`.

    legs, ref: what is right, in the entry's currency; about the same meter and energy where the entry was about one.
    """
    original = tx.entry(number)
    undone = reverse(tx, number, why, now_ms)
    assert original is not None  # else it could not be reversed
    try:
        return undone, post_entry(tx, ledger.correction(original, undone.number, legs, now_ms, ref, why))
    except ValueError as refused:
        raise CannotCorrect(str(refused)) from None
