"""What comes down as a command: one form for all, and what each verb needs besides (contract.md 5).

Strict like the messages: what a verb does not know is refused, for a misspelt bound must not be a missing one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from protocols.uplink.messages import BadMessage, Count, Id, Json, Moment, Name, Text, convert_object, parse_object
from protocols.uplink.moments import parse_moment

Said = Annotated[str, Meta(min_length=1, max_length=500)]
Amount = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,8})\.[0-9]{1,4}\Z")]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
Serial = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,64}\Z")]
Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
Table = Annotated[dict[str, object], Meta(max_length=64)]
Registers = Annotated[dict[str, str], Meta(max_length=64)]

ARCHIVE_ROWS = 2000
"""Tables of one kind in an archive message: what 256 KiB hold at 130 bytes each; more go in several, each all or nothing."""


class _Args(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class NoArgs(_Args, frozen=True):
    """The verb needs nothing but its target."""


class CutArgs(_Args, frozen=True):
    """Why: for a debt the notices that were given, for demand response the contract that allows it and the event that calls for it,
    for a time-table the signed plan."""

    cause: Name
    notices: tuple[Text, ...] = ()
    contract: Text | None = None
    event: Text | None = None
    plan: Text | None = None


class ProtectArgs(_Args, frozen=True):
    """Until when, and who owns it. blocks: all cuts, or commercial ones. in_meter: the meter is told so too (3AH)."""

    until: Moment
    owner: Said
    blocks: Literal["all", "commercial"] = "all"
    in_meter: bool = False

    def __post_init__(self) -> None:
        parse_moment(self.until)


class UnprotectArgs(_Args, frozen=True):
    """Who answers for it."""

    owner: Said


class AlarmArgs(_Args, frozen=True):
    """The meter's alarm of low credit, on or off."""

    on: bool = True


class LimitArgs(_Args, frozen=True):
    """The load limit as the table `limit` of an account in the configuration has it; null: none."""

    limit: Table | None


class TopupArgs(_Args, frozen=True):
    """A payment of the bank that the centre is the front of; identity and content as in contract.md 3."""

    bank: Id
    serial: Serial
    amount: Amount
    currency: Currency
    accounting_date: Day
    paid_at: Moment
    institution: Annotated[str, Meta(max_length=64)] = ""
    scope: Annotated[str, Meta(max_length=64)] = ""
    channel: Annotated[str, Meta(max_length=64)] = ""

    def __post_init__(self) -> None:
        parse_moment(self.paid_at)


class RefundArgs(_Args, frozen=True):
    """Money of the balance back to the customer: amount, without one all of it; via: `counter` or a bank that pays it out."""

    amount: Amount | None = None
    via: Id = "counter"


class NamedArgs(_Args, frozen=True):
    """The command that it is about."""

    id: Id


class ArchiveArgs(_Args, frozen=True):
    """Tables as the configuration has them, all or nothing, by difference. drop: ids of those that are to be no more; what is in
    use is refused. version: of the centre's archive, for the log."""

    put: dict[str, Annotated[list[dict[str, object]], Meta(max_length=ARCHIVE_ROWS)]] = {}
    drop: dict[str, Annotated[list[Id], Meta(max_length=ARCHIVE_ROWS)]] = {}
    version: Annotated[str, Meta(max_length=64)] = ""


class OpenArgs(_Args, frozen=True):
    """A customer comes: as the body of POST /api/v1/accounts."""

    account: Table
    agreement: Table | None = None
    meters: Annotated[list[Table], Meta(max_length=64)] = []
    receipt: Serial | None = None


class CloseArgs(_Args, frozen=True):
    """A customer goes: as the body of POST /api/v1/accounts/{account}/close."""

    final: Annotated[dict[str, Registers], Meta(max_length=64)] = {}
    supply: Literal["on", "cut"] = "on"
    on_debt: Literal["refuse", "keep", "write_off"] = "refuse"
    refund: Id | None = None


class ChangeArgs(_Args, frozen=True):
    """Another device at a metering point: as the body of POST /api/v1/meters/{meter}/change."""

    device: Table
    first: Registers
    last: Registers = {}


