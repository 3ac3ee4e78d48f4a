"""The configuration in the domain's words: site, accounts, meters, tariffs."""

from __future__ import annotations

from pathlib import Path

from gateway.adapters.clock import kernel_synchronised
from gateway.adapters.profile_facts import count_wh, rollover_wh, switch_facts, values
from gateway.adapters.profiles import profile
from gateway.bootstrap.schemes import schemes_of
from gateway.bootstrap.tariffs import tariffs_of
from gateway.domain.credit import CreditPolicy
from gateway.domain.limits import LoadLimit
from gateway.domain.meters import Account, Meter
from gateway.domain.units import parse_money, parse_signed_money
from gateway.services.load_archive import Archive, Opening
from gateway.services.ports import Site
from gateway.settings import Meter as MeterSettings
from gateway.settings import Settings


def site_of(settings: Settings) -> Site:
    """The site as the use cases know it. F3: the configured source vouches for the clock, `ntp` by the kernel's own word."""
    trusted = settings.clock.source == "vouched" or kernel_synchronised()
    return Site(
        settings.gateway.id,
        settings.gateway.zone,
        clock_trusted=trusted,
        path_alive=settings.bank.enabled,
        power_stale_ms=3 * 1000 * settings.live().instant_s,  # every second instant read is power's turn, and one may be lost
        meter_zone=settings.meter_zone,
        keep_clocks=settings.clock.keep_meters,
    )


def archive_of(settings: Settings, folder: Path) -> Archive:
    """Accounts, meters, tariffs and schemes of the configuration in this folder as the domain knows them. Raises SettingsError."""
    tariffs = tariffs_of(settings.tariff, folder, settings.gateway.zone)
    openings = [_opening(settings, n) for n in range(len(settings.account))]
    return Archive(tariffs, openings, archive_meters(settings), schemes_of(settings))


def _opening(settings: Settings, number: int) -> Opening:
    account = settings.account[number]
    policy, limit = account.policy, account.limit
    credit = CreditPolicy(
        low_micro=parse_signed_money(policy.low, account.currency),
        cut_micro=parse_signed_money(policy.cut, account.currency),
        close_micro=parse_signed_money(policy.close, account.currency),
        close_inclusive=policy.close_inclusive,
        reconnect_direct=policy.reconnect == "close",
        no_cut_hours=policy.no_cut_hours,
    )
    return Opening(
        Account(
            id=account.id,
            holder=account.holder,
            currency=account.currency,
            tariff=account.tariff,
            policy=credit,
            limit=LoadLimit(limit.power_w, limit.delay_s * 1000, limit.pause_s * 1000, limit.recloses) if limit else None,
            agreement=account.agreement,
            never_cut=account.never_cut,
            closed=account.closed,
            terms=account.terms(),
            debt=account.debt.terms(account.currency) if account.debt else None,
        ),
        parse_money(account.opening, account.currency) if account.opening else 0,
        parse_money(account.debt.opening, account.currency) if account.debt else 0,
    )


def archive_meters(settings: Settings) -> list[Meter]:
    """The meters with what their profiles say about register, switch and settling."""
    return [_meter(meter) for meter in settings.meter]


def _meter(meter: MeterSettings) -> Meter:
    reads = profile(meter.profile)
    switch = switch_facts(profile(meter.switch.profile) if meter.switch else reads)
    return Meter(
        id=meter.name,
        line=meter.line,
        address=meter.address,
        protocol=reads.protocol,
        profile=meter.profile,
        account=meter.account,
        point=meter.point or meter.name,
        switch=switch.kind,
        switch_line=meter.switch.line if meter.switch else meter.line,
        feedback=switch.feedback,
        cut_with_account=meter.cut_with_account,
        settle_ms=switch.settle_ms,
        max_power_w=meter.max_power_w,
        count_wh=_billed_wh(count_wh(reads), meter),
        capacity_wh=_billed_wh(rollover_wh(reads) or 0, meter),
        ratio=meter.ratio,
    )


def _billed_wh(wh: int, meter: MeterSettings) -> int:
    """What so much in the meter is in front of its transformers; rounded down, for a ratio that `unfit_ratio` refuses."""
    return int(wh * meter.ratio)


def unfit_ratio(meter: MeterSettings) -> str | None:
    """Why the ratio of this meter's transformers cannot be used. Raises ProfileError."""
    reads = profile(meter.profile)
    if meter.ratio != 1 and values(reads) == "primary":
        return f"profile {reads.name} gives primary values already: ct and pt would count twice"
    if (meter.ratio * count_wh(reads)).denominator != 1:
        return f"ct {meter.ct} and pt {meter.pt} make steps of the register that are no whole Wh"
    if meter.ratio != 1 and "max_power_w" not in meter.model_fields_set:
        return "with ct and pt it needs max_power_w, what can flow in front of the transformers: more would hold its bill"
    return None
