"""Tables of many accounts and meters enter the store at once, beside the configuration file: all of them, or none."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from gateway.domain.events import EventKind
from gateway.domain.jobs import Want
from gateway.domain.life import ImportArchive, Refusal
from gateway.domain.meters import Account, Meter
from gateway.domain.schemes import Scheme
from gateway.domain.supply import CutCause
from gateway.domain.tariff_change import VersionHolds
from gateway.domain.units import format_money
from gateway.services import announce
from gateway.services.acts import Answer, done, known, must_be_two
from gateway.services.load_archive import Opening, enter_account, enter_meter, enter_tariff
from gateway.services.money_held import must_be_open
from gateway.services.open_slots import load_schemes
from gateway.services.ports import Site, Tx
from gateway.services.switching import lift

IMPORT = "import_archive"
"""As it stands in the audit log."""


def import_archive(tx: Tx, order: ImportArchive, site: Site, now_ms: int) -> Answer:
    """Take them over by difference, as a configuration is. Raises Refusal or MoneyHeld; then nothing has changed."""
    act = order.act
    if (told := known(tx, act, IMPORT)) is not None:
        return told
    _openings(tx, order)
    for tariff in order.tariffs:
        try:
            enter_tariff(tx, tariff, act.who, site, now_ms)
        except VersionHolds as holds:
            raise Refusal(str(holds)) from None
    for account, balance_micro, debt_micro in order.openings:
        _same_life(tx, account)
        enter_account(tx, Opening(account, balance_micro, debt_micro), site, now_ms, act.who)
        if account.limit is None:
            lift(tx, account, CutCause.SAFETY, site, now_ms)
    for meter in order.meters:
        _same_transformers(tx, meter)
        enter_meter(tx, meter, site, now_ms)
    for name in order.removed:
        _remove(tx, name, site, now_ms)
    if order.schemes is not None:
        load_schemes(tx, order.schemes)
    for calendar in order.calendars:
        tx.save_no_cut_calendar(calendar)
    for name in order.gone_calendars:
        _free_of(tx, name)
        tx.drop_no_cut_calendar(name)
    counts = {"accounts": len(order.openings), "meters": len(order.meters), "removed": len(order.removed)}
    counts |= {"tariffs": len(order.tariffs), "calendars": len(order.calendars) + len(order.gone_calendars)}
    named = {"version": order.version} if order.version else {}
    announce.event(tx, EventKind.ARCHIVE_CHANGED, now_ms, meter=None, account=None, by=act.by, **named, **counts)
    said = named | {name: str(count) for name, count in counts.items()}
    return done(tx, act, IMPORT, "archive", {**(order.told or counts)}, now_ms, said)


def join_schemes(tx: Tx, schemes: Sequence[Scheme], touched: Collection[str]) -> None:
    """The collection with these meters as they are now; like open_slots.load_schemes, and nobody else is looked at."""
    before = {scheme.id: scheme for scheme in tx.schemes()}
    lines = {name: meter.line for name in touched if (meter := tx.meter(name)) is not None}
    for scheme in schemes:
        old = before.get(scheme.id)
        if scheme != old:
            tx.save_scheme(scheme)
        for name in touched:
            if old is None or name not in old.meters:
                continue  # nothing is expected of it yet
            if name in scheme.meters and name in lines:
                tx.move_slots(name, lines[name])
            else:
                tx.drop_slots(name, old.want, 1 << 60, expected=True)


def _openings(tx: Tx, order: ImportArchive) -> None:
    """Money that nobody has a receipt for takes two people, however many accounts it is spread over."""
    new = [(account, micro) for account, micro, _ in order.openings if micro and tx.account(account.id) is None]
    if not new:
        return
    must_be_open(tx)
    sums: dict[str, int] = {}
    for account, micro in new:
        sums[account.currency] = sums.get(account.currency, 0) + micro
    shown = " and ".join(f"{format_money(micro, currency)} {currency}" for currency, micro in sorted(sums.items()))
    must_be_two(tx, order.act, f"{len(new)} accounts open with {shown}")


def _same_life(tx: Tx, account: Account) -> None:
    there = tx.account(account.id)
    if there is None:
        return
    if there.closed:
        raise Refusal(f"account {account.id} is closed: it is not opened again, nor changed")
    if there.currency != account.currency:
        raise Refusal(f"account {account.id} is kept in {there.currency}; its currency cannot be changed to {account.currency}")


def _same_transformers(tx: Tx, meter: Meter) -> None:
    there, billing = tx.meter(meter.id), tx.billing(meter.id)
    if there is not None and there.ratio != meter.ratio and billing is not None and billing.confirmed is not None:
        raise Refusal(
            f"meter {meter.id} is billed with the ratio {there.ratio}: another one begins at a register (meters change-ct)"
        )
    owner = tx.account(meter.account or "")
    if owner is not None and owner.closed:
        raise Refusal(f"meter {meter.id}: account {owner.id} is closed")


def _free_of(tx: Tx, calendar: str) -> None:
    user = next((account for account in tx.accounts() if account.policy.calendar == calendar and not account.closed), None)
    if user is not None:
        raise Refusal(f"calendar {calendar} is in use, account {user.id} goes by it: give that another one first")


def _remove(tx: Tx, name: str, site: Site, now_ms: int) -> None:
    """It leaves the archive; its past stays."""
    meter = tx.meter(name)
    if meter is None:
        return
    if meter.account is not None:
        raise Refusal(f"meter {name} is account {meter.account}'s: move it off that account first")
    if tx.open_commands(meter=name):
        raise Refusal(f"a command to meter {name} is not over yet: wait for it, or cancel it")
    for want in (Want.DAY, Want.MONTH, Want.CURVE, Want.EVENTS):
        tx.drop_slots(name, want, 1 << 60, expected=True)
    tx.save_meter(replace(meter, filed=False))
