"""`wattgate lines`: how busy each line of a running gateway is, and how its meters answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, cast

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import ConfigOption, UrlOption, client

Json = Mapping[str, object]

LINE_HEAD = ("line", "state", "where", "busy", "exchanges", "errors", "answer", "fail", "silent", "p50", "p95", "waiting (oldest)")
METER_HEAD = ("line", "meter", "reads", "state", "since", "next", "p50", "p95", "learned")


def lines(
    meters: Annotated[bool, typer.Option("--meters", help="Each meter of each line, with what was learned about it.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line instead of a table.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Show how busy each line is, what waits, what went wrong, and how many meters answer.

    Example: wattgate lines --meters -c gateway.toml
    """
    gateway = client(config, url)
    found = _listed(gateway.call("GET", "/api/v1/lines"))
    rows = found
    if meters:
        rows = []
        for line in found:
            of_line = _listed(gateway.call("GET", f"/api/v1/lines/{line['line']}/meters"))
            rows += [{"line": line["line"], **meter} for meter in of_line]
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    now = datetime.now(UTC)
    print(table([METER_HEAD, *(_meter(row, now) for row in rows)] if meters else [LINE_HEAD, *map(row_of, rows)]))


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(lines)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they must be; never cut, since what is looked for may stand at the end."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _listed(answer: tuple[int, Mapping[str, object]]) -> list[Json]:
    status, body = answer
    if status != 200 or not isinstance(body.get("list"), list):
        raise Failure(str(body.get("detail") or f"the gateway answered {status}"))
    return cast(list[Json], body["list"])


def row_of(line: Json) -> tuple[str, ...]:
    """What the table says of a line, under LINE_HEAD."""
    queues = cast(Mapping[str, Json], line["queues"])
    waiting = [f"{name} {q['waiting']} ({_span(_number(q['oldest_ms']) / 1000)})" for name, q in queues.items() if q["waiting"]]
    refused = cast(Mapping[str, int], line["turned_away"])
    errors = sorted(cast(Mapping[str, int], line["errors"]).items())
    errors += [(f"call turned away ({why})", count) for why, count in sorted(refused.items())]
    return (
        str(line["line"]),
        str(line["state"]),
        str(line["endpoint"]),
        f"{round(100 * float(str(line['utilisation'])))} %",
        str(line["exchanges"]),
        ", ".join(f"{kind} {count}" for kind, count in errors) or "-",
        str(line["answering"]),
        str(line["failing"]),
        str(line["silent"]),
        _ms(line["p50_ms"]),
        _ms(line["p95_ms"]),
        ", ".join(waiting) or "-",
    )


def _meter(meter: Json, now: datetime) -> tuple[str, ...]:
    since = (now - datetime.fromisoformat(str(meter["since"]))).total_seconds()
    until = (datetime.fromisoformat(str(meter["next"])) - now).total_seconds()
    failures = f" ({meter['failures']} in vain)" if meter["failures"] else ""
    return (
        str(meter["line"]),
        str(meter["meter"]),
        "+".join(cast(Sequence[str], meter["groups"])),
        f"{meter['state']}{failures}",
        _span(since),
        "now" if until <= 0 else f"in {_span(until)}",
        _ms(meter["p50_ms"]),
        _ms(meter["p95_ms"]),
        _learned(cast(Json, meter["manner"])),
    )


def _learned(manner: Json) -> str:
    """What was learned about a device, in a few words."""
    blocks = cast(Mapping[str, str], manner["blocks"])
    words = [f"waits {manner['timeout_ms']} ms"]
    if manner["preamble"] is not None:
        words.append(f"{manner['preamble']} FE")
    return ", ".join([*words, *(f"{name} {state}" for name, state in blocks.items())])


def _number(value: object) -> float:
    return float(str(value))


def _ms(value: object) -> str:
    return "-" if value is None else f"{value} ms"


def _span(seconds: float) -> str:
    """A length of time in its largest whole unit."""
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0.0, seconds):.0f} s"
