"""The whole truth about one meter, as JSON: physics, money, tampering and what it has been told (contract 8)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from firmware_sim.dlt645.device import Device
from firmware_sim.registers import FORWARD, REVERSE
from firmware_sim.relay import Move
from firmware_sim.station import Frame, Station
from firmware_sim.wallet import Wallet

Json = dict[str, object]
Unix = Callable[[int], int]
"""Monotonic us -> us since 1970."""


def tell(station: Station, unix_us: Unix, frames: bool) -> Json:
    """Everything about a meter that has been advanced to this moment."""
    meter, relay = station.meter, station.meter.relay
    truth: Json = {
        "id": station.name,
        "model": station.model,
        "line": station.line,
        "address": station.address,
        "at_us": unix_us(meter.now_us),
        "energy_mws": meter.total_mws,
        "drawn_mws": meter.drawn_mws,
        "reverse_mws": meter.registers.grains(REVERSE) // 10**9,
        "registers": _registers(station),
        "rate": meter.rate,
        "contact": position(relay.contact_closed),
        "reported": position(relay.reported_closed),
        "command": position(relay.order_closed),
        "allowed": relay.allowed,
        "protect": meter.protect,
        "alarm": meter.alarm,
        "mains": meter.mains,
        "awake": meter.awake,
        "power_w": meter.power_mw / 1000,
        "load_w": meter.wanted.power_mw / 1000,
        "measured_w": meter.flow.total_mw / 1000,
        "voltage_v": [meter.voltage_mv(phase) / 1000 for phase in range(meter.spec.phases)],
        "current_a": [meter.current_ma(phase) / 1000 for phase in range(meter.spec.phases)],
        "power_factor": meter.pf_milli / 1000,
        "clock": datetime.fromtimestamp(meter.clock_us // 1_000_000, UTC).replace(tzinfo=None).isoformat(),
        "clock_offset_s": meter.clock_offset_us / 1_000_000,
        "refused_passwords": meter.refused_passwords,
        "wallet": None,
        "cover": "open" if station.covers["cover"] else "closed",
        "terminal_cover": "open" if station.covers["terminal"] else "closed",
        "magnet": station.magnet,
        "faults": station.faults.active,
        "contact_move_count": relay.move_count,
        "contact_moves": [_move(move, unix_us) for move in relay.moves],
    }
    if station.device:
        truth |= _of_device(station.device, unix_us)
    return truth | {"frames": [_frame(frame, unix_us) for frame in station.frames]} if frames else truth


def _registers(station: Station) -> Json:
    rows = station.meter.registers
    return {"total": kwh(rows.count(FORWARD)), **{f"t{n}": kwh(rows.count(FORWARD, n)) for n in range(1, rows.rates + 1)}}


def _of_device(device: Device, unix_us: Unix) -> Json:
    waiting, returning = device.gear.waiting, device.gear.returning
    return {
        "wallet": _wallet(device.wallet, "kWh" if device.in_kwh else "money") if device.wallet else None,
        "cut_cause": device.gear.cause,
        "latest_order": f"{device.gear.latest:02X}",
        "trip_due_us": unix_us(waiting.due_us) if waiting else None,
        "restore_due_us": unix_us(returning.due_us) if returning else None,
        "password_locked_s": device.access.locked_us / 1_000_000,
        "authenticated": device.session.valid,
        "security": device.session.module.label,
        "baud": device.baud,
        "events": device.log.counts(),
        "freezes": {str(kind): depth for kind in range(8) if (depth := device.freezes.depth(kind))},
        "load_records": len(device.curves.ring),
    }


def _wallet(wallet: Wallet, unit: str) -> Json:
    remaining, overdraft = wallet.shown_fen
    return {
        "unit": unit,
        "balance": str(Decimal(wallet.balance_micro).scaleb(-6)),
        "remaining": _yuan(remaining),
        "overdraft": _yuan(overdraft),
        "credit": wallet.credit.name.lower(),
        "opened": wallet.opened,
        "customer": wallet.customer,
        "purchase_count": wallet.count,
        "used_kwh": kwh(wallet.used),
        "reconnectable": wallet.reconnectable,
    }


def _move(move: Move, unix_us: Unix) -> Json:
    return {"at_us": unix_us(move.at_us), "contact": position(move.closed), "energy_mws": move.energy_mws}


def _frame(frame: Frame, unix_us: Unix) -> Json:
    return {"at_us": unix_us(frame.at_us), "direction": frame.direction, "hex": frame.data.hex().upper()}


def kwh(count: int) -> str:
    """A register as the meter shows it: kWh with two decimals, beginning again after 999999.99."""
    whole, cents = divmod(count % 10**8, 100)
    return f"{whole}.{cents:02d}"


def position(closed: bool) -> str:
    """closed or open."""
    return "closed" if closed else "open"


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}"
