"""What a meter shows of itself besides its switch: its alarm, and the protection by which it refuses every trip (dlt645.md 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.domain.supply import CommandEvent, Verb


class Sign(StrEnum):
    """A state of the meter that an order sets and takes back."""

    ALARM = "alarm"
    PROTECT = "protect"


VERBS: Mapping[Sign, tuple[Verb, Verb]] = {
    Sign.ALARM: (Verb.ALARM, Verb.ALARM_OFF),
    Sign.PROTECT: (Verb.PROTECT, Verb.UNPROTECT),
}
"""What sets each, and what takes it back."""

ABLE = frozenset({"dlt645-2007"})
"""Protocols whose meters can be told so at all: no other has an order or a register for it."""

STATUS_BIT, COMMAND_ONLY = "status_bit", "command_only"


@dataclass(frozen=True, slots=True)
class SignsSeen:
    """The bits as they were read; None for what this meter does not show."""

    alarm: bool | None
    protect: bool | None
    at_ms: int


def sign_of(verb: Verb) -> Sign:
    """What this order, one of supply.SIGNS, sets or takes back."""
    return Sign.ALARM if verb in VERBS[Sign.ALARM] else Sign.PROTECT


def proof(verb: Verb, seen: SignsSeen) -> tuple[CommandEvent, tuple[str, ...]]:
    """What a look says about an order, and the evidence it rests on: the bit, or nothing where the meter has none."""
    shown = seen.alarm if sign_of(verb) is Sign.ALARM else seen.protect
    if shown is None:
        return CommandEvent.PROVES_NOTHING, (COMMAND_ONLY,)
    wanted = verb in (Verb.ALARM, Verb.PROTECT)
    return (CommandEvent.SEEN_DONE, (STATUS_BIT,)) if shown is wanted else (CommandEvent.SEEN_UNMOVED, ())


@dataclass(frozen=True, slots=True)
class Wish:
    """Why the rules want a meter to show a sign, and how far that is.

    address: of the device that was told. steps: rungs of the ladder that it is; notices: numbers of those that wait for it.
    command: the last order for it. reached: an earlier one may have got into the device.
    """

    account: str
    address: str
    steps: tuple[str, ...] = ()
    notices: tuple[int, ...] = ()
    command: str | None = None
    reached: bool = False
