"""The configured accounts, meters and tariffs enter the store by difference: what the rules know about them stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from gateway.domain import ledger
from gateway.domain.events import EventKind
from gateway.domain.limits import WITHIN_LIMIT, taken_over
from gateway.domain.meters import Account, Meter
from gateway.domain.no_cut import NoCutCalendar
from gateway.domain.notices import kept as reach_kept
from gateway.domain.price_list import Tariff
from gateway.domain.readings import TOTAL
from gateway.domain.schemes import Scheme
from gateway.domain.slots import day_of
from gateway.domain.supply import SIGNS
from gateway.domain.tariff_change import successor
from gateway.services import announce
from gateway.services.meter_wallet import watch_account
from gateway.services.open_slots import load_schemes
from gateway.services.ports import Site, Tx
from gateway.services.post_entry import post_entry
from gateway.services.rejudge import ask
from gateway.services.spend_budget import note_change, note_tariff
from gateway.services.switching import RULES, bring, drop_reason
from gateway.services.watch_calendars import load_calendars
from gateway.services.watch_limits import free_unlimited


@dataclass(frozen=True, slots=True)
class Opening:
    """An account as configured, and the balance and the debt that it opens with, each booked once.

    customer: what purchases for the wallet of its meter name, 12 digits; empty for the meter's own.
    """

    account: Account
    balance_micro: int = 0
    debt_micro: int = 0
    customer: str = ""


@dataclass(frozen=True, slots=True)
class Archive:
    """What the configuration says about the site. schemes, calendars: None leaves them as they are."""

    tariffs: Sequence[Tariff]
    accounts: Sequence[Opening]
    meters: Sequence[Meter]
    schemes: Sequence[Scheme] | None = None
    calendars: Sequence[NoCutCalendar] | None = None


def load_archive(tx: Tx, archive: Archive, site: Site, now_ms: int) -> None:
    """Bring the store's archive in line with the configuration. Money, credit state, limiter and switch states are kept."""
    for tariff in archive.tariffs:
        enter_tariff(tx, tariff, FILE, site, now_ms)
    for opening in archive.accounts:
        enter_account(tx, opening, site, now_ms)
    for meter in archive.meters:
        enter_meter(tx, meter, site, now_ms)
    if archive.schemes is not None:
        load_schemes(tx, archive.schemes)
    if archive.calendars is not None:
        load_calendars(tx, archive.calendars)
    configured = {meter.id for meter in archive.meters}
    for meter in tx.meters():
        if meter.id not in configured and meter.account is not None and meter.filed:
            enter_meter(tx, replace(meter, account=None), site, now_ms)  # its past stays, nobody waits for its readings
    for opening in archive.accounts:
        free_unlimited(tx, opening.account.id, site, now_ms)
        watch_account(tx, opening.account.id, opening.customer, now_ms)


FILE = "file"
"""Whose change it is that the configuration brings, for the limiter's budgets."""


def enter_tariff(tx: Tx, configured: Tariff, by: str, site: Site, now_ms: int) -> None:
    """What has begun of a tariff that accounts were priced by is for ever. by: whose change it is. Raises VersionHolds."""
    known = tx.price_list(configured.id)
    if known is None or known == configured or not tx.priced(configured.id):
        if known != configured:
            tx.save_price_list(configured)
        return
    changed = successor(known, configured, day_of(now_ms, ZoneInfo(configured.zone)))
    if changed != known:
        tx.save_price_list(changed)
        note_tariff(tx, changed.id, by, site, now_ms)
        ask(tx)
        newest = changed.versions[-1]
        told = {"tariff": changed.id, "version": newest.id, "from_day": newest.from_day}
        announce.event(tx, EventKind.TARIFF_CHANGED, now_ms, meter=None, account=None, **told)


def enter_account(tx: Tx, opening: Opening, site: Site, now_ms: int, by: str = FILE) -> None:
    """One account as it is configured; its money, credit state, limiter and protection stay. ValueError for another currency."""
    configured, known = opening.account, tx.account(opening.account.id)
    if known is None:
        tx.save_account(configured)
        if opening.balance_micro:
            post_entry(tx, ledger.opening(configured.id, configured.currency, opening.balance_micro, now_ms))
        _debt(tx, opening, now_ms)
        return
    if known.currency != configured.currency:
        raise ValueError(f"account {known.id} is kept in {known.currency}; its currency cannot be changed to {configured.currency}")
    limit, memory = taken_over(configured.limit, known.limit, known.limit_memory, now_ms)
    kept = replace(
        configured,
        credit=known.credit,
        warned_ms=known.warned_ms,
        limit=limit,
        limit_state=known.limit_state if limit is not None else WITHIN_LIMIT,
        protect_until_ms=known.protect_until_ms,
        protect=known.protect,
        standing=known.standing,
        limit_memory=memory,
        authority=known.authority,
        reach=reach_kept(configured.reach, known.reach),
        priced_since=known.priced_since if known.tariff == configured.tariff else day_of(now_ms, ZoneInfo(site.zone)),
    )
    if kept != known:
        tx.save_account(kept)
        if (kept.tariff, kept.limit, kept.policy) != (known.tariff, known.limit, known.policy):
            note_change(tx, kept.id, by, site, now_ms)
        ask(tx)  # 10,000 are judged in shares, not here
    _debt(tx, opening, now_ms)


def _debt(tx: Tx, opening: Opening, now_ms: int) -> None:
    """What is owed from before, once for ever."""
    account, terms = opening.account, opening.account.debt
    if terms is not None and opening.debt_micro and not tx.entries_of(ledger.debt(account.id), 1):
        ref = {"account": account.id, "agreement": terms.agreement, "since": terms.since_day}
        post_entry(tx, ledger.indebted(account.id, account.currency, opening.debt_micro, now_ms, ref))


def enter_meter(tx: Tx, configured: Meter, site: Site, now_ms: int) -> None:
    """One meter as it is configured; what is known of its switch stays. Where nobody pays for it any more the journal says so."""
    known = tx.meter(configured.id)
    if known is not None and known.account is not None and configured.account is None:
        _off_account(tx, known, known.account, now_ms)
    place_meter(tx, configured, site, now_ms)


def place_meter(tx: Tx, configured: Meter, site: Site, now_ms: int) -> None:
    """The same, and the journal is the caller's. A meter that leaves its account leaves what the account's rules held it for."""
    known = tx.meter(configured.id)
    if known is not None:
        configured = replace(
            configured, desired=known.desired, observed=known.observed, observed_ms=known.observed_ms, cut_reasons=known.cut_reasons
        )
    if configured != known:
        tx.save_meter(configured)
        for command in tx.open_commands(meter=configured.id):  # a command waits on the line where its switch now is
            line = configured.line if command.verb in SIGNS else configured.switch_line
            tx.save_command(replace(command, line=line))
    if known is not None and known.account != configured.account and RULES & {*known.cut_reasons}:
        drop_reason(tx, configured, *RULES)  # they were the old account's
        bring(tx, configured.id, site, now_ms)


def _off_account(tx: Tx, meter: Meter, owner: str, now_ms: int) -> None:
    """The journal says how far the meter was billed: what it counts from here on is nobody's."""
    account, billing = tx.account(owner), tx.billing(meter.id)
    if account is not None and billing is not None and billing.confirmed is not None:
        wh = billing.confirmed.wh[TOTAL]
        post_entry(tx, ledger.off_account(account.id, account.currency, meter.id, wh, now_ms))