ARGS: Mapping[str, type[_Args]] = MappingProxyType(
    {
        "cut": CutArgs,
        "restore": NoArgs,
        "allow_close": NoArgs,
        "protect": ProtectArgs,
        "unprotect": UnprotectArgs,
        "alarm": AlarmArgs,
        "set_limit": LimitArgs,
        "sync_time": NoArgs,
        "read": NoArgs,
        "topup": TopupArgs,
        "refund": RefundArgs,
        "cancel": NamedArgs,
        "release": NamedArgs,
        "refuse": NamedArgs,
        "stop": NoArgs,
        "go": NoArgs,
        "archive": ArchiveArgs,
        "open_account": OpenArgs,
        "close_account": CloseArgs,
        "change_meter": ChangeArgs,
    }
)
"""Every verb of contract.md 5 and what its `args` hold."""

EXPIRING = frozenset(["cut", "restore", "allow_close", "protect", "unprotect", "alarm", "set_limit", "sync_time", "read"])
"""What must name its expiry: obeyed late it would do harm, or nothing."""

MONEY = frozenset({"topup", "refund"})
"""What never expires: the customer has paid."""

TARGETS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        **dict.fromkeys(("cut", "restore", "allow_close", "alarm"), frozenset({"meter", "account"})),
        **dict.fromkeys(("sync_time", "read", "change_meter"), frozenset({"meter"})),
        **dict.fromkeys(("protect", "unprotect", "set_limit", "topup", "refund", "close_account"), frozenset({"account"})),
        **dict.fromkeys(("cancel", "release", "refuse", "stop", "go", "archive", "open_account"), frozenset[str]()),
    }
)
"""What a verb is asked of; exactly one of them, or nothing."""


class Command(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An order to a gateway. id: for ever the same command. counter: rises per key and gateway. account: a pseudonym."""

    id: Id
    gateway: Id
    verb: Name
    issued_at: Moment
    counter: Count
    expires_at: Moment | None = None
    not_before: Moment | None = None
    meter: Id | None = None
    account: Id | None = None
    args: dict[str, object] = {}
    reason: Text = ""

    def __post_init__(self) -> None:
        begins = parse_moment(self.issued_at)
        if self.not_before is not None:
            begins = max(begins, parse_moment(self.not_before))
        if self.expires_at is not None and parse_moment(self.expires_at) <= begins:
            raise ValueError("the command expires before it was issued, or before it may be obeyed")
        if self.meter is not None and self.account is not None:
            raise ValueError("a command names a meter or an account, not both")
        if self.verb in ARGS:
            _check(self)


def _check(command: Command) -> None:
    verb = command.verb
    if (command.expires_at is None) == (verb in EXPIRING) and verb in EXPIRING | MONEY:
        raise ValueError(f"{verb} needs expires_at" if verb in EXPIRING else f"{verb} never expires: leave expires_at out")
    named, wanted = "meter" if command.meter is not None else "account" if command.account is not None else "", TARGETS[verb]
    if named not in wanted if named else wanted:
        raise ValueError(f"{verb} is asked of {' or '.join(sorted(wanted)) or 'the gateway itself'}")
    msgspec.convert(command.args, ARGS[verb], strict=True)


def decode_command(payload: bytes) -> Command:
    """The payload of a command, its arguments checked as its verb has them; BadMessage carries its id where that can be read."""
    fields = parse_object(payload, "this command")
    try:
        return convert_object(fields, Command, "this command")
    except BadMessage as wrong:
        if (foreign := _look_alike(fields)) is not None:
            raise BadMessage(f"this command is wrong: {foreign}", wrong.id) from None
        raise


_DIGIT = re.compile(r"[^\x00-\x7f]")


def _look_alike(fields: Mapping[str, Json]) -> str | None:
    """Which field of our alphabet holds letters or digits of another one."""
    named = ("id", "gateway", "verb", "meter", "account", "issued_at", "expires_at", "not_before")
    found = next((name for name in named if isinstance(text := fields.get(name), str) and _DIGIT.search(text)), None)
    return found and f"{found} holds characters that only look like ours"
