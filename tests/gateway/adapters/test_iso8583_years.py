"""Names of payments have no year: over the year's end, a year later, and while our clock is somewhere else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import ledger
from gateway.domain.bank_terms import PartnerTerms, SerialScope
from gateway.services.ports import Site
from protocols.bank.iso8583 import Message
from protocols.bank.iso8583_meaning import near
from protocols.bank.iso8583_table import dialect
from tests.gateway.adapters.iso8583_line import BANK, SITE, Line, settle
from tests.gateway.services.memory_tx import MemoryStore
from tests.protocols.bank.tables import document

ZONE = ZoneInfo("Asia/Shanghai")
NOON = datetime(2026, 11, 21, 12, tzinfo=ZONE)
DAY = timedelta(days=1)


@dataclass
class Clock:
    """Ours, which may be anywhere."""

    now: datetime = NOON
    trusted: bool = True

    def ms(self) -> int:
        return int(self.now.timestamp() * 1000)

    def site(self) -> Site:
        return replace(SITE, clock_trusted=self.trusted)


class Street:
    """A partner's line under a clock that moves. payments carry 7 and 11 only, as most partners send them."""

    def __init__(self, now: datetime = NOON, terms: PartnerTerms | None = None, **line: object) -> None:
        self.clock, store = Clock(now), MemoryStore()
        settle(store)
        self.line = Line(store, self.clock.site, self.clock.ms, terms=terms or PartnerTerms(BANK), **line)  # type: ignore[arg-type]

    def payment(self, at: datetime, account: str = "A-1", trace: int = 7, **fields: str) -> Message:
        told = {
            3: "500000",
            4: "000000001000",
            7: f"{at:%m%d%H%M%S}",
            11: f"{trace:06d}",
            32: "1234567",
            48: f"ACCT={account}",
            49: "156",
        }
        return Message("0200", told | {int(name[1:]): text for name, text in fields.items()})

    def paid(self, account: str = "A-1") -> int:
        """How often 10.00 came in."""
        opening = {"A-1": 2000, "A-2": 100}[account]
        micro = self.line.store.read_now(lambda tx: tx.balance(ledger.customer(account), "CNY"))
        return (micro // 10_000 - opening) // 1000


@pytest.mark.parametrize("days", [1, -1, 400, -400, 3650, 3652, -3652, 30, -30, 364, 365, -365, 366])
@pytest.mark.parametrize("trusted", [True, False])
async def test_wherever_our_clock_jumps_a_repeat_is_no_second_credit(days: int, trusted: bool) -> None:
    street = Street()
    payment = street.payment(NOON)
    assert await street.line.code(payment) == "00"
    street.clock.now += days * DAY
    street.clock.trusted = trusted
    for mti in ("0200", "0201"):
        assert await street.line.code(replace(payment, mti=mti)) == "00"
    street.clock.now, street.clock.trusted = NOON + timedelta(hours=1), True
    assert await street.line.code(payment) == "00" and street.paid() == 1


@pytest.mark.parametrize("days", [-1, -400, -3652])
async def test_what_is_paid_while_our_clock_is_back_is_no_second_credit_once_it_is_right(days: int) -> None:
    street = Street(NOON + days * DAY)
    street.clock.trusted = False
    payment = street.payment(NOON)
    assert await street.line.code(payment) == "00"
    street.clock.now = NOON + timedelta(minutes=5)
    assert await street.line.code(payment) == "00" and street.paid() == 1, "not yet vouched for"


@pytest.mark.parametrize("scope", list(SerialScope))
async def test_the_same_name_a_year_later_is_the_payment_that_has_it(scope: SerialScope) -> None:
    """What somebody has kept for a year credits nothing, and no other customer's name hides behind it."""
    street = Street(terms=PartnerTerms(BANK, serial_scope=scope))
    assert await street.line.code(street.payment(NOON)) == "00"
    street.clock.now = datetime(2027, 11, 21, 12, tzinfo=ZONE)
    assert await street.line.code(street.payment(NOON)) == "00" and street.paid() == 1
    assert await street.line.code(street.payment(NOON, "A-2")) == "94" and (street.paid(), street.paid("A-2")) == (1, 0)


@pytest.mark.parametrize("scope", list(SerialScope))
async def test_a_repeat_after_midnight_is_the_same_payment(scope: SerialScope) -> None:
    """Also where serials count by the day, and the partner sends no accounting date: the name has its own day."""
    at = datetime(2026, 11, 21, 23, 59, 58, tzinfo=ZONE)
    street = Street(at, PartnerTerms(BANK, serial_scope=scope))
    payment = street.payment(at)
    assert await street.line.code(payment) == "00"
    street.clock.now = at + timedelta(seconds=5)
    assert await street.line.code(replace(payment, mti="0201")) == "00" and street.paid() == 1
    assert await street.line.code(street.line.reversal(payment)) == "00" and street.paid() == 0
    assert await street.line.code(payment) == "25"


async def test_a_name_without_a_date_is_unique_for_ever() -> None:
    table = dialect(document(identity={"always": [11, 41], "where_sent": [], "reversal_repeats": [41]}))
    street = Street(dialect=table)
    payment = street.payment(NOON, f41="TERM0001")
    assert await street.line.code(payment) == "00"
    street.clock.now = datetime(2027, 11, 21, 12, tzinfo=ZONE)
    assert await street.line.code(payment) == "00" and street.paid() == 1


times = st.datetimes(datetime(2024, 1, 1), datetime(2030, 12, 31, 23, 59, 59))
new_years = st.builds(
    lambda year, seconds: datetime(year, 1, 1) + timedelta(seconds=seconds), st.integers(2024, 2033), st.integers(-86_400, 86_400)
)


@given(st.one_of(times, new_years), st.timedeltas(-182 * DAY, 182 * DAY))
def test_a_time_is_found_again_from_anywhere_within_half_a_year(at: datetime, off: timedelta) -> None:
    at = at.replace(microsecond=0)
    if (at.month, at.day) != (2, 29):
        assert near(f"{at:%m%d%H%M%S}", at + off) == at


@given(new_years, st.lists(st.integers(-7200, 86_400), min_size=1, max_size=4), st.booleans())
async def test_over_the_year_s_end_repeats_and_reversals_find_their_payment(at: datetime, offsets: list[int], early: bool) -> None:
    """at: the partner's clock; offsets: seconds by which ours is ahead of it at each try."""
    at = at.replace(tzinfo=ZONE)
    street = Street(at)
    payment = street.payment(at)
    if early:
        assert await street.line.code(street.line.reversal(payment)) == "00"
    for seconds in offsets:
        street.clock.now = at + timedelta(seconds=seconds)
        assert await street.line.code(payment) == ("25" if early else "00")
    assert street.paid() == (not early)
    assert await street.line.code(street.line.reversal(payment)) == "00" and street.paid() == 0
    assert await street.line.code(payment) == "25"
