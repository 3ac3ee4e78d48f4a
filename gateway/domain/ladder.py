"""When a step of the notice ladder is done: by any of its channels, not by one channel's delivery (prepayment.md 3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from gateway.domain.notices import ARRIVED, BY_PERSON, WITHDRAWN, Notice, NoticeState


class Rung(Protocol):
    """A step as far as it is judged here. channels: on which it tells, none: on whatever the account has.

    go_on: when nobody could be reached the ladder goes on to the next step; else a person must have told the customer.
    """

    @property
    def name(self) -> str: ...
    @property
    def channels(self) -> Sequence[str]: ...
    @property
    def go_on(self) -> bool: ...


def missing(steps: Sequence[Rung], notices: Iterable[Notice]) -> tuple[str, ...]:
    """A sentence for each step that is not completed by these notices; none: the ladder is.

    A ladder in which every step went on without reaching anybody is not completed: somebody must have been told something.
    """
    told: dict[str, list[Notice]] = {step.name: [] for step in steps}
    for notice in notices:
        if notice.step in told and notice.detail != WITHDRAWN:
            told[notice.step].append(notice)
    sentences = [sentence for step in steps if (sentence := _lacks(step, told[step.name]))]
    reached = any(notice.state in ARRIVED for each in told.values() for notice in each)
    if steps and not sentences and not reached:
        return ("no notice has reached anybody: a person must tell the customer and confirm it",)
    return tuple(sentences)


def _lacks(step: Rung, told: Sequence[Notice]) -> str | None:
    if any(notice.state in ARRIVED for notice in told):
        return None
    waiting = [notice for notice in told if notice.state is NoticeState.QUEUED]
    if not told:
        return f"notice {step.name} has not been given"
    if any(notice.channel not in BY_PERSON for notice in waiting):
        return f"notice {step.name} is on its way"
    if waiting:
        return f"notice {step.name} by {waiting[0].channel} is not confirmed"
    return None if step.go_on else f"notice {step.name} reached nobody"
