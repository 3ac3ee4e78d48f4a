"""What customers are told, by which channel, and what came of it (prepayment.md 3, "the ladder")."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class NoticeState(StrEnum):
    """The life of a notice: accepted by the provider, delivered where the channel says so, or failed for good."""

    QUEUED = "queued"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Contact:
    """One way to reach whoever answers for an account. channel: a configured one; to: its address; bad: it failed for good."""

    channel: str
    to: str = ""
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Notice:
    """One message to one contact. number: 0 until it is stored. step: of the ladder it belongs to. Times in UTC ms.

    values: what the text is made of, decimal strings; the channel's template makes words of them.
    """

    number: int
    account: str
    step: str
    channel: str
    to: str
    values: Mapping[str, str]
    created_ms: int
    state: NoticeState = NoticeState.QUEUED
    tries: int = 0
    next_ms: int = 0
    changed_ms: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reach:
    """How an account is reached. language: of the texts."""

    contacts: tuple[Contact, ...] = ()
    language: str = "en"
    extra: Mapping[str, str] = field(default_factory=dict)
