"""The configuration in the domain's words: site, accounts, meters, tariffs."""

from __future__ import annotations

from gateway.adapters.clock import kernel_synchronised
from gateway.adapters.profiles import profile
from gateway.domain.credit import CreditPolicy
from gateway.domain.limits import LoadLimit
from gateway.domain.meters import Account, Meter, SwitchKind
from gateway.domain.tariffs import Tariff
from gateway.domain.units import parse_money, parse_signed_money
from gateway.services.load_archive import Archive, Opening
from gateway.services.ports import Site
from gateway.settings import Meter as MeterSettings
from gateway.settings import Settings
from protocols.profiles import CoilSwitch, InternalSwitch, MeterProfile


def site_of(settings: Settings) -> Site:
    """The site as the use cases know it. F3: the configured source vouches for the clock, `ntp` by the kernel's own word."""
    trusted = settings.clock.source == "vouched" or kernel_synchronised()
    return Site(settings.gateway.id, settings.gateway.zone, clock_trusted=trusted, path_alive=settings.bank.enabled)


def archive_of(settings: Settings) -> Archive:
    """Accounts, meters and tariffs of the configuration as the domain knows them."""
    tariffs = [Tariff(t.id, t.currency, t.prices()) for t in settings.tariff]
    return Archive(tariffs, [_opening(settings, n) for n in range(len(settings.account))], archive_meters(settings))


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
        ),
        parse_money(account.opening, account.currency) if account.opening else 0,
    )


def archive_meters(settings: Settings) -> list[Meter]:
    """The meters with what their profiles say about register, switch and settling."""
    return [_meter(meter) for meter in settings.meter]


def _meter(meter: MeterSettings) -> Meter:
    reads = profile(meter.profile)
    kind, feedback, settle_s = _switch(profile(meter.switch.profile) if meter.switch else reads)
    return Meter(
        id=meter.name,
        line=meter.line,
        address=meter.address,
        protocol=reads.protocol,
        profile=meter.profile,
        account=meter.account,
        point=meter.point or meter.name,
        switch=kind,
        switch_line=meter.switch.line if meter.switch else meter.line,
        feedback=feedback,
        cut_with_account=meter.cut_with_account,
        settle_ms=settle_s * 1000,
        max_power_w=meter.max_power_w,
        count_wh=_count_wh(reads),
    )


def _switch(device: MeterProfile) -> tuple[SwitchKind, bool, int]:
    """What cuts, whether it can be read back, and how long it takes to settle, in s."""
    if isinstance(device.switch, InternalSwitch):
        return SwitchKind.INTERNAL, True, device.switch.settle_s
    if isinstance(device.switch, CoilSwitch):
        return SwitchKind.CONTACTOR, device.switch.feedback is not None, device.switch.settle_s
    if device.switch is not None:
        return SwitchKind.EXTERNAL_AUTO, False, device.switch.settle_s
    return SwitchKind.NONE, False, 4


def _count_wh(reads: MeterProfile) -> int:
    """One step of the total import register in Wh: 10 for DL/T 645 (XXXXXX.XX kWh), else as the profile says."""
    registers = reads.modbus.registers if reads.modbus else ()
    for register in registers:
        if register.quantity == "energy_import":
            step = register.type.resolution or register.type.scale
            return max(1, int(step.scaleb(3)))
    return 10
