"""[[output]]: what is shown to foreign systems beside the native uplink, each over a broker of its own (docs/outputs.md)."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from gateway.settings.uplink import Mqtt
from gateway.settings.words import Id, Table

Prefix = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,3}$")]
Fact = Annotated[str, StringConstraints(min_length=1, max_length=200)]

_BROKER = frozenset({"port", "version", "tls", "ca", "cert", "key", "username", "password_file"})
_CUTS = frozenset({"cut_cause", "contract", "event", "plan"})
_OF_KIND = {"homeassistant": frozenset({"discovery_prefix"}), "sparkplug": frozenset({"group", "primary_host", "typed_data"})}


class Output(Table):
    """kind: in whose words. id: its name where there are several of a kind. host and what goes with it: its broker, where it is not
    that of [mqtt].

    commands: orders to switches are taken from there. cut_cause: under which cause a cut is ordered, without it there is none;
    contract, event, plan: what that cause needs. discovery_prefix: Home Assistant's. group: Sparkplug's group id; primary_host:
    the host application without which nothing is published; typed_data: for hosts that read no value without its type.
    """

    kind: Literal["homeassistant", "sparkplug", "thingsboard"]
    id: Id | None = None
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    version: Literal["5", "3.1.1"] | None = None
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    username: str | None = None
    password_file: str | None = None
    commands: bool = False
    cut_cause: Literal["energy_debt", "contract_time_table", "emergency", "demand_response", "theft_by_two_people"] | None = None
    contract: Fact | None = None
    event: Fact | None = None
    plan: Fact | None = None
    discovery_prefix: Prefix = "homeassistant"
    group: Id = "wattgate"
    primary_host: Id | None = None
    typed_data: bool = False

    @property
    def name(self) -> str:
        """Its id, else its kind."""
        return self.id or self.kind

    @property
    def facts(self) -> dict[str, str]:
        """What the cause of a cut needs, as far as it is given."""
        named = {"contract": self.contract, "event": self.event, "plan": self.plan}
        return {name: text for name, text in named.items() if text}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = self.model_fields_set
        foreign = given & frozenset().union(*(keys for kind, keys in _OF_KIND.items() if kind != self.kind))
        if foreign:
            raise ValueError(f"an output of kind {self.kind} has no {', '.join(sorted(foreign))}")
        if self.host is None and (alone := sorted(given & _BROKER)):
            raise ValueError(f"{', '.join(alone)} belongs to a broker of its own: name its host, or leave it to [mqtt]")
        if not self.commands and (idle := sorted(given & _CUTS)):
            raise ValueError(f"{', '.join(idle)} does nothing without commands = true")
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key belong together: name both, or neither")
        if self.password_file is not None and self.username is None:
            raise ValueError("a password_file needs a username")
        if self.cut_cause == "demand_response" and self.contract is None:
            raise ValueError("cut_cause = demand_response needs the contract that allows it")
        return self


def broker_table(output: Output, mqtt: Mqtt | None) -> Mqtt | None:
    """Where its broker is, as [mqtt] would say it; None where nobody does."""
    return mqtt if output.host is None else Mqtt(**{key: getattr(output, key) for key in ("host", *_BROKER)})


def faults(outputs: Sequence[Output], mqtt: Mqtt | None) -> list[str]:
    """What no table can see alone."""
    errors = [f"output {name}: is there twice" for name, n in sorted(Counter(each.name for each in outputs).items()) if n > 1]
    for output in outputs:
        broker = broker_table(output, mqtt)
        if broker is None:
            errors.append(f"output {output.name}: there is no broker; name a host here or in [mqtt]")
        elif output.commands and not _near(broker.host) and not _safe(broker):
            errors.append(
                f"output {output.name}: takes commands, which are not signed: from a broker that is not on loopback only over TLS "
                "and with a user name or a certificate of ours"
            )
    return errors


def _safe(broker: Mqtt) -> bool:
    return broker.secured and (broker.username is not None or broker.cert is not None)


def _near(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
