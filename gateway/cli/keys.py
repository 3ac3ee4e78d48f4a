"""`wattgate keys`: which keys of the centre may order what."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import ConfigOption, UrlOption, asking

KidArgument = Annotated[str, typer.Argument(metavar="KID", help="The key's id, like centre-1.")]
ListOption = Annotated[
    list[str] | None, typer.Option(help="May be given several times; a name that ends in * is the beginning of names.")
]

keys = typer.Typer(help="Public keys of the centre, and what they may order.", no_args_is_help=True)


@keys.command()
def new(
    kid: KidArgument, out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The private key, a new file (0600).")]
) -> None:
    """Make a key pair: the private key into a file for whoever signs, the public one to be added here.

    Example: wattgate keys new centre-1 --out centre-1.jwk
    """
    from gateway.bootstrap.new_keys import write_new_key

    try:
        public = write_new_key(out, kid)
    except (OSError, ValueError) as problem:
        raise Failure(f"the key cannot be written to {out}: {problem}") from None
    print(f'[[uplink_key]]\nkid = "{kid}"\npublic = "{public}"\nrole = "commands"\nverbs = ["restore"]')
    print(f"the private key is in {out}; the table above, with its verbs, goes into gateway.toml", file=sys.stderr)


@keys.command()
def add(
    kid: KidArgument,
    public: Annotated[str, typer.Option("--public", metavar="X", help="The x of its JWK.")],
    role: Annotated[str, typer.Option("--role", metavar="commands|centre", help="centre: acknowledges as well.")] = "commands",
    verb: ListOption = None,
    meter: ListOption = None,
    account: ListOption = None,
    gateway: ListOption = None,
    cause: ListOption = None,
    holder: Annotated[str, typer.Option(help="Who has it: two keys of one holder are not two people.")] = "",
    most_topup: Annotated[str | None, typer.Option(metavar="AMOUNT", help="At most so much money at once.")] = None,
    most_refund: Annotated[str | None, typer.Option(metavar="AMOUNT", help="At most so much money at once.")] = None,
    begins: Annotated[str | None, typer.Option(metavar="TIME", help="From when it counts.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Until when it counts.")] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Ask for a key to be taken; another person approves it (wattgate approve yes ID), for it could order cuts.

    Example: wattgate keys add centre-1 --public 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo --verb cut --verb restore
    """
    body: dict[str, object] = {"id": f"key-{secrets.token_hex(8)}", "kid": kid, "public": public, "role": role, "holder": holder}
    lists = {"verbs": verb, "meters": meter, "accounts": account, "gateways": gateway, "causes": cause}
    body |= {name: given for name, given in lists.items() if given}
    single = {"most_topup": most_topup, "most_refund": most_refund, "begins": begins, "until": until}
    body |= {name: given for name, given in single.items() if given is not None}
    with asking(config, url) as there:
        asked = _answered(*there.call("POST", "/api/v1/keys", body), 202)
    print(f"{asked['id']}: waits for a second person (wattgate approve yes {asked['id']})")


@keys.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False, config: ConfigOption = None, url: UrlOption = None
) -> None:
    """List all keys with what they may, the revoked too.

    Example: wattgate keys list -c gateway.toml
    """
    with asking(config, url) as there:
        found = cast(list[dict[str, object]], _answered(*there.call("GET", "/api/v1/keys"), 200)["list"])
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
        return
    for key in found:
        state = f"revoked {key['revoked']}" if key["revoked"] else f"until {key['until']}" if key["until"] else "in force"
        print(f"{key['kid']}  {key['role']}  {' '.join(cast(list[str], key['verbs'])) or '-'}  {state}")


@keys.command()
def own(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False, config: ConfigOption = None, url: UrlOption = None
) -> None:
    """Print the public half of the gateway's own key: it signs anchors of the audit log, receipts and answers to banks.

    Example: wattgate keys own -c gateway.toml
    """
    with asking(config, url) as there:
        found = _answered(*there.call("GET", "/api/v1/identity"), 200)
    print(json.dumps(found) if as_json else f'{found["kid"]} = "{found["x"]}"')
    if not as_json:
        print("for anchor_keys of this gateway at the centre, and for wattgate audit verify --key KID:X", file=sys.stderr)


@keys.command()
def revoke(kid: KidArgument, config: ConfigOption = None, url: UrlOption = None) -> None:
    """Let nothing count that this key signs, from this moment on and for ever, also where it stands in the file.

    Example: wattgate keys revoke centre-1 -c gateway.toml
    """
    with asking(config, url) as there:
        _answered(*there.call("POST", f"/api/v1/keys/{kid}/revoke"), 200)
    print(f"{kid}: revoked")


def register(app: typer.Typer) -> None:
    """Adds the group of verbs."""
    from gateway.cli.keys_rotate import rotate

    keys.command()(rotate)
    app.add_typer(keys, name="keys")


def _answered(status: int, answer: dict[str, object], wanted: int) -> dict[str, object]:
    if status != wanted:
        raise Failure(str(answer.get("detail") or answer.get("title") or f"the gateway answered {status}"))
    return answer
