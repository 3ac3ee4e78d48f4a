"""The way to the broker as the settings say: where it is, what secures it, and what the outbox keeps to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gateway.adapters.certificates import days_left, problems
from gateway.adapters.mqtt_broker import Broker, Tls
from gateway.entrypoints.outbox_loop import Bounds
from gateway.services.thin_outbox import OutboxBounds
from gateway.settings import Settings, SettingsError, secret_file
from gateway.settings.uplink import Mqtt

MIB = 1024 * 1024

_VERSIONS = {"5": 5, "3.1.1": 4, None: None}


def tls_of(mqtt: Mqtt, folder: Path) -> Tls | None:
    """The files that secure the connection, None where it is not."""
    if not mqtt.secured:
        return None
    return Tls(*(None if name is None else folder / name for name in (mqtt.ca, mqtt.cert, mqtt.key)))


def broker_of(mqtt: Mqtt, folder: Path) -> Broker:
    """Where the broker is. SettingsError: its password cannot be had."""
    password = None if mqtt.password_file is None else secret_file(folder / mqtt.password_file)
    return Broker(mqtt.host, mqtt.port_number, mqtt.username, password, _VERSIONS[mqtt.version], tls_of(mqtt, folder))


def examine_transport(settings: Settings, folder: Path, now_ms: int) -> list[str]:
    """What is wrong with the broker's secrets."""
    if settings.mqtt is None:
        return []
    try:
        tls = broker_of(settings.mqtt, folder).tls
    except SettingsError as problem:
        return problem.errors
    return [] if tls is None else problems(tls, settings.gateway.id, now_ms)


def send_bounds(settings: Settings) -> Bounds:
    """What the loop that empties the outbox keeps to."""
    return Bounds(drain_per_s=settings.uplink.drain_per_s, ahead=settings.uplink.ahead)


def keep_bounds(settings: Settings) -> OutboxBounds:
    """What the outbox may take on disk."""
    uplink = settings.uplink
    return OutboxBounds(uplink.most_rows, uplink.most_mib * MIB, uplink.thin_after_days)


def certificate_days(tls: Tls, now_ms: Callable[[], int]) -> Callable[[], Mapping[str, int]]:
    """Whole days that each certificate is still good, asked at the moment."""
    return lambda: days_left(tls, now_ms())
