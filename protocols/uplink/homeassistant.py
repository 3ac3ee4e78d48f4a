"""Home Assistant over MQTT: one retained discovery message for each meter as a device, its states, and what its switch asks.

Device discovery (Home Assistant 2024.12 and later), the integrations `mqtt`, `sensor.mqtt`, `switch.mqtt` of its documentation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protocols.errors import ProtocolError, RequestError
from protocols.uplink import topics as native
from protocols.uplink.topics import valid_id

ONLINE, OFFLINE = "online", "offline"
ON, OFF = "ON", "OFF"
CREDIT_STATES = ("normal", "low", "very_low", "emergency", "exhausted", "cut")
SUPPLY_STATES = ("closed", "open", "allowed", "unknown")

Component = dict[str, object]

_PHASES = {"a": "L1", "b": "L2", "c": "L3", "n": "N"}
_ENERGY = {"device_class": "energy", "state_class": "total_increasing", "unit_of_measurement": "kWh"}
_CLASSES = {
    "voltage": {"device_class": "voltage", "state_class": "measurement", "unit_of_measurement": "V"},
    "current": {"device_class": "current", "state_class": "measurement", "unit_of_measurement": "A"},
    "power": {"device_class": "power", "state_class": "measurement", "unit_of_measurement": "kW"},
}
_FIXED: Mapping[str, Component] = {
    "energy_import": {"name": "Energy", **_ENERGY},
    "power": {"name": "Power", **_CLASSES["power"]},
    "power_factor": {"name": "Power factor", "device_class": "power_factor", "state_class": "measurement"},
    "frequency": {
        "name": "Frequency",
        "device_class": "frequency",
        "state_class": "measurement",
        "unit_of_measurement": "Hz",
        "entity_category": "diagnostic",
    },
}


class BadOrder(ProtocolError):
    """What came on a command topic and asks for nothing we know; one sentence."""


@dataclass(frozen=True, slots=True)
class Device:
    """A meter as Home Assistant is to see it. quantities: those it shows, by contract name. currency: None where nobody pays.

    switch: its supply can be cut. commands: orders are taken from Home Assistant.
    """

    meter: str
    model: str
    serial: str
    quantities: Sequence[str]
    currency: str | None
    switch: bool
    commands: bool


@dataclass(frozen=True, slots=True)
class Topics:
    """Where one gateway talks with Home Assistant. prefix: Home Assistant's discovery prefix. RequestError for what is no topic."""

    gateway: str
    prefix: str = "homeassistant"

    def __post_init__(self) -> None:
        native.Topics(self.prefix).status(self.gateway)  # is particular about both

    @property
    def birth(self) -> str:
        """Home Assistant's own state."""
        return f"{self.prefix}/status"

    @property
    def status(self) -> str:
        """Ours; also the will."""
        return f"{self._root}/status"

    @property
    def all_orders(self) -> str:
        """Filter of what its switches ask."""
        return f"{self._root}/+/relay/set"

    @property
    def all_discovered(self) -> str:
        """Filter of what we ever announced: what is retained there of a meter that has gone must be taken away."""
        return f"{self._discovery}/+/config"

    def config(self, meter: str) -> str:
        """Where a meter is announced; an empty message there removes it."""
        return f"{self._discovery}/{_checked(meter)}/config"

    def state(self, meter: str) -> str:
        """All values of a meter in one message."""
        return f"{self._root}/{_checked(meter)}/state"

    def order(self, meter: str) -> str:
        """What became of the last order."""
        return f"{self._root}/{_checked(meter)}/order"

    def availability(self, meter: str) -> str:
        """Whether the meter answers."""
        return f"{self._root}/{_checked(meter)}/availability"

    def retained(self, meter: str) -> tuple[str, ...]:
        """All that stands at the broker for a meter, what announces it first."""
        return self.config(meter), self.state(meter), self.order(meter), self.availability(meter)

    def discovered(self, topic: str) -> str | None:
        """The meter that is announced on this topic."""
        head, _, rest = topic.partition(f"{self._discovery}/")
        meter, _, last = rest.partition("/")
        return meter if not head and last == "config" and valid_id(meter) else None

    def ordered(self, topic: str) -> str | None:
        """The meter whose switch asks on this topic."""
        head, _, rest = topic.partition(f"{self._root}/")
        meter, _, last = rest.partition("/")
        return meter if not head and last == "relay/set" and valid_id(meter) else None

    @property
    def _root(self) -> str:
        return f"wattgate/homeassistant/{self.gateway}"

    @property
    def _discovery(self) -> str:
        return f"{self.prefix}/device/wattgate_{self.gateway}"


