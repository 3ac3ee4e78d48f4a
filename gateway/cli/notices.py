"""`wattgate notices`: what customers were told, what reached nobody, and a person's word that it was delivered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

import typer

from gateway.cli.answers import Failure, settings_of
from gateway.cli.gateway_client import ConfigOption, UrlOption, client
from gateway.domain.notices import BY_PERSON, Answer, masked
from gateway.settings import SettingsError

verbs = typer.Typer(help="What customers were told, and what reached nobody.", no_args_is_help=True)

SinceOption = Annotated[int, typer.Option("--days", min=1, max=400, help="How many days back.")]
COLUMNS = ("number", "created", "account", "step", "channel", "to", "state", "tries", "detail")
CHANNELS = ", ".join(sorted(BY_PERSON))


@verbs.command("list")
def list_(
    days: SinceOption = 1,
    account: Annotated[str | None, typer.Option("--account", help="Only of this account.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="queued, accepted, delivered or failed.")] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """The newest notices, newest first.

    Example: wattgate notices list --account A-0001 --days 7 -c gateway.toml
    """
    wanted = {"since": _since(days), "limit": "1000", "account": account, "state": state}
    answer = _asked(config, url, "/api/v1/notices?" + urlencode({key: value for key, value in wanted.items() if value}))
    _show(_rows(answer["list"]))


@verbs.command()
def failed(days: SinceOption = 1, config: ConfigOption = None, url: UrlOption = None) -> None:
    """The list of the day: notices that reached nobody, and contacts that their providers refuse. Exit code 1 if there are any.

    Example: wattgate notices failed -c gateway.toml
    """
    answer = _asked(config, url, "/api/v1/notices/failed?" + urlencode({"since": _since(days)}))
    lost, bad = _rows(answer["failed"]), _rows(answer["bad_contacts"])
    if not lost and not bad:
        print("every notice has arrived or is on its way")
        return
    _show(lost)
    for contact in bad:
        print(f"bad contact: account {contact['account']}, {contact['channel']} {contact['to']}")
    raise Failure(f"{len(lost)} notices reached nobody, {len(bad)} contacts are bad")


@verbs.command()
def confirm(
    number: Annotated[int | None, typer.Argument(min=1, help="The notice, if it waits for a person.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Whose customer was told, with --step and --channel.")] = None,
    step: Annotated[str | None, typer.Option("--step", help="The step of the ladder.")] = None,
    channel: Annotated[str, typer.Option("--channel", help=f"How: {CHANNELS}.")] = "paper",
    note: Annotated[str, typer.Option("--note", help="How, for the record.")] = "",
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Say that a customer was told by hand: a notice by its number, or a step of an account's ladder.

    Example: wattgate notices confirm --account A-0001 --step exhausted --channel paper --note "to the tenant" -c gateway.toml
    """
    if (number is None) == (account is None) or (account is None) != (step is None):
        raise Failure("name either the number of a notice, or --account and --step", 2)
    gateway = client(config, url)
    if number is not None:
        status, answer = gateway.call("POST", f"/api/v1/notices/{number}/confirm", {"note": note})
    else:
        body = {"step": step, "channel": channel, "note": note}
        status, answer = gateway.call("POST", f"/api/v1/accounts/{account}/notices/confirm", body)
    if status != 200:
        raise Failure(f"not confirmed: {answer.get('detail') or answer.get('title') or status}")
    print(f"notice {answer['number']} ({answer['step']}) of {answer['account']}: {answer['detail']}")


@verbs.command()
def test(
    channel: Annotated[str, typer.Argument(help="The channel.")],
    to: Annotated[str, typer.Argument(help="The address.")],
    config: ConfigOption,
    language: Annotated[str, typer.Option("--language", help="Of the text: en or zh.")] = "en",
) -> None:
    """Send a test text on a channel, by this process itself; a running gateway is not asked.

    Example: wattgate notices test sms +8613800138000 -c gateway.toml
    """
    if config is None:
        raise Failure("name a configuration: -c FILE", 2)
    from gateway.bootstrap import notices  # everything heavy is loaded only by those who send

    settings = settings_of(config)
    try:
        trying = notices.try_channel(settings, config.resolve().parent, channel, to, language, time.time_ns() // 1_000_000)
        verdict = asyncio.run(trying)
    except SettingsError as problem:
        raise Failure(problem.errors) from None
    except LookupError as unknown:
        raise Failure(str(unknown.args[0])) from None
    if verdict.answer is not Answer.ACCEPTED:
        raise Failure(f"{channel} did not take it: {verdict.detail}")
    print(f"{channel} accepted it for {masked(to)}")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(verbs, name="notices")


def _since(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="seconds")


def _asked(config: ConfigOption, url: UrlOption, path: str) -> dict[str, object]:
    status, answer = client(config, url).call("GET", path)
    if status != 200:
        raise Failure(f"the gateway did not say: {answer.get('detail') or answer.get('title') or status}")
    return answer


def _rows(value: object) -> Sequence[dict[str, object]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _show(rows: Sequence[dict[str, object]]) -> None:
    lines = [COLUMNS, *(tuple(str(row.get(column) or "") for column in COLUMNS) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
