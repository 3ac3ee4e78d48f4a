"""From a command's payload to plain values of the domain (contract.md 5)."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from gateway.domain.incoming import IncomingCommand
from gateway.domain.uplink_orders import ReplyTo
from protocols.uplink.commands import Command, CutArgs
from protocols.uplink.moments import parse_moment

_MOMENTS = ("until", "paid_at")
_canonical = msgspec.json.Encoder(order="sorted")


def incoming(
    command: Command,
    *,
    kid: str = "",
    token: bytes = b"",
    retained: bool = False,
    expiry_s: int | None = None,
    reply: ReplyTo | None = None,
) -> IncomingCommand:
    """A parsed command in the words of the domain; its account is still a pseudonym."""
    facts, cause = _facts(command)
    return IncomingCommand(
        id=command.id,
        gateway=command.gateway,
        verb=command.verb,
        meter=command.meter,
        account=command.account,
        cause=cause,
        issued_ms=parse_moment(command.issued_at),
        expires_ms=None if command.expires_at is None else parse_moment(command.expires_at),
        reason=command.reason,
        counter=command.counter,
        facts=facts,
        args=_plain(command.args),
        not_before_ms=None if command.not_before is None else parse_moment(command.not_before),
        kid=kid,
        digest=digest(command),
        token=token.decode("ascii", "replace"),
        retained=retained,
        lives_ms=None if expiry_s is None else expiry_s * 1000,
        reply=reply,
    )


def digest(command: Command) -> str:
    """SHA-256 over what a command asks for, in one order. When and why it was said anew is no other content (contract.md 3)."""
    said = (command.gateway, command.verb, command.meter, command.account, command.args)
    return hashlib.sha256(_canonical.encode(said)).hexdigest()


def _plain(args: dict[str, object]) -> dict[str, Any]:
    """Arguments with their moments in UTC ms beside them; they were checked when the command was."""
    plain: dict[str, Any] = dict(args)
    for name in _MOMENTS:
        if isinstance(text := plain.get(name), str):
            plain[f"{name}_ms"] = parse_moment(text)
    return plain


def _facts(command: Command) -> tuple[dict[str, str], str | None]:
    if command.verb != "cut":
        return {}, None
    args = msgspec.convert(command.args, CutArgs)
    named = {"notices": "; ".join(args.notices), "contract": args.contract, "event": args.event, "plan": args.plan}
    return {name: text for name, text in named.items() if text}, args.cause
