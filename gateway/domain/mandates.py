"""Direct debit: what a customer let us take from an account at a bank, the files of what we ask for, and what became of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

MOST_LINES = 100_000
"""Of one batch: a bank takes files of some megabytes, and one transaction writes them."""

SERIES = "DD-"
"""Begins the serial of every debit, so that no serial of the bank's own can be one."""

_PAYER = re.compile(r"[A-Za-z0-9 ._-]{1,40}", re.ASCII)


class MandateState(StrEnum):
    """Signed until it is ended, for ever then."""

    SIGNED = "signed"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Mandate:
    """A customer's permission. payer: the account at the bank. Amounts in micro-units of `currency`.

    Once less than below_micro is left, so much is asked for that upto_micro is there again, at most most_micro a time. A post-paid
    account has 0 and 0: what it owes.
    """

    id: str
    bank: str
    account: str
    payer: str
    currency: str
    below_micro: int
    upto_micro: int
    most_micro: int
    state: MandateState
    signed_ms: int
    ended_ms: int | None = None

    def wants(self, balance_micro: int, step_micro: int) -> int:
        """What to ask for at this balance, in whole steps of the currency's smallest unit; 0 for nothing."""
        if balance_micro >= self.below_micro:
            return 0
        missing = max(0, self.upto_micro - balance_micro)
        return min(-(-missing // step_micro) * step_micro, self.most_micro // step_micro * step_micro)


class DebitState(StrEnum):
    """SENT: in a file, without a result. PAID: credited. FAILED: the bank took nothing. UNBOOKED: it took it, and we could not
    credit it."""

    SENT = "sent"
    PAID = "paid"
    FAILED = "failed"
    UNBOOKED = "unbooked"


@dataclass(frozen=True, slots=True)
class Batch:
    """The debits of a bank's accounting date. One a day."""

    id: str
    bank: str
    accounting_date: str
    currency: str
    count: int
    sum_micro: int
    made_ms: int


@dataclass(frozen=True, slots=True)
class DebitLine:
    """One of them. serial: the payment's, once it is paid. said: the bank's own code and words."""

    batch: str
    number: int
    bank: str
    serial: str
    mandate: str
    account: str
    payer: str
    amount_micro: int
    currency: str
    state: DebitState = DebitState.SENT
    said: str = ""


@dataclass(frozen=True, slots=True)
class DebitResult:
    """What a bank's result file says of a line. paid: the money was taken."""

    serial: str
    amount_micro: int
    currency: str
    paid: bool
    said: str
    paid_on: date


class ResultVerdict(StrEnum):
    """booked, failed and unbooked end a line; again: it says what is known. unknown, amount, contradicts: nothing moves, a person
    looks."""

    BOOKED = "booked"
    FAILED = "failed"
    UNBOOKED = "unbooked"
    AGAIN = "again"
    UNKNOWN = "unknown"
    AMOUNT = "amount"
    CONTRADICTS = "contradicts"


def batch_id(bank: str, day: date) -> str:
    """Of that bank's batch of a day."""
    return f"{SERIES}{bank}-{day:%Y%m%d}"


def batch_of(bank: str, batch: str) -> bool:
    """Whether this is the id of a batch of that bank."""
    begin = f"{SERIES}{bank}-"
    return batch.startswith(begin) and re.fullmatch("[0-9]{8}", batch.removeprefix(begin), re.ASCII) is not None


def serial_of(day: date, number: int) -> str:
    """Of the payment that a line becomes: the same whenever its result is read."""
    return f"{SERIES}{day:%Y%m%d}-{number:06d}"


def valid_payer(text: str) -> bool:
    """An account at a bank, as files of fixed length can carry it."""
    return _PAYER.fullmatch(text) is not None
