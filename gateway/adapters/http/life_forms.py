"""The bodies by which accounts are opened and closed, and meters moved and changed. `id` of each makes it happen once."""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from starlette.requests import Request

from gateway.adapters.http.auth import answers_for, person_of
from gateway.adapters.http.body import checked, read_object
from gateway.adapters.http.problems import Problem
from gateway.domain.life import Act
from gateway.domain.people import RESERVED

F = TypeVar("F", bound="LifeForm")

_KWH = re.compile(r"[0-9]{1,9}(\.[0-9]{1,4})?", re.ASCII)
Ident = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Said = Annotated[StrictStr, Field(min_length=1, max_length=200)]
Registers = Annotated[dict[StrictStr, StrictStr], Field(max_length=64, examples=[{"energy_import": "1234.56"}])]
TableOf = Annotated[dict[StrictStr, object], Field(max_length=64)]


class LifeForm(BaseModel):
    """What all have. by: who answers for it, by default whoever asks; second: who says so too, where nobody has a token of their
    own (else another user approves the id)."""

    model_config = ConfigDict(extra="forbid")

    id: Ident = Field(examples=["request-17"])
    reason: StrictStr = Field(min_length=1, max_length=500, examples=["moves in on 1 November"])
    by: Said | None = None
    second: Said | None = None


class AgreementForm(BaseModel):
    """What the customer signed: prepaid policies need it (prepayment.md 2)."""

    model_config = ConfigDict(extra="forbid")

    id: Said = Field(examples=["P-2026-0017"])
    date: StrictStr = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-11-01"])
    version: Said = Field("1", examples=["3"])
    channels: list[Said] = Field(default_factory=list, max_length=16, examples=[["sms", "app"]])


class MeterForm(BaseModel):
    """A meter by its id, or as a table of the configuration for one that is new. kwh: what its display shows now; without it the
    bill begins with a reading of the gateway's own."""

    model_config = ConfigDict(extra="forbid")

    meter: Ident | None = Field(None, examples=["bus-1-17"])
    table: TableOf | None = Field(None, examples=[{"line": "bus-1", "address": "17", "profile": "dlt645-single"}])
    kwh: Registers | None = None
    cut_with_account: StrictBool | None = None


class OpenForm(LifeForm):
    """A new account. `account`: a table of the configuration, with id, currency, tariff, policy and, taken over, opening and debt.
    receipt: of the counter where the opening balance was paid."""

    account: TableOf = Field(examples=[{"id": "house-17", "currency": "CNY", "tariff": "home", "holder": "Li Wei"}])
    agreement: AgreementForm | None = None
    meters: list[MeterForm] = Field(default_factory=list, max_length=64)
    receipt: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9._:-]{1,64}$")] | None = None


class CloseForm(LifeForm):
    """The end of an account. `final`: what displays show by meter; a meter that is left out is billed as it was read, confirmed,
    within the last 15 minutes. refund: who pays the rest out."""

    final: dict[StrictStr, Registers] = Field(default_factory=dict, max_length=64)
    supply: Literal["on", "cut"] = "on"
    on_debt: Literal["refuse", "keep", "write_off"] = "refuse"
    refund: Ident | None = Field(None, examples=["counter"])


class MovedForm(BaseModel):
    """One meter and the account that it passes to, null for nobody."""

    model_config = ConfigDict(extra="forbid")

    meter: Ident
    to: Ident | None
    kwh: Registers | None = None
    cut_with_account: StrictBool | None = None


class MoveForm(LifeForm):
    """Meters that pass to other accounts, all at once."""

    meters: list[MovedForm] = Field(min_length=1, max_length=64)


class ChangeForm(LifeForm):
    """Another device at a metering point. device: what of the meter's table is different; last, first: what both displays show."""

    device: TableOf = Field(examples=[{"address": "202611210099"}])
    last: Registers = Field(default_factory=dict)
    first: Registers


class CtForm(LifeForm):
    """Other transformers. kwh: what the meter's display shows at that moment; max_power_w: what can flow in front of them."""

    ct: StrictStr | None = Field(None, examples=["400/5"])
    pt: StrictStr | None = None
    max_power_w: StrictInt | None = Field(None, ge=1)
    kwh: Registers


class RefundForm(LifeForm):
    """Money back to the customer: amount, by default all; via: `counter` or a bank."""

    amount: StrictStr | None = Field(None, examples=["12.34"])
    via: Ident = "counter"


class PaidForm(LifeForm):
    """A refund was paid out, against this receipt."""

    receipt: StrictStr = Field(min_length=1, max_length=64, examples=["K-2026-000017"])


class ArchiveForm(LifeForm):
    """Many tables at once: the text of a file and its name."""

    name: StrictStr = Field("import", min_length=1, max_length=200, examples=["meters.csv"])
    format: Literal["csv", "toml"]
    text: StrictStr


async def form_of(request: Request, model: type[F]) -> tuple[F, Act]:
    """The body, and who answers for it. Problems as read_object and checked raise them."""
    form = checked(model, await read_object(request))
    return form, act_of(request, form)


def act_of(request: Request, form: LifeForm) -> Act:
    """Who answers for it. A second name counts only where persons have no identity of their own: else they approve it."""
    person = person_of(request)
    asked = form.model_dump_json(exclude={"by", "second"})
    content = hashlib.sha256(f"{request.url.path} {asked}".encode()).hexdigest()
    second = form.second if person.name in RESERVED else None
    return Act(form.id, answers_for(request, form.by), form.reason, content, person.who, second)


def kwh_of(field: str, table: dict[str, str]) -> dict[str, Decimal]:
    """Registers of a display; Problem `invalid`."""
    for name, kwh in table.items():
        if not name.startswith("energy_import") or not _KWH.fullmatch(kwh):
            raise Problem("invalid", f'{field} holds kWh by register, like {{"energy_import": "1234.56"}}', field=field)
    return {name: Decimal(kwh) for name, kwh in table.items()}
