"""The demo in a terminal: meters, lines and the last events, redrawn as they change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich import box
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

Json = Mapping[str, object]

EVENTS = 8
"""The last events that fit below the meters."""

CONTACT_STYLES = {"closed": "green", "open": "bold red", "allowed": "yellow", "unknown": "dim"}
STATE_STYLES = {"normal": "green", "low": "yellow", "exhausted": "red", "cut": "bold red"}


@dataclass(slots=True)
class Picture:
    """What was last heard of the gateway."""

    meters: Sequence[Json] = ()
    accounts: Mapping[str, Json] = field(default_factory=dict)
    lines: Sequence[Json] = ()
    events: Sequence[Json] = ()
    outbox: Json = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def draw(picture: Picture, url: str) -> Group:
    """Everything, for rich's live display."""
    head = Text.assemble(("wattgate demo ", "bold"), (url, "underline cyan"), "  ", _outbox(picture.outbox), "   Ctrl-C ends it")
    return Group(head, _meters(picture), _lines(picture.lines), _events(picture))


def _outbox(outbox: Json) -> str:
    if not outbox:
        return ""
    return f"uplink: {outbox.get('acknowledged', 0)} acknowledged, {outbox.get('waiting', 0)} on their way"


def _meters(picture: Picture) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    for name in ("meter", "line"):
        table.add_column(name, no_wrap=True)
    for name in ("V", "kW", "kWh", "balance"):
        table.add_column(name, justify="right", no_wrap=True)
    for name in ("credit", "relay", "read"):
        table.add_column(name, no_wrap=True)
    now = datetime.now(UTC)
    for meter in sorted(picture.meters, key=lambda meter: _rank(meter, picture)):
        items = _items(meter)
        account = picture.accounts.get(str(meter["account"]), {})
        relay = meter["relay"]
        assert isinstance(relay, Mapping)
        observed, state = str(relay["observed"]), str(account.get("state", ""))
        contact = observed if relay["desired"] == observed or observed == "unknown" else f"{observed} (wants {relay['desired']})"
        table.add_row(
            str(meter["meter"]),
            str(meter["line"]),
            items.get("voltage_a", ""),
            items.get("power", ""),
            items.get("energy_import", ""),
            f"{account.get('balance', '')} {account.get('currency', '')}",
            Text(state, STATE_STYLES.get(state, "")),
            Text(contact, CONTACT_STYLES.get(observed, "")),
            _age(meter, now),
        )
    return table


def _rank(meter: Json, picture: Picture) -> tuple[int, str]:
    """Those where something happens stand first: a small terminal shows only the first ones."""
    relay, account = meter["relay"], picture.accounts.get(str(meter["account"]), {})
    assert isinstance(relay, Mapping)
    calm = relay["desired"] == "closed" and relay["observed"] in ("closed", "unknown") and account.get("state") == "normal"
    return (1 if calm else 0, str(meter["meter"]))


def _items(meter: Json) -> dict[str, str]:
    last = meter.get("last_reading")
    items = last["items"] if isinstance(last, Mapping) else []
    return {item["quantity"]: item["value"] or "-" for item in items}


def _age(meter: Json, now: datetime) -> str:
    last = meter.get("last_reading")
    if not isinstance(last, Mapping):
        return "-"
    return f"{max(0, int((now - datetime.fromisoformat(str(last['answered']))).total_seconds()))} s"


def _lines(lines: Sequence[Json]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("line", no_wrap=True)
    table.add_column("busy", justify="right")
    table.add_column("", width=24)
    table.add_column("exchanges", justify="right")
    table.add_column("errors")
    for line in lines:
        share = float(str(line["utilisation"]))
        errors = line["errors"]
        assert isinstance(errors, Mapping)
        told = ", ".join(f"{kind} {count}" for kind, count in errors.items()) or "none"
        name = f"{line['line']} ({line['endpoint']})" if line["state"] == "up" else f"{line['line']} ({line['state']})"
        bar = ProgressBar(total=100, completed=int(share * 100), width=24)
        table.add_row(name, f"{share * 100:.0f} %", bar, str(line["exchanges"]), told)
    return table


def _events(picture: Picture) -> Text:
    told = [f"{note}\n" for note in picture.notes[-2:]]
    return Text("".join([*told, *(words(event) + "\n" for event in picture.events[:EVENTS])]), no_wrap=True, overflow="ellipsis")


def words(event: Json) -> str:
    """An event in one line."""
    at = datetime.fromisoformat(str(event["at"])).astimezone()
    where = event.get("meter") or event.get("account") or "gateway"
    data = event["data"]
    assert isinstance(data, Mapping)
    told = ", ".join(f"{key} {_plain(value)}" for key, value in data.items() if value not in (None, "", []))
    return f"{at:%H:%M:%S} {where}: {str(event['kind']).replace('_', ' ')}" + (f" ({told})" if told else "")


def _plain(value: object) -> str:
    return " + ".join(map(str, value)) if isinstance(value, list) else str(value)
