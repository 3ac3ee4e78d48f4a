"""What changes a meter: writes (14), address, password, freezes, resets, clearances (15 to 1B) and orders of supply (1C)."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from firmware_sim.clockwork import local, local_us
from firmware_sim.dlt645 import freezes, parameter_io, reads, sampling
from firmware_sim.loads import DAY_US
from protocols.dlt645 import codes
from protocols.dlt645.codes import ControlError, ControlWord, Err
from protocols.dlt645.frames import BROADCAST
from protocols.dlt645.master import Action
from protocols.dlt645.slave import (
    ChangePasswordRequest,
    ControlRequest,
    DemandResetRequest,
    EventClearRequest,
    FreezeRequest,
    MeterClearRequest,
    SealedControlRequest,
    WriteAddressRequest,
    WriteRequest,
)
from protocols.dlt645.values import decode_second

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

SYNC_WINDOW_US = 300_000_000  # 08 corrects five minutes at most
METER_CLEARED, DEMAND_RESET, EVENTS_CLEARED = "033001", "033002", "033003"
ACTS = ("0330", "0335")
MAX_LEVEL = 9


def write(device: Device, request: WriteRequest, half: bool = False) -> Err:
    """Obey 14. half: only the first half of the new bytes gets into the meter, which then refuses (a broken part)."""
    profile = device.options.profile
    item = profile.describe(request.di)
    data = request.data
    if request.level in (codes.PA_SEALED, codes.PA_CHECKED):
        opened = _unsealed(device, request)
        if opened is None:
            return Err.PASSWORD
        data = opened
    elif not _may(device, codes.WRITE, request.level, request.password) or request.di in profile.class_1:
        return Err.PASSWORD
    if item is None or item.cut(data) is None:
        return Err.NO_DATA if item is None else Err.OTHER
    if half and (old := reads.read(device, request.di)) and len(old) == len(data):
        parameter_io.write(device, request.di, data[: len(data) // 2] + old[len(data) // 2 :], item, request.operator)
        return Err.OTHER
    return parameter_io.write(device, request.di, data, item, request.operator)


def _unsealed(device: Device, request: WriteRequest) -> bytes | None:
    """PA 98 and 99: an authentication must hold and the MAC must be right; no key is pressed for it."""
    if request.secured is None or not device.session.valid or device.session.suspended:
        return None
    data, mac = request.secured
    if request.level == codes.PA_SEALED:
        return device.session.unseal(device.address, request.di, data, mac)
    return data if device.session.accepts(device.address, request.di, data, mac) else None


def write_address(device: Device, request: WriteAddressRequest) -> bool:
    """Obey 15: nobody is asked for a password; the programming key is needed where the meter has one. False: silence."""
    if not request.new.isdecimal() or request.new == BROADCAST or not device.access.programming:
        return False
    device.address = request.new
    return True


def change_password(device: Device, request: ChangePasswordRequest) -> Err:
    """Obey 18 with the password of the same or a higher level."""
    if request.di != f"04000C{request.level + 1:02X}" or request.level > MAX_LEVEL or not request.password.isdecimal():
        return Err.NO_DATA
    if not device.access.programming or not device.access.admits(request.old_level, request.old, request.level):
        return Err.PASSWORD
    device.access.passwords[request.level] = request.password
    device.log.add(parameter_io.PROGRAMMING, {"at": device.stamp(), "operator": "00000000", "identifier_1": request.di})
    return Err(0)


def freeze(device: Device, request: FreezeRequest) -> Err:
    """Obey 16: now, or from now on every hour, day or month."""
    when = request.when
    if when is None:
        return Err.OTHER
    if when.minute is None:
        device.freezes.take(freezes.INSTANT, device.meter.clock_us)
    else:
        device.freezes.timed = when
        device.freezes.version += 1
        device.clockwork.rewind()
    return Err(0)


def demand_reset(device: Device, request: DemandResetRequest) -> Err:
    """Obey 19."""
    if not _may(device, codes.DEMAND_RESET, request.level, request.password):
        return Err.PASSWORD
    reset_demand(device, request.operator)
    return Err(0)


def reset_demand(device: Device, operator: str) -> None:
    """The maxima begin anew; the record keeps what they were."""
    device.log.add(DEMAND_RESET, {"at": device.stamp(), "operator": operator} | sampling.maxima(device))
    device.demand.reset()


def meter_clear(device: Device, request: MeterClearRequest) -> Err:
    """Obey 1A: registers, maxima, freezes, records and events, but for the record of this clearing."""
    if not _may(device, codes.METER_CLEAR, request.level, request.password):
        return Err.PASSWORD
    record = {"at": device.stamp(), "operator": request.operator} | sampling.directions(device, phases=True)
    device.meter.registers.clear()
    device.demand.reset()
    device.settlement.clear()
    device.freezes.clear()
    device.curves.clear()
    device.log.clear(keep=(METER_CLEARED,))
    device.log.add(METER_CLEARED, record)
    if device.billing:
        device.billing.begin()
    return Err(0)


def event_clear(device: Device, request: EventClearRequest) -> Err:
    """Obey 1B: all events, or one kind; the records of clearings cannot be cleared."""
    if not _may(device, codes.EVENT_CLEAR, request.level, request.password):
        return Err.PASSWORD
    if request.di is not None and not (request.di.startswith(("03", "1D", "1E")) and request.di.endswith("FF")):
        return Err.NO_DATA
    device.log.clear(_kinds(request.di), keep=(METER_CLEARED, EVENTS_CLEARED))
    record = {"at": device.stamp(), "operator": request.operator, "identifier": request.di or "FFFFFFFF"}
    device.log.add(EVENTS_CLEARED, record)
    return Err(0)


def _kinds(di: str | None) -> str:
    """With which digits the kinds begin that an identifier names: events by phase are cleared for all phases."""
    if di is None:
        return ""
    if not di.startswith("03"):
        return di[:2]
    return di[:6] if di.startswith(ACTS) else di[:4]


def control(device: Device, request: ControlRequest) -> ControlError | ControlWord:
    """Obey 1C in plain text. A refusal is a ControlError (0: no bit of its own)."""
    if not device.access.admits(request.level, request.password, device.options.control_level):
        return ControlError.PASSWORD
    profile = device.options.profile
    if request.code in set(Action) and Action(request.code) not in profile.plain_actions:
        return ControlError.PASSWORD
    zero = not any(request.expiry_raw)
    if not (zero and profile.zero_expiry) and _passed(device, request.expiry):
        return ControlError.EXPIRY
    return device.gear.order(request.code, request.n2, request.operator)


def sealed_control(device: Device, request: SealedControlRequest) -> ControlError | ControlWord:
    """Obey 1C under PA 98: authentication, MAC, expiry, then the order."""
    if device.session.suspended:
        return ControlError.SUSPENDED
    if not device.session.valid:
        return ControlError.NOT_AUTHENTICATED
    plain = device.session.unseal(device.address, "1C", request.cipher, request.mac)
    if plain is None or len(plain) != 8:
        return ControlError.MAC
    if _passed(device, decode_second(plain[2:])):
        return ControlError.EXPIRY
    return device.gear.order(plain[0], plain[1], request.operator)


def set_time(device: Device, wanted: datetime | None) -> bool:
    """Obey broadcast 08: within five minutes, once a day, not around midnight. False: ignored."""
    if wanted is None:
        return False
    clock_us = device.meter.clock_us
    day, into_us = divmod(clock_us, DAY_US)
    beside_midnight = min(into_us, DAY_US - into_us) < SYNC_WINDOW_US
    if abs(local_us(wanted) - clock_us) > SYNC_WINDOW_US or beside_midnight or day == device.synced_day:
        return False
    device.synced_day = day
    device.meter.set_clock(local_us(wanted))
    return True


def _passed(device: Device, expiry: datetime | None) -> bool:
    return expiry is None or expiry < local(device.meter.clock_us)


def _may(device: Device, function: int, level: int, password: str) -> bool:
    """The password is right, its level is high enough, and the key has been pressed where one is needed."""
    return device.access.admits(level, password, codes.LEAST_LEVEL[function]) and device.access.programming
