"""Topics below `wattgate/v1/{gateway}`: built from checked ids, and parsed back (contract.md 5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from protocols.errors import RequestError

ROOT = "wattgate/v1"

TOPICS = 4096
"""Topics remembered: those of the meters of one gateway; commands have each their own, and push out the oldest."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_ROOT = re.compile(r"[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,7}", re.ASCII)


class Up(StrEnum):
    """Classes of messages towards the centre."""

    READING = "reading"
    EVENT = "event"
    BALANCE = "balance"
    RESULT = "result"
    ANCHOR = "anchor"


class Down(StrEnum):
    """Classes of messages towards the gateway."""

    COMMAND = "command"
    ACK = "ack"
    RESEND = "resend"


_UPS = frozenset(kind.value for kind in Up)
_DOWNS = frozenset(kind.value for kind in Down)


@dataclass(frozen=True, slots=True)
class UpTopic:
    """`.../up/{kind}/{subject}`; the subject is a meter, `gateway`, an account's pseudonym or a command; an anchor has none."""

    gateway: str
    kind: Up
    subject: str


@dataclass(frozen=True, slots=True)
class DownTopic:
    """`.../down/{kind}`."""

    gateway: str
    kind: Down


@dataclass(frozen=True, slots=True)
class StatusTopic:
    """`.../status`."""

    gateway: str


@dataclass(frozen=True, slots=True)
class Topics:
    """All topics below one root. A space or a wildcard in a topic would make brokers drop the connection, so every part is checked.

    root: 1 to 8 levels of letters, digits, _ and -. RequestError for a root or id that is not.
    """

    root: str = ROOT

    def __post_init__(self) -> None:
        if not _ROOT.fullmatch(self.root):
            raise RequestError(f"{self.root!r} is no root of topics: levels of letters, digits, _ and - with / between them")

    def up(self, gateway: str, kind: Up, subject: str) -> str:
        """Where a gateway sends a message of this class."""
        return _up(self.root, gateway, kind, "" if kind is Up.ANCHOR else subject)

    def down(self, gateway: str, kind: Down) -> str:
        """Where a gateway listens."""
        return f"{self.root}/{_checked(gateway)}/down/{kind.value}"

    def status(self, gateway: str) -> str:
        """Where a gateway says that it is there (retained, and its will)."""
        return f"{self.root}/{_checked(gateway)}/status"

    def all_down(self, gateway: str) -> str:
        """Filter of everything meant for one gateway."""
        return f"{self.root}/{_checked(gateway)}/down/#"

    def all_up(self) -> str:
        """Filter of what all gateways send."""
        return f"{self.root}/+/up/#"

    def all_status(self) -> str:
        """Filter of the states of all gateways."""
        return f"{self.root}/+/status"

    def parse(self, topic: str) -> UpTopic | DownTopic | StatusTopic | None:
        """What a topic means; None when it is none of ours."""
        if not topic.startswith(self.root + "/"):
            return None
        gateway, *rest = topic[len(self.root) + 1 :].split("/")
        if not all(_ID.fullmatch(level) for level in (gateway, *rest)):
            return None
        match rest:
            case ["up", kind, subject] if kind in _UPS and kind != Up.ANCHOR:
                return UpTopic(gateway, Up(kind), subject)
            case ["up", Up.ANCHOR.value]:
                return UpTopic(gateway, Up.ANCHOR, "")
            case ["down", kind] if kind in _DOWNS:
                return DownTopic(gateway, Down(kind))
            case ["status"]:
                return StatusTopic(gateway)
        return None


@lru_cache(TOPICS)
def _up(root: str, gateway: str, kind: Up, subject: str) -> str:
    below = f"{root}/{_checked(gateway)}/up/{kind.value}"
    return below if kind is Up.ANCHOR else f"{below}/{_checked(subject)}"


NATIVE = Topics()
"""The topics of the contract."""


def valid_id(text: str) -> bool:
    """Ids of gateway, meter, account, command (contract.md 5): 1 to 64 letters, digits, _ or -."""
    return _ID.fullmatch(text) is not None


def _checked(name: str) -> str:
    if not valid_id(name):
        raise RequestError(f"{name!r} cannot stand in a topic: ids are 1 to 64 letters, digits, _ or -")
    return name
