"""`wattgate topup`: a counter clerk books a payment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import ConfigOption, UrlOption, asking
from gateway.cli.supply import follow_left_over


def topup(
    account: Annotated[str, typer.Argument(help="The account.")],
    amount: Annotated[str, typer.Argument(help="Like 50.00.")],
    receipt: Annotated[
        str, typer.Option("--receipt", metavar="NUMBER", help="The counter receipt; the same number is booked once.")
    ],
    currency: Annotated[str, typer.Option(help="The account's currency.")] = "CNY",
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Book a payment taken at the counter, once per receipt number, and say what happens to supply.

    Example: wattgate topup A-0001 50.00 --receipt K-2026-000017 -c gateway.toml
    """
    now = datetime.now(UTC).astimezone()
    body = {
        "serial": receipt,
        "account": account,
        "amount": amount,
        "currency": currency,
        "paid_at": now.isoformat(timespec="seconds"),
        "accounting_date": now.date().isoformat(),
        "channel": "counter",
    }
    with asking(config, url) as gateway:
        status, answer = gateway.call("POST", "/api/v1/topups", body)
        if status not in (200, 201):
            raise Failure(f"not booked: {answer.get('detail') or answer.get('title') or answer.get('code')}")
        booked = answer["receipt"]
        assert isinstance(booked, dict)
        again = " (this receipt was booked before)" if status == 200 else ""
        print(f"{booked['receipt_no']}: {booked['amount']} {booked['currency']} booked to {account}{again}")
        print(f"balance {booked['balance_after']} {booked['currency']}; supply: {booked['next']}", flush=True)
        follow_left_over(gateway)


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(topup)
