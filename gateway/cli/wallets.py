"""`wattgate wallets`: money in meters, on its way there, and who holds an account's money."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import Asked, ConfigOption, UrlOption, client

verbs = typer.Typer(help="Money in meters: look, switch authority, deliver, take back, decide.", no_args_is_help=True)

AccountArgument = Annotated[str, typer.Argument(help="The account.")]
DeliveryArgument = Annotated[str, typer.Argument(help="The delivery's id, as `wallets deliveries` shows it.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why, for the record.")]


@verbs.command("list")
def list_(config: ConfigOption = None, url: UrlOption = None) -> None:
    """Every meter's wallet as it was last read.

    Example: wattgate wallets list -c gateway.toml
    """
    for it in _listed(client(config, url), "/api/v1/wallets"):
        more = "".join(f"  {it[name]}" for name in ("switching", "trouble") if it[name])
        shown = f"{it['balance']} {it['currency']}, count {it['purchase_count']}, customer {it['customer'] or '-'}"
        print(f"{it['meter']}  {it['account']}  money in the {it['authority']}  {shown}  read {it['read'] or 'never'}{more}")


@verbs.command()
def deliveries(
    account: Annotated[str | None, typer.Option("--account", help="Of this account only.")] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """What is on its way into meters, or was, newest first.

    Example: wattgate wallets deliveries --account A-0001 -c gateway.toml
    """
    query = f"?account={account}" if account else ""
    for it in _listed(client(config, url), f"/api/v1/deliveries{query}"):
        why = f"  {it['reason']}" if it["reason"] else ""
        what = f"{it['act']} {it['amount']} {it['currency']}  {it['state']}  count {it['count'] or '-'}"
        print(f"{it['delivery']}  {it['meter']}  {what}{why}")


@verbs.command()
def switch(
    account: AccountArgument,
    to: Annotated[str, typer.Argument(help="meter, gateway, or keep: end a change that is under way.")],
    reason: ReasonOption,
    how: Annotated[str, typer.Option("--how", help="Out of the meter: refund, or freeze where it stopped counting.")] = "refund",
    customer: Annotated[str, typer.Option("--customer", metavar="N", help="12 digits, for a wallet without one.")] = "",
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Change who holds an account's money; the money goes with it, once.

    Example: wattgate wallets switch A-0001 meter --customer 000000004711 --reason "local cost control" -c gateway.toml
    """
    body = {"to": to, "how": how, "customer": customer, "reason": reason}
    _asked(client(config, url), f"/api/v1/accounts/{account}/authority", account, body)
    print(f"{account}: asked; `wattgate wallets list` shows how far it is")


@verbs.command()
def deliver(account: AccountArgument, reason: ReasonOption, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Send what stands undelivered in the books to the account's meter.

    Example: wattgate wallets deliver A-0001 --reason "the line is repaired" -c gateway.toml
    """
    _asked(client(config, url), f"/api/v1/accounts/{account}/deliver", account, {"reason": reason})
    print(f"{account}: on its way")


@verbs.command()
def withdraw(delivery: DeliveryArgument, reason: ReasonOption, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Take a delivery back: at once where it was never sent, else when the meter was read without it.

    Example: wattgate wallets withdraw delivery-812 --reason "paid for the wrong flat" -c gateway.toml
    """
    _asked(client(config, url), f"/api/v1/deliveries/{delivery}/withdraw", delivery, {"reason": reason})
    print(f"{delivery}: taken back as soon as it is surely not in the meter")


@verbs.command()
def resolve(
    delivery: DeliveryArgument,
    reason: ReasonOption,
    in_meter: Annotated[bool, typer.Option("--in-meter/--not-in-meter", help="What was found at the meter.")],
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Decide an uncertain delivery whose meter cannot be read any more; a second person must approve it.

    Example: wattgate wallets resolve delivery-812 --not-in-meter --reason "read in the workshop" -c gateway.toml
    """
    body = {"in_meter": in_meter, "reason": reason}
    _second(_asked(client(config, url), f"/api/v1/deliveries/{delivery}/resolve", delivery, body), delivery)


@verbs.command()
def accept(
    meter: Annotated[str, typer.Argument(help="The meter.")],
    reason: ReasonOption,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Let the books follow what a meter shows; a second person must approve it.

    Example: wattgate wallets accept bus1-201906040102 --reason "bought by card at the counter" -c gateway.toml
    """
    _second(_asked(client(config, url), f"/api/v1/wallets/{meter}/accept", meter, {"reason": reason}), meter)


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(verbs, name="wallets")


def _second(asked: dict[str, object], what: str) -> None:
    print(f"{what}: {asked['approval']} waits for a second person until {asked['expires']}")


def _asked(gateway: Asked, path: str, what: str, body: object) -> dict[str, object]:
    status, answer = gateway.call("POST", path, body)
    if status not in (200, 202):
        raise Failure(f"{what}: {answer.get('detail') or answer.get('title') or status}")
    return answer


def _listed(gateway: Asked, path: str) -> list[dict[str, object]]:
    status, answer = gateway.call("GET", path)
    found = answer.get("list")
    if status != 200 or not isinstance(found, list):
        raise Failure(str(answer.get("detail") or answer.get("title") or status))
    return found
