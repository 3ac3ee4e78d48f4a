"""`wattgate cut` and `wattgate restore`: order a switch and wait for the proof."""

from __future__ import annotations

import sys
import time
import uuid
from collections.abc import Mapping
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import Asked, ConfigOption, UrlOption, asking

WAIT_S = 90
"""A silent switch is read for ever; a person at a terminal is told after this long that it is still uncertain."""

LOOK_S = 0.5

MeterArgument = Annotated[str, typer.Argument(help="The meter's id.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the record.")]
NO_REASON = "ordered on the command line"


def cut(
    meter: MeterArgument,
    cause: Annotated[
        str, typer.Option("--cause", help="energy_debt, emergency, contract_time_table, demand_response, theft_by_two_people.")
    ],
    reason: ReasonOption = NO_REASON,
    contract: Annotated[str, typer.Option(help="The contract that allows it: demand_response.")] = "",
    event: Annotated[str, typer.Option(help="The event that calls for it: demand_response.")] = "",
    plan: Annotated[str, typer.Option(help="The signed plan: contract_time_table.")] = "",
    danger_to_life: Annotated[
        bool, typer.Option("--danger-to-life", help="An emergency above every protection: two people, on this machine.")
    ] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Cut a meter's supply and wait until its switch was read back open.

    Example: wattgate cut bus1-201906040102 --cause emergency -c gateway.toml
    """
    with asking(config, url) as gateway:
        facts = {name: text for name, text in (("contract", contract), ("event", event), ("plan", plan)) if text}
        body = {"cause": cause, "reason": reason, "facts": facts, "danger_to_life": danger_to_life}
        _order(gateway, meter, "cut", body)


def restore(meter: MeterArgument, reason: ReasonOption = NO_REASON, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Give a meter's supply back and wait until its switch was read back closed, or closing allowed.

    Example: wattgate restore bus1-201906040102 -c gateway.toml
    """
    with asking(config, url) as gateway:
        _order(gateway, meter, "restore", {"cause": "operator", "reason": reason})


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command()(cut)
    app.command()(restore)


def _order(gateway: Asked, meter: str, verb: str, body: Mapping[str, object]) -> None:
    status, answer = gateway.call("POST", f"/api/v1/meters/{meter}/{verb}", {"id": uuid.uuid4().hex, **body})
    if status not in (200, 202):
        raise Failure(f"{verb} of {meter}: {answer.get('detail') or answer.get('title') or status}")
    follow(gateway, meter, verb, str(answer["id"]))


def follow(gateway: Asked, meter: str, verb: str, command: str) -> None:
    """Tell a command's states until it is over. Failure unless it did what was asked."""
    shown = ""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        _, answer = gateway.call("GET", f"/api/v1/commands/{command}")
        state = str(answer["state"])
        if state != shown:
            print(state, file=sys.stderr)
            shown = state
        if answer["final"]:
            return _end(meter, verb, state, answer)
        if state == "quarantined":
            raise Failure(f"{verb} of {meter}: {answer['reason']}; another person's word: wattgate quarantine release {command}")
        time.sleep(LOOK_S)
    goes_on = "waits for the gateway's next start" if gateway.left_over() else "goes on"
    raise Failure(f"{verb} of {meter}: still {shown} after {WAIT_S} s; command {command} {goes_on}")


def follow_left_over(gateway: Asked) -> None:
    """The commands that an act without a running gateway has ordered, each to its end."""
    for meter, verb, command in gateway.left_over():
        follow(gateway, meter, verb, command)


def _end(meter: str, verb: str, state: str, answer: dict[str, object]) -> None:
    evidence = answer.get("evidence") or []
    assert isinstance(evidence, list)
    if state == "acknowledged":
        print("nothing was proved: this switch has no feedback", file=sys.stderr)
    elif state not in ("verified", "allowed"):
        raise Failure(f"{verb} of {meter}: {state}: {answer.get('reason')}")
    print(f"{meter}: {verb} {state} by {', '.join(map(str, evidence)) or 'nothing'}")
