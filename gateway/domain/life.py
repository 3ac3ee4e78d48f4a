"""The life of accounts and meters: what a person asks for, in forms, and the tables that stand in the store alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from gateway.domain.meters import Account, Meter
from gateway.domain.no_cut import NoCutCalendar
from gateway.domain.price_list import Tariff
from gateway.domain.schemes import Scheme


class Refusal(ValueError):
    """Why an act is not done, in one sentence; nothing of it is."""


class NeedsSecond(Refusal):
    """It would be done if a second person answered for it too."""


@dataclass(frozen=True, slots=True)
class Act:
    """Who answers for an act and why. `id` makes it happen once; content: digest of all that was asked, so that the same id is the
    same act. who: as the audit log names whoever asks. second: another person who says so too.
    """

    id: str
    by: str
    reason: str
    content: str
    who: str
    second: str | None = None

    @property
    def two_people(self) -> bool:
        """Whether two different persons answer for it."""
        return bool(self.second) and str(self.second).strip().casefold() != self.by.strip().casefold()


Kwh = Mapping[str, Decimal]
"""Registers in kWh by quantity, as a meter's display shows them (so without the ratio of transformers)."""


class FilingKind(StrEnum):
    """What is kept of the archive outside the configuration file.

    METER, ACCOUNT: a whole table, as it would stand in the file. AMENDED: what an act changed of a meter that stands in the file.
    CLOSED: an account that an act closed, for ever. TARIFF, SCHEME, CALENDAR: whole tables too.
    """

    METER = "meter"
    ACCOUNT = "account"
    AMENDED = "amended"
    CLOSED = "closed"
    TARIFF = "tariff"
    SCHEME = "scheme"
    CALENDAR = "calendar"


@dataclass(frozen=True, slots=True)
class Filing:
    """One table of the archive in the store. body: JSON text; None takes it out."""

    kind: FilingKind
    id: str
    body: str | None


@dataclass(frozen=True, slots=True)
class Installed:
    """A meter as it will be, with who pays for it, and where its registers stand at this moment.

    kwh: as a person read them; None: as the gateway has read them itself.
    """

    meter: Meter
    kwh: Kwh | None = None


@dataclass(frozen=True, slots=True)
class OpenAccount:
    """A customer comes. agreement: id, date, version and channels, as signed. opening, debt: what is taken over, in micro-units.

    receipt: of the counter where the opening money was paid; without one it takes a second person.
    """

    act: Act
    account: Account
    agreement: Mapping[str, str]
    meters: tuple[Installed, ...]
    opening_micro: int = 0
    debt_micro: int = 0
    receipt: str | None = None


class OnDebt(StrEnum):
    """What becomes of a balance below zero when an account is closed. KEEP: it stays as a claim, outside of prepayment."""

    REFUSE = "refuse"
    KEEP = "keep"
    WRITE_OFF = "write_off"


class SupplyAfter(StrEnum):
    """What becomes of the light when nobody pays any more. ON: reasons of the account's rules are lifted. CUT: by the contract."""

    ON = "on"
    CUT = "cut"


@dataclass(frozen=True, slots=True)
class CloseAccount:
    """A customer goes for good. meters: those of the account as they will be, without it.

    refund: who pays the rest out (`counter` or a bank's id); None: it stays on the account until somebody refunds it.
    """

    act: Act
    account: str
    meters: tuple[Installed, ...]
    supply: SupplyAfter = SupplyAfter.ON
    on_debt: OnDebt = OnDebt.REFUSE
    refund: str | None = None


@dataclass(frozen=True, slots=True)
class MoveMeters:
    """Meters pass from one account to another, or to nobody; the register where one ends is where the next begins."""

    act: Act
    meters: tuple[Installed, ...]


@dataclass(frozen=True, slots=True)
class ChangeMeter:
    """Another device at the same metering point. last, first: what the old and the new one show."""

    act: Act
    meter: Meter
    last: Kwh
    first: Kwh


@dataclass(frozen=True, slots=True)
class ChangeCt:
    """Other transformers in front of the same meter. kwh: what its display shows at that moment."""

    act: Act
    meter: Meter
    kwh: Kwh


@dataclass(frozen=True, slots=True)
class RefundRest:
    """Money goes back to a customer. micro: None for all there is. via: who pays it out."""

    act: Act
    account: str
    via: str
    micro: int | None = None


@dataclass(frozen=True, slots=True)
class ImportArchive:
    """Many tables at once, as they differ from what stands. openings: account, balance and debt taken over.

    removed: meters that leave the archive; their past stays. schemes: all that are in force then; None leaves them as they are.
    gone_calendars: that no account goes by any more. A tariff's prices stay for the time in which they held.
    version: how whoever keeps the archive elsewhere calls this state of it, for the log. told: the answer; by default the counts.
    """

    act: Act
    openings: tuple[tuple[Account, int, int], ...] = ()
    meters: tuple[Meter, ...] = ()
    removed: tuple[str, ...] = field(default=())
    tariffs: tuple[Tariff, ...] = ()
    schemes: tuple[Scheme, ...] | None = None
    calendars: tuple[NoCutCalendar, ...] = ()
    gone_calendars: tuple[str, ...] = ()
    version: str = ""
    told: Mapping[str, int] = field(default_factory=dict)
