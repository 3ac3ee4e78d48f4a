"""Notices in the settings: the channels that carry them, their texts, and how an account is reached."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from gateway.domain.notices import BUILT_IN, Hours
from gateway.domain.notices import Contact as ContactWords
from gateway.settings.tariff_words import minute
from gateway.settings.words import Id, Table

MOST_CONTACTS = 20
"""Of one account: a household, its landlord, a clinic; more is a list that stands in the wrong place."""


def _hours(text: str) -> str:
    begin, dash, end = text.partition("-")
    if not dash or minute(begin) >= minute(end):
        raise ValueError(f"{text!r} are no hours of a day; write them like 08:00-20:00")
    return text


HoursText = Annotated[str, AfterValidator(_hours)]
VariableName = Annotated[str, StringConstraints(pattern=r"^WATTGATE_[A-Z0-9_]{1,100}$")]


class NoticeChannel(Table):
    """A way out of the gateway. url_file: a secret file with the apprise URL, in which {to} and {number} stand for the address and
    the notice's number; url_env: the variable that holds it instead. hours: when it may be used; per_minute: how often."""

    id: Id
    kind: Literal["apprise"] = "apprise"
    url_file: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    url_env: VariableName | None = None
    hours: HoursText | None = None
    per_minute: Annotated[int, Field(ge=1, le=6_000)] = 60
    timeout_s: Annotated[int, Field(ge=1, le=120)] = 20
    short: bool = False

    @model_validator(mode="after")
    def _of_one_source(self) -> Self:
        if (self.url_file is None) == (self.url_env is None):
            raise ValueError("needs either url_file or url_env; the URL itself is a secret and never stands here")
        if self.id in BUILT_IN:
            raise ValueError(f"{self.id} is built in; give the channel another id")
        return self

    def open_hours(self, zone: str) -> Hours | None:
        """In the domain's words; None: always."""
        if self.hours is None:
            return None
        begin, _, end = self.hours.partition("-")
        return Hours(minute(begin), minute(end), zone)


class Notices(Table):
    """texts: a folder of the operator's own texts, one file a language; they take the place of the shipped ones, step by step."""

    texts: Annotated[str, Field(min_length=1, max_length=255)] | None = None


class Contact(Table):
    """to: a number, an e-mail address, an id; by the channel's own rules. Built-in channels need none."""

    channel: Id
    to: Annotated[str, Field(max_length=200)] = ""

    @model_validator(mode="after")
    def _with_address(self) -> Self:
        if not self.to and self.channel not in BUILT_IN:
            raise ValueError(f"a contact on channel {self.channel} needs an address: to")
        return self

    def contact(self) -> ContactWords:
        """In the domain's words."""
        return ContactWords(self.channel, self.to)
