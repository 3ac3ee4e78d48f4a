"""What a bank believes of its payments, what it writes into its day file, and what contradicts the contract (contract.md 3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from enum import StrEnum
from random import Random

HEADER = "serial,account,amount,currency,type,original_serial,paid_at,channel,institution"
MAX_BOOK = 1_000_000  # payments of one run; a reconciliation's proof has as many
MAX_VIOLATIONS = 1_000  # whoever breaks the contract more often has been understood


class Outcome(StrEnum):
    """An answer in the contract's words, whatever the line. STANDS: the money is in the meter. SILENT: nobody knows."""

    POSTED = "posted"
    REFUSED = "refused"
    REVERSED = "reversed"
    CONFLICT = "conflict"
    BAD_SIGNATURE = "bad_signature"
    PENDING = "pending"
    STANDS = "stands"
    NOT_FOUND = "not_found"
    UNAVAILABLE = "unavailable"
    SILENT = "silent"


UNDECIDED = frozenset({Outcome.PENDING, Outcome.UNAVAILABLE, Outcome.SILENT})


@dataclass(frozen=True, slots=True)
class Answer:
    """receipt: what must be the same in every answer to the same payment. code: the other side's own word."""

    outcome: Outcome
    code: str = ""
    receipt: str = ""


@dataclass(frozen=True, slots=True)
class Payment:
    """serial: as the gateway names it. number: of the payment in this run. at: RFC 3339."""

    serial: str
    number: int
    account: str
    fen: int
    currency: str
    paid_at: str
    day: date

    @property
    def amount(self) -> str:
        """As a decimal string."""
        return f"{self.fen // 100}.{self.fen % 100:02d}"


@dataclass(frozen=True, slots=True)
class Belief:
    """state: posted, refused, reversed (after it was sent), never (reversed before it was sent), unknown."""

    payment: Payment
    state: str
    receipt: str = ""


@dataclass
class Book:
    """Beliefs by serial, in the order in which they began; acts: how often each kind of trouble was made."""

    beliefs: dict[str, Belief] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    acts: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)

    def believe(self, payment: Payment, state: str, receipt: str = "") -> None:
        """From now on."""
        if len(self.beliefs) < MAX_BOOK or payment.serial in self.beliefs:
            self.beliefs[payment.serial] = Belief(payment, state, receipt)

    def must(self, right: bool, serial: str, sentence: str) -> None:
        """Note what the contract does not allow."""
        if not right and len(self.violations) < MAX_VIOLATIONS:
            self.violations.append(f"{serial}: {sentence}")

    def states(self) -> dict[str, int]:
        """How many payments are in which state."""
        return dict(Counter(belief.state for belief in self.beliefs.values()))

    def posted_fen(self) -> dict[str, int]:
        """By account, what was paid and stands."""
        sums: Counter[str] = Counter()
        for belief in self.beliefs.values():
            if belief.state == "posted":
                sums[belief.payment.account] += belief.payment.fen
        return dict(sums)

    def days(self) -> list[date]:
        """Accounting dates with something in their file."""
        return sorted({belief.payment.day for belief in self.beliefs.values() if belief.state in ("posted", "reversed")})

    def lines(self, day: date) -> list[DayLine]:
        """The bank's file of this accounting date: a payment that was sent and then reversed is two lines."""
        found = []
        for belief in self.beliefs.values():
            if belief.payment.day == day and belief.state in ("posted", "reversed"):
                line = line_of(belief.payment)
                found += [line, reversal_of(line)] if belief.state == "reversed" else [line]
        return found

    def report(self) -> dict[str, object]:
        """As JSON: what any implementation of the contract can be measured by."""
        posted = self.posted_fen()
        return {
            "payments": len(self.beliefs),
            "states": self.states(),
            "posted": {account: f"{fen // 100}.{fen % 100:02d}" for account, fen in sorted(posted.items())},
            "acts": dict(sorted(self.acts.items())),
            "answers": dict(sorted(self.answers.items())),
            "violations": self.violations,
        }


