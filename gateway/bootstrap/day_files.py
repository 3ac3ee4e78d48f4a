"""A bank's day file beside the books, from outside the gateway: only read, also while a gateway runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path

from gateway.bootstrap.books import _opened
from gateway.bootstrap.examine import CannotStart
from gateway.domain.bank_terms import SerialScope
from gateway.domain.day_file import DayFileError, DayLine, read_day_file
from gateway.domain.differences import TooManyDifferences
from gateway.domain.requests import PaymentIdentity
from gateway.services.ports import Tx
from gateway.services.reconcile_day import Compared, compare_day

CHUNK = 1 << 18

LOOKED_AT = 1_000
"""Lines of a file by which it is told whose it is, and of which day."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Whose file it was, of which accounting date, and what differs."""

    bank: str
    day: date
    compared: Compared


def reconcile(url: str, file: Path, bank: str | None, day: date | None) -> Reconciled:
    """Compare the file with the books. Bank and day, where they are not named, are those under which most of its lines are booked.

    CannotStart with one sentence for a file or store that cannot be read.
    """
    with _opened(url) as store:
        try:
            return store.read_now(lambda tx: _reconcile(tx, file, bank, day))
        except (DayFileError, TooManyDifferences) as wrong:
            raise CannotStart(f"{file}: {wrong}") from None
        except OSError as problem:
            raise CannotStart(f"{file}: {problem.strerror}") from None


def _reconcile(tx: Tx, file: Path, bank: str | None, day: date | None) -> Reconciled:
    if bank is None or day is None:
        told = _whose(tx, file, bank)
        if told is None:
            raise DayFileError("none of its first lines is booked here: name --bank and --date")
        bank, day = told[0], day or told[1]
    first = tx.day_lines(bank, day.isoformat(), None, 1)
    dated = bool(first) and first[0][0].scope == day.isoformat()
    scope = SerialScope.ACCOUNTING_DATE if dated else SerialScope.EVER
    return Reconciled(bank, day, compare_day(tx, bank, day, read_day_file(_chunks(file)), scope))


def _whose(tx: Tx, file: Path, bank: str | None) -> tuple[str, date] | None:
    banks = [bank] if bank is not None else sorted({name[5:] for _, name in tx.balances() if name.startswith("bank:")})
    met: Counter[tuple[str, str]] = Counter()
    for line in islice(read_day_file(_chunks(file)), LOOKED_AT):
        if not isinstance(line, DayLine):
            continue
        serial = line.original_serial or line.serial
        for one in banks:
            for scope in ("", line.paid_at[:10]):
                found = tx.payment(PaymentIdentity(one, line.institution, scope, serial))
                if found is not None and found.entry is not None:
                    met[one, found.accounting_date] += 1
    if not met:
        return None
    [((one, text), _)] = met.most_common(1)
    return one, date.fromisoformat(text)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK):
            yield chunk
