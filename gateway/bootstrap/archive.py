"""The configuration in the domain's words: site, accounts, meters, tariffs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gateway.adapters.clock import Clock
from gateway.adapters.profile_facts import count_wh, rollover_wh, switch_facts, values
from gateway.adapters.profiles import profile
from gateway.bootstrap.calendars import calendars_of
from gateway.bootstrap.filings import Merged
from gateway.bootstrap.policies import policies_of, policy_of
from gateway.bootstrap.schemes import schemes_of
from gateway.bootstrap.tariffs import tariffs_of
from gateway.bootstrap.trust import Trust
from gateway.domain.credit import CreditPolicy
from gateway.domain.meters import Account, Authority, Meter
from gateway.domain.trusted_time import TimeSource
from gateway.domain.units import parse_money
from gateway.services.load_archive import Archive, Opening
from gateway.services.ports import Site
from gateway.settings import Account as AccountSettings
from gateway.settings import Meter as MeterSettings
from gateway.settings import Settings
from gateway.settings.limits import limit_of


def site_of(settings: Settings, known: Trust | None = None) -> Site:
    """The site as the use cases know it. known: what speaks for its clock and its ways to pay; None before anything is."""
    trust = replace(known or Trust(lambda: settings, Clock().now_ms), settings=lambda: settings)
    time, paths, look = trust.time(), trust.paths(), trust.look()
    return Site(
        settings.gateway.id,
        settings.gateway.zone,
        clock_trusted=time.trusted,
        path_alive=paths.alive,
        power_stale_ms=3 * 1000 * settings.live().instant_s,  # every second instant read is power's turn, and one may be lost
        meter_zone=settings.meter_zone,
        delivery_deadline_ms=settings.wallets.delivery_deadline_h * 3_600_000,
        wallet_read_ms=settings.wallets.read_min * 60_000,
        keep_clocks=settings.clock.keep_meters and time.by is not TimeSource.METERS,  # they cannot vouch for what they took from us
        budgets=settings.limits.budgets,
        one_person=settings.limits.approval == "delayed",
        boot=look.boot,
        steady_ms=look.steady_ms,
        clock_why=time.why,
        path_why=paths.why,
        ask_clocks=TimeSource.METERS in trust.time_terms().sources,
        banks={partner.id: partner.terms(settings.bank.zone) for partner in settings.bank.partner},
    )


def archive_of(settings: Settings, folder: Path, beside: Merged | None = None) -> Archive:
    """Accounts, meters, tariffs and schemes of the configuration in this folder as the domain knows them. Raises SettingsError.

    beside: which of them stand in the file, where not all do.
    """
    tariffs = tariffs_of(settings.tariff, folder, settings.gateway.zone)
    policies = policies_of(settings)
    openings = [
        _opening(account, policy_of(account, policies), settings, _filed(account.id, beside)) for account in settings.account
    ]
    calendars = calendars_of(settings.no_cut_calendar, folder, settings.gateway.zone)
    meters = [meter_of(meter, filed=beside is None or meter.name in beside.filed_meters) for meter in settings.meter]
    return Archive(tariffs, openings, meters, schemes_of(settings), calendars)


def opening_of(settings: Settings, account: AccountSettings, *, filed: bool = True) -> Opening:
    """One account with what it opens with."""
    return _opening(account, policy_of(account, policies_of(settings)), settings, filed)


def _filed(account: str, beside: Merged | None) -> bool:
    return beside is None or account in beside.filed_accounts


def _opening(account: AccountSettings, policy: CreditPolicy, settings: Settings, filed: bool) -> Opening:
    return Opening(
        Account(
            id=account.id,
            holder=account.holder,
            currency=account.currency,
            tariff=account.tariff,
            policy=policy,
            limit=limit_of(account.limit, settings.load_policy),
            agreement=account.agreement,
            never_cut=account.never_cut,
            closed=account.closed,
            terms=account.terms(),
            debt=account.debt.terms(account.currency) if account.debt else None,
            authority=Authority(account.authority),
            reach=account.reach(),
            filed=filed,
        ),
        parse_money(account.opening, account.currency) if account.opening else 0,
        parse_money(account.debt.opening, account.currency) if account.debt else 0,
        account.customer or "",
    )


def archive_meters(settings: Settings) -> list[Meter]:
    """The meters with what their profiles say about register, switch and settling."""
    return [meter_of(meter) for meter in settings.meter]


def meter_of(meter: MeterSettings, *, filed: bool = True) -> Meter:
    """One meter with what its profile says. Raises ProfileError."""
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
        filed=filed,
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