@dataclass(frozen=True, slots=True)
class DayLine:
    """A line of a day file; fen above zero. text: written as it is, where it is no line at all."""

    serial: str
    account: str
    fen: int
    currency: str
    kind: str
    original: str
    paid_at: str
    text: str = ""

    @property
    def signed(self) -> int:
        return self.fen if self.kind == "topup" else -self.fen

    def written(self) -> str:
        """As it stands in the file."""
        amount = f"{self.fen // 100}.{self.fen % 100:02d}"
        told = (self.serial, self.account, amount, self.currency, self.kind, self.original, self.paid_at, "", "")
        return self.text or ",".join(told)


def line_of(payment: Payment) -> DayLine:
    """The payment's own line."""
    return DayLine(payment.serial, payment.account, payment.fen, payment.currency, "topup", "", payment.paid_at)


def reversal_of(line: DayLine) -> DayLine:
    """The line that takes it back."""
    return replace(line, serial=f"R.{line.serial}"[:64], kind="reversal", original=line.serial)


def csv(lines: Iterable[DayLine], *, more_count: int = 0, more_fen: int = 0) -> bytes:
    """A file with its line of totals, which may be told to be wrong."""
    texts, count, fen = [HEADER], more_count, more_fen
    for line in lines:
        texts.append(line.written())
        count, fen = count + 1, fen + (0 if line.text else line.signed)
    return ("\n".join([*texts, f"#{count},{'-' if fen < 0 else ''}{abs(fen) // 100}.{abs(fen) % 100:02d}"]) + "\n").encode()


PLANTED = (
    "missing_here", "missing_at_bank", "amount", "account", "duplicate_in_file", "reversed_on_one_side", "other_day", "bad_line",
    "totals",
)  # fmt: skip

Difference = tuple[str, str]
"""Its kind, and the serial of the line that it is about; empty for a bad line and the line of totals."""


def planted(
    lines: Sequence[DayLine], kinds: Iterable[str], rng: Random, accounts: Sequence[str], others: Sequence[DayLine] = ()
) -> tuple[bytes, list[Difference]]:
    """The file with differences put into it, and which. others: lines of other days, for `other_day`.

    Lines that are half of a pair (a payment and its reversal) are left alone, so that each difference is exactly one; where no line
    is left for a kind it is not planted.
    """
    free, strange = _unpaired(lines, rng), _unpaired(others, rng)
    out: list[DayLine | None] = list(lines)
    more: list[DayLine] = []
    done: list[Difference] = []
    wrong = 0
    for number, kind in enumerate(kinds):
        if kind == "totals":
            wrong += 1
        elif kind == "bad_line":
            more.append(DayLine("", "", 0, "", "topup", "", "", text=f"torn line {number}"))
            done.append((kind, ""))
        elif kind == "other_day" and strange:
            more.append(others[strange.pop()])
            done.append((kind, more[-1].serial))
        elif kind != "other_day" and free:
            done.append((kind, _plant(kind, free.pop(), out, more, accounts)))
    if wrong:  # one line of totals is one difference, however wrong it is
        done.append(("totals", ""))
    return csv([*filter(None, out), *more], more_count=wrong, more_fen=wrong), done


def _unpaired(lines: Sequence[DayLine], rng: Random) -> list[int]:
    paired = {line.original for line in lines if line.kind == "reversal"}
    free = [n for n, line in enumerate(lines) if line.kind == "topup" and line.serial not in paired]
    rng.shuffle(free)
    return free


def _plant(kind: str, at: int, out: list[DayLine | None], more: list[DayLine], accounts: Sequence[str]) -> str:
    """The serial of the line that then differs."""
    line = out[at]
    assert line is not None
    match kind:
        case "missing_here":
            line = replace(line, serial=f"M.{line.serial}"[:64])
            more.append(line)
        case "missing_at_bank":
            out[at] = None
        case "amount":
            out[at] = replace(line, fen=line.fen + 1)
        case "account":
            out[at] = replace(line, account=next((name for name in accounts if name != line.account), line.account + "-x"))
        case "duplicate_in_file":
            more.append(line)
        case "reversed_on_one_side":
            line = reversal_of(line)
            more.append(line)
        case _:
            raise ValueError(f"{kind} is no difference that can be planted.")
    return line.serial
