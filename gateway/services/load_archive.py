"""The configured accounts, meters and tariffs enter the store by difference: what the rules know about them stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from zoneinfo import ZoneInfo

from gateway.domain import ledger
from gateway.domain.events import EventKind
from gateway.domain.limits import WITHIN_LIMIT
from gateway.domain.meters import Account, Meter
from gateway.domain.price_list import Tariff
from gateway.domain.readings import TOTAL
from gateway.domain.schemes import Scheme
from gateway.domain.slots import day_of
from gateway.domain.supply import CutCause
from gateway.domain.tariff_change import successor
from gateway.services import announce
from gateway.services.open_slots import load_schemes
from gateway.services.ports import Site, Tx
from gateway.services.post_entry import post_entry
from gateway.services.switching import RULES, bring, drop_reason, lift


@dataclass(frozen=True, slots=True)
class Opening:
    """An account as configured, and the balance and the debt that it opens with, each booked once."""

    account: Account
    balance_micro: int = 0
    debt_micro: int = 0


@dataclass(frozen=True, slots=True)
class Archive:
    """What the configuration says about the site. schemes: None leaves the collection as it is."""

    tariffs: Sequence[Tariff]
    accounts: Sequence[Opening]
    meters: Sequence[Meter]
    schemes: Sequence[Scheme] | None = None


def load_archive(tx: Tx, archive: Archive, site: Site, now_ms: int) -> None:
    """Bring the store's archive in line with the configuration. Money, credit state, limiter and switch states are kept."""
    for tariff in archive.tariffs:
        _tariff(tx, tariff, now_ms)
    for opening in archive.accounts:
        _account(tx, opening, site, now_ms)
    for meter in archive.meters:
        _meter(tx, meter, site, now_ms)
    if archive.schemes is not None:
        load_schemes(tx, archive.schemes)
    configured = {meter.id for meter in archive.meters}
    for meter in tx.meters():
        if meter.id not in configured and meter.account is not None:
            _meter(tx, replace(meter, account=None), site, now_ms)  # its past stays, nobody waits for its readings
    for opening in archive.accounts:
        if opening.account.limit is None:  # whom a limit held open that is no longer there
            lift(tx, opening.account, CutCause.SAFETY, site, now_ms)


def _tariff(tx: Tx, configured: Tariff, now_ms: int) -> None:
    """What has begun of a tariff that accounts were priced by is for ever. Raises VersionHolds."""
    known = tx.price_list(configured.id)
    if known is None or known == configured or not tx.priced(configured.id):
        if known != configured:
            tx.save_price_list(configured)
        return
    changed = successor(known, configured, day_of(now_ms, ZoneInfo(configured.zone)))
    if changed != known:
        tx.save_price_list(changed)
        newest = changed.versions[-1]
        told = {"tariff": changed.id, "version": newest.id, "from_day": newest.from_day}
        announce.event(tx, EventKind.TARIFF_CHANGED, now_ms, meter=None, account=None, **told)


def _account(tx: Tx, opening: Opening, site: Site, now_ms: int) -> None:
    configured, known = opening.account, tx.account(opening.account.id)
    if known is None:
        tx.save_account(configured)
        if opening.balance_micro:
            post_entry(tx, ledger.opening(configured.id, configured.currency, opening.balance_micro, now_ms))
        _debt(tx, opening, now_ms)
        return
    if known.currency != configured.currency:
        raise ValueError(f"account {known.id} is kept in {known.currency}; its currency cannot be changed to {configured.currency}")
    kept = replace(
        configured,
        credit=known.credit,
        warned_ms=known.warned_ms,
        limit_state=known.limit_state if configured.limit is not None else WITHIN_LIMIT,
        protect_until_ms=known.protect_until_ms,
        priced_since=known.priced_since if known.tariff == configured.tariff else day_of(now_ms, ZoneInfo(site.zone)),
    )
    if kept != known:
        tx.save_account(kept)
    _debt(tx, opening, now_ms)


def _debt(tx: Tx, opening: Opening, now_ms: int) -> None:
    """What is owed from before, once for ever."""
    account, terms = opening.account, opening.account.debt
    if terms is not None and opening.debt_micro and not tx.entries_of(ledger.debt(account.id), 1):
        ref = {"account": account.id, "agreement": terms.agreement, "since": terms.since_day}
        post_entry(tx, ledger.indebted(account.id, account.currency, opening.debt_micro, now_ms, ref))


def _meter(tx: Tx, configured: Meter, site: Site, now_ms: int) -> None:
    known = tx.meter(configured.id)
    if known is not None:
        configured = replace(
            configured, desired=known.desired, observed=known.observed, observed_ms=known.observed_ms, cut_reasons=known.cut_reasons
        )
        if known.account is not None and configured.account is None:
            _off_account(tx, known, known.account, now_ms)
    if configured != known:
        tx.save_meter(configured)
        for command in tx.open_commands(meter=configured.id):  # a command waits on the line where its switch now is
            tx.save_command(replace(command, line=configured.switch_line))
    if known is not None and known.account != configured.account and RULES & {*known.cut_reasons}:
        drop_reason(tx, configured, *RULES)  # they were the old account's
        bring(tx, configured.id, site, now_ms)


def _off_account(tx: Tx, meter: Meter, owner: str, now_ms: int) -> None:
    """The journal says how far the meter was billed: what it counts from here on is nobody's."""
    account, billing = tx.account(owner), tx.billing(meter.id)
    if account is not None and billing is not None and billing.confirmed is not None:
        wh = billing.confirmed.wh[TOTAL]
        post_entry(tx, ledger.off_account(account.id, account.currency, meter.id, wh, now_ms))
