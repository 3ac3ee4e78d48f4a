"""What people agree on with banks and centre after a restore, before money is taken again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class BankAgreed:
    """A bank's own figures of a span of accounting dates (ISO, both included), as a person read them from its papers."""

    bank: str
    first: str
    last: str
    currency: str
    count: int
    micro: int
    by: str


@dataclass(frozen=True, slots=True)
class CentreAgreed:
    """The last number that the centre has of the epoch before; None where there is no centre, and why."""

    seq: int | None
    by: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Held:
    """Since when and why no money is taken, and what has been agreed since. Times in UTC ms.

    epoch, outbox: of the backup. low: the lowest number that it did not know to be safe at the centre.
    """

    epoch: str
    backup_ms: int
    restored_ms: int
    outbox: int
    low: int
    banks: tuple[BankAgreed, ...] = ()
    centre: CentreAgreed | None = None

    @property
    def sentence(self) -> str:
        """For banks and for health."""
        return f"the store was restored from a backup of {moment(self.backup_ms)}: money is taken again after it was reconciled"


def moment(ms: int) -> str:
    """For people."""
    return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms):%Y-%m-%d %H:%M:%S} UTC"
