"""What an account may draw now, and what it draws: its caps by the calendar and by the month, its meters' newest values."""

from __future__ import annotations

from decimal import Decimal

from gateway.domain.calendars import UnpricedTime, calendar_of
from gateway.domain.limits import LoadLimit, allowed
from gateway.domain.load_caps import LOOK_AHEAD_DAYS, NO_DAYS, Allowed, Cap, CapTable, Draw, Special, cap_at, next_change_ms
from gateway.domain.meters import Account, Meter
from gateway.domain.readings import Reading, primary_w
from gateway.domain.records import LatestItem
from gateway.services.ports import Site, Tx

CURRENTS = ("current_a", "current_b", "current_c")

LOOK_AHEAD_MS = LOOK_AHEAD_DAYS * 86_400_000

CURRENT_LOOKS = 2
"""A meter that tells its values one by one tells each current half as often as its power, which has every second turn."""


def allowed_now(tx: Tx, account: Account, limit: LoadLimit, site: Site, at_ms: int) -> Allowed:
    """What it may draw at a moment."""
    return allowed(limit, cap_now(tx, account, limit, site, at_ms), account.limit_memory, at_ms)


def cap_now(tx: Tx, account: Account, limit: LoadLimit, site: Site, at_ms: int) -> Cap | None:
    """The time-table's cap of a moment, None without one."""
    if limit.caps is None:
        return None
    return cap_at(limit.caps, at_ms, site.zone, special_days(tx, account, limit.caps, at_ms))


def next_edge_ms(tx: Tx, account: Account, limit: LoadLimit, site: Site, at_ms: int) -> int:
    """When something else may hold by the time-table or the month: look again then."""
    edges = [at_ms + LOOK_AHEAD_MS]
    if limit.caps is not None:
        change_ms = next_change_ms(limit.caps, at_ms, site.zone, special_days(tx, account, limit.caps, at_ms))
        edges.append(change_ms or edges[0])
    if account.limit_memory.month_to_ms > at_ms:
        edges.append(account.limit_memory.month_to_ms)
    return min(edges)


def special_days(tx: Tx, account: Account, table: CapTable, at_ms: int) -> Special:
    """The days that stand out in the calendar or the tariff that a table names; none where that is not known here."""
    if table.calendar is not None:
        calendar = tx.no_cut_calendar(table.calendar)
        return NO_DAYS if calendar is None else Special(frozenset(calendar.days), frozenset(calendar.workdays))
    tariff = tx.price_list(account.tariff) if table.by_tariff else None
    if tariff is None:
        return NO_DAYS
    try:
        tou = calendar_of(tariff).stretch(at_ms).version.tou
    except UnpricedTime:
        return NO_DAYS
    return NO_DAYS if tou is None else Special(tou.holidays)


def month_use(tx: Tx, account: Account, at_ms: int) -> tuple[str, int, int, int] | None:
    """The account's bill period of a moment, from when to when (UTC ms), and the Wh billed in it; None without a tariff."""
    tariff = tx.price_list(account.tariff)
    if tariff is None:
        return None
    span = calendar_of(tariff).bill(at_ms)
    use = tx.period_use(account.id, account.tariff, span.name)
    return span.name, span.from_ms, span.to_ms, 0 if use is None else use.total_wh


def draw_now(tx: Tx, account: Account, limit: LoadLimit, site: Site, at_ms: int, reading: Reading | None = None) -> Draw:
    """What the account draws: the sum of its meters' newest powers, and the highest current of any phase of one meter.

    reading: of this moment; it goes before what is stored, which is newer where our clock was set back.
    """
    power_w, current_ma, amperes = 0, None, limit.in_amperes
    shown = {item.quantity: LatestItem(item, at_ms) for item in reading.items} if reading is not None else {}
    for meter in tx.meters_of(account.id):
        if reading is None or meter.id != reading.meter:
            latest = tx.latest(meter.id)
        else:  # to ask the store for what was read only now would cost more than the rest of this
            latest = shown if "power" in shown and not amperes else {**tx.latest(meter.id), **shown}
        power = _fresh(latest.get("power"), at_ms, site.power_stale_ms)
        power_w += 0 if power is None else primary_w(power, meter.ratio)
        if amperes:
            found = (_fresh(latest.get(name), at_ms, CURRENT_LOOKS * site.power_stale_ms) for name in CURRENTS)
            highest = max((_primary_ma(amperes, meter) for amperes in found if amperes is not None), default=None)
            current_ma = highest if current_ma is None else max(current_ma, highest or 0)
    return Draw(power_w, current_ma)


def _fresh(found: LatestItem | None, at_ms: int, stale_ms: int) -> Decimal | None:
    return found.item.value if found is not None and 0 <= at_ms - found.answered_ms <= stale_ms else None


def _primary_ma(amperes: Decimal, meter: Meter) -> int:
    return abs(primary_w(amperes, meter.ratio))
