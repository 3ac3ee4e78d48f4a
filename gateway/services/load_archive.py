"""The configured accounts, meters and tariffs enter the store by difference: what the rules know about them stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.domain import ledger
from gateway.domain.ledger import Entry, EntryKind, Leg
from gateway.domain.limits import WITHIN_LIMIT
from gateway.domain.meters import Account, Meter
from gateway.domain.schemes import Scheme
from gateway.domain.supply import CutCause
from gateway.domain.tariffs import Tariff
from gateway.services.open_slots import load_schemes
from gateway.services.ports import Site, Tx
from gateway.services.post_entry import post_entry
from gateway.services.switching import RULES, bring, drop_reason, lift


@dataclass(frozen=True, slots=True)
class Opening:
    """An account as configured, and the balance it opens with, booked once when the account first enters the store."""

    account: Account
    balance_micro: int = 0


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
        if tx.tariff(tariff.id) != tariff:
            tx.save_tariff(tariff)
    for opening in archive.accounts:
        _account(tx, opening, now_ms)
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


def _account(tx: Tx, opening: Opening, now_ms: int) -> None:
    configured, known = opening.account, tx.account(opening.account.id)
    if known is None:
        tx.save_account(configured)
        if opening.balance_micro:
            legs = (
                Leg(ledger.customer(configured.id), opening.balance_micro),
                Leg(ledger.opening_equity(), -opening.balance_micro),
            )
            post_entry(tx, Entry(EntryKind.OPENING, configured.currency, legs, now_ms, {"account": configured.id}))
        return
    if known.currency != configured.currency:
        raise ValueError(f"account {known.id} is kept in {known.currency}; its currency cannot be changed to {configured.currency}")
    kept = replace(
        configured,
        credit=known.credit,
        warned_ms=known.warned_ms,
        limit_state=known.limit_state if configured.limit is not None else WITHIN_LIMIT,
        protect_until_ms=known.protect_until_ms,
    )
    if kept != known:
        tx.save_account(kept)


def _meter(tx: Tx, configured: Meter, site: Site, now_ms: int) -> None:
    known = tx.meter(configured.id)
    if known is not None:
        configured = replace(
            configured, desired=known.desired, observed=known.observed, observed_ms=known.observed_ms, cut_reasons=known.cut_reasons
        )
    if configured != known:
        tx.save_meter(configured)
        for command in tx.open_commands(meter=configured.id):  # a command waits on the line where its switch now is
            tx.save_command(replace(command, line=configured.switch_line))
    if known is not None and known.account != configured.account and RULES & {*known.cut_reasons}:
        drop_reason(tx, configured, *RULES)  # they were the old account's
        bring(tx, configured.id, site, now_ms)
