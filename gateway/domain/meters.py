"""What is installed where: meters, their switches, and who pays (contract.md, Words)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction

from gateway.domain.credit import CreditPolicy, CreditState, Standing
from gateway.domain.debt_terms import DebtTerms
from gateway.domain.limits import WITHIN_LIMIT, LimitMemory, LimitState, LoadLimit
from gateway.domain.notices import Reach
from gateway.domain.price_list import Terms


class SwitchKind(StrEnum):
    """What cuts, and how it comes back (contract.md, Words)."""

    INTERNAL = "internal"
    EXTERNAL_AUTO = "external_auto"
    EXTERNAL_MANUAL = "external_manual"
    CONTACTOR = "contactor"
    NONE = "none"


class Contact(StrEnum):
    """A switch as it was read back, or as it is wanted (then only CLOSED or OPEN)."""

    CLOSED = "closed"
    OPEN = "open"
    ALLOWED = "allowed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Meter:
    """One meter and its switch. `desired` is an order, `observed` what was read back: two columns, never one.

    switch_line: the line that carries the switch (another one than `line` where a separate module cuts).
    settle_ms: the contact is read this long after the acknowledgement or later (prepayment.md 10).
    ratio: of the transformers in front of a meter that shows secondary values; all other fields are primary.
    max_power_w: no more than this can flow, in watts; bounds what a reading may have risen.
    count_wh: one step of the energy register, in Wh. capacity_wh: where it begins again at zero, 0 when that is not known.
    cut_reasons: why supply is held open, sorted, each `origin:cause`; empty means that supply is wanted.
    feedback: the switch's position can be read back; without it a command ends in `command_only`.
    filed: it stands in the configuration file; else it was opened or imported, and the store alone has it.
    """

    id: str
    line: str
    address: str
    protocol: str
    profile: str
    account: str | None
    point: str
    switch: SwitchKind
    switch_line: str
    feedback: bool = True
    cut_with_account: bool = True
    settle_ms: int = 4000
    max_power_w: int = 60_000
    count_wh: int = 10
    capacity_wh: int = 1_000_000_000
    ratio: Fraction = Fraction(1)
    desired: Contact = Contact.CLOSED
    observed: Contact = Contact.UNKNOWN
    observed_ms: int | None = None
    cut_reasons: tuple[str, ...] = ()
    filed: bool = True

    @property
    def cuttable(self) -> bool:
        """Whether an account's cut reaches this meter."""
        return self.cut_with_account and self.switch is not SwitchKind.NONE


class Authority(StrEnum):
    """Who holds an account's money (prepayment.md 1); never both."""

    GATEWAY = "gateway"
    METER = "meter"


@dataclass(frozen=True, slots=True)
class Protect:
    """Supply protect beside its end: who asked for it and why. blocks: `all` cuts or `commercial` ones only. in_meter: also 3AH."""

    owner: str = ""
    reason: str = ""
    blocks: str = "all"
    in_meter: bool = False


NO_TERMS, NO_PROTECT, NO_STANDING, NO_REACH, NO_MEMORY = Terms(), Protect(), Standing(), Reach(), LimitMemory()


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays, and the state that the rules keep about it. Money itself stands in the ledger only.

    warned_ms: when the notice ladder of the present low balance was completed; None while it is not.
    protect_until_ms: supply protect ends then; None means no protection. terms: what its tariff must know of it, as agreed.
    priced_since: ISO day from which its present tariff prices it, None: from the first. debt: None where none is recovered.
    authority: who holds its money. standing, limit_memory: what credit control and the limiter remember between two judgements.
    reach: whom notices go to. filed: as of a meter.
    """

    id: str
    holder: str
    currency: str
    tariff: str
    policy: CreditPolicy
    limit: LoadLimit | None = None
    agreement: str | None = None
    never_cut: bool = False
    protect_until_ms: int | None = None
    closed: bool = False
    credit: CreditState = CreditState.NORMAL
    warned_ms: int | None = None
    limit_state: LimitState = WITHIN_LIMIT
    terms: Terms = NO_TERMS
    priced_since: str | None = None
    debt: DebtTerms | None = None
    authority: Authority = Authority.GATEWAY
    standing: Standing = NO_STANDING
    protect: Protect = NO_PROTECT
    limit_memory: LimitMemory = NO_MEMORY
    reach: Reach = NO_REACH
    filed: bool = True

    def terms_for(self, tariff: str) -> Terms:
        """The terms as far as this tariff is concerned: under the present one there was no service before it."""
        days = [day for day in (self.terms.since_day, self.priced_since) if day is not None]
        return replace(self.terms, since_day=max(days, default=None)) if tariff == self.tariff else self.terms

    def protected(self, now_ms: int) -> bool:
        """Whether supply protect holds at this moment."""
        return self.protect_until_ms is not None and now_ms < self.protect_until_ms
