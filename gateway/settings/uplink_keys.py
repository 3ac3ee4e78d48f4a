"""Public keys of the centre in the configuration: who may order what over the uplink (contract.md 5)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, StrictStr, model_validator

from gateway.domain.uplink_keys import KeyRole, UplinkKey
from gateway.settings.words import Id, Table

_SWITCHES = ("cut", "restore", "allow_close", "alarm", "protect", "unprotect", "set_limit")
_OTHERS = ("sync_time", "read", "topup", "refund", "cancel", "release", "refuse", "stop", "go")
_ARCHIVE = ("archive", "open_account", "close_account", "change_meter")
VERBS = (*_SWITCHES, *_OTHERS, *_ARCHIVE)
"""Those of contract.md 5; a test holds that they are all that commands know."""

PUBLIC = r"^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$"
"""32 bytes as base64url: of the last letter's six bits two are none of theirs, and zero."""

Named = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_-]{1,64}\*?$")]
Verb = Annotated[StrictStr, Field(pattern=f"^({'|'.join(VERBS)}|\\*)$")]
Money = Annotated[StrictStr, Field(pattern=r"^(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?$")]


class UplinkKeyTable(Table):
    """One key. public: the `x` of its JWK (Ed25519, base64url). holder: who has it; two keys of one holder are not two people.

    gateways, meters, accounts: empty for all; a name that ends in * is the beginning of names. verbs: which it may order, ["*"] for
    all. causes: of its cuts. most_topup, most_refund: at most so much money at once. from, until: when it counts.
    """

    kid: Id
    public: Annotated[StrictStr, Field(pattern=PUBLIC)]
    role: Literal["commands", "centre"] = "commands"
    holder: Annotated[StrictStr, Field(max_length=200)] = ""
    verbs: list[Verb] = []
    gateways: list[Named] = []
    meters: list[Named] = []
    accounts: list[Named] = []
    causes: list[Annotated[StrictStr, Field(pattern=r"^[a-z_]{1,40}$")]] = []
    most_topup: Money | None = None
    most_refund: Money | None = None
    from_: Annotated[AwareDatetime | None, Field(alias="from")] = None
    until: AwareDatetime | None = None

    @model_validator(mode="after")
    def _of_use(self) -> Self:
        if self.role == "commands" and not self.verbs:
            raise ValueError('a key without verbs may order nothing: name them, or ["*"]')
        if self.from_ is not None and self.until is not None and self.until <= self.from_:
            raise ValueError("until must be after from")
        return self

    def key(self) -> UplinkKey:
        """In the domain's words."""
        most = {"topup": self.most_topup, "refund": self.most_refund}
        return UplinkKey(
            self.kid, self.public, KeyRole(self.role), self.holder,
            tuple(self.gateways), tuple(self.verbs), tuple(self.meters), tuple(self.accounts), tuple(self.causes),
            {verb: _micro(amount) for verb, amount in most.items() if amount is not None},
            from_ms=_ms(self.from_), until_ms=_ms(self.until), filed=True,
        )  # fmt: skip


def _micro(amount: str) -> int:
    whole, _, part = amount.partition(".")
    return int(whole) * 1_000_000 + int(part.ljust(6, "0"))


def _ms(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp() * 1000)