def discovery(topics: Topics, device: Device, version: str) -> bytes:
    """What announces a meter with all its entities. Shared parts stand once, which qos is not; `unique_id` is the same for ever."""
    name = f"wattgate.{topics.gateway}.{_checked(device.meter)}"
    entities = _entities(topics, device)
    document: Component = {
        "device": {
            "identifiers": [name],
            "name": f"Meter {device.meter}",
            "model": device.model,
            "serial_number": device.serial,
            "manufacturer": "wattgate",
        },
        "origin": {"name": "wattgate", "sw_version": version},
        "availability": [{"topic": topics.status}, {"topic": topics.availability(device.meter)}],
        "availability_mode": "all",
        "state_topic": topics.state(device.meter),
        "components": {
            key: {**entity, "unique_id": f"{name}.{key}", "qos": 1} if len(entity) > 1 else entity
            for key, entity in entities.items()
        },
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def state(values: Mapping[str, str | None]) -> bytes:
    """The values of a meter by the names of `discovery`; None is shown as unknown."""
    return json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()


def shown(quantity: str) -> bool:
    """Whether Home Assistant gets an entity for this quantity."""
    return _sensor(quantity) is not None


def relay_state(supply: str) -> str | None:
    """What the switch shows: a supply that is merely allowed is still off, and None is unknown."""
    return {"closed": ON, "open": OFF, "allowed": OFF}.get(supply)


def parse_order(payload: bytes) -> bool:
    """Whether the switch is to be on. BadOrder for anything but ON and OFF."""
    if payload not in (ON.encode(), OFF.encode()):
        raise BadOrder(f"a switch asks for {ON} or {OFF}, not for {payload[:40]!r}")
    return payload == ON.encode()


def _entities(topics: Topics, device: Device) -> dict[str, Component]:
    entities = {name: sensor for name in device.quantities if (sensor := _sensor(name)) is not None}
    if device.currency is not None:
        entities["balance"] = {"name": "Balance", "device_class": "monetary", "unit_of_measurement": device.currency}
        entities["credit"] = {"name": "Credit", "device_class": "enum", "options": list(CREDIT_STATES)}
    for key, entity in entities.items():
        entity |= {"platform": "sensor", "value_template": f"{{{{ value_json.{key} }}}}"}
    if device.switch:
        entities |= _supply(topics, device)
    return entities


def _supply(topics: Topics, device: Device) -> dict[str, Component]:
    """The supply as it was read back, the last order, and the switch: it never shows what was only ordered."""
    order = topics.order(device.meter)
    switch: Component = {"platform": "switch"}  # with nothing else it is taken away, where it was announced before
    if device.commands:
        switch |= {
            "name": "Relay",
            "command_topic": f"{topics.state(device.meter).removesuffix('state')}relay/set",
            "value_template": "{{ value_json.relay }}",
            "payload_on": ON,
            "payload_off": OFF,
            "optimistic": False,
            "retain": False,
        }
    return {
        "supply": {
            "platform": "sensor",
            "name": "Supply",
            "device_class": "enum",
            "options": list(SUPPLY_STATES),
            "value_template": "{{ value_json.supply }}",
        },
        "order": {
            "platform": "sensor",
            "name": "Last order",
            "entity_category": "diagnostic",
            "state_topic": order,
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": order,
        },
        "relay": switch,
    }


def _sensor(quantity: str) -> Component | None:
    """What a quantity looks like; None for what nobody wants to see at home."""
    if quantity in _FIXED:
        return dict(_FIXED[quantity])
    if quantity.startswith("energy_import_t"):
        return {"name": f"Energy rate {quantity.removeprefix('energy_import_t')}", **_ENERGY}
    kind, _, phase = quantity.partition("_")
    if kind in _CLASSES and phase in _PHASES:
        return {"name": f"{kind.capitalize()} {_PHASES[phase]}", **_CLASSES[kind]}
    return None


def _checked(meter: str) -> str:
    if not valid_id(meter):
        raise RequestError(f"{meter!r} is no id of a meter")
    return meter
