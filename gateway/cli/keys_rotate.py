"""`wattgate keys rotate`: a new key for what the gateway itself signs."""

from __future__ import annotations

import sys

from gateway.cli.answers import Failure
from gateway.cli.gateway_client import ConfigOption, UrlOption, asking


def rotate(config: ConfigOption = None, url: UrlOption = None) -> None:
    """Make a new key for the gateway's own signatures: receipts, answers to banks, anchors of the audit log.

    The one before stays published at /bank/v1/keys, so that what it has signed can be checked for ever. No restart is needed.

    Example: wattgate keys rotate -c gateway.toml
    """
    with asking(config, url) as there:
        status, answer = there.call("POST", "/api/v1/identity/rotate")
    if status != 200:
        raise Failure(str(answer.get("detail") or f"the gateway answered {status}"))
    print(f'{answer["kid"]} = "{answer["x"]}"')
    print(f"this key signs from now on, {answer['retired']} before it stay published", file=sys.stderr)
    print("a centre that checks anchors needs the line above among the gateway's anchor_keys", file=sys.stderr)
