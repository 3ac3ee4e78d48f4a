"""Control 1C of a DL/T 645-2007 meter, and what status word 3 shows of orders that move no switch (dlt645.md 5 and 8.5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from gateway.adapters.lines.driver import Timed
from gateway.domain.signs import SignsSeen
from gateway.domain.supply import Verb
from protocols.dlt645.master import Action, ReadAnswer, relay_state
from protocols.errors import Refused

ACTIONS: Mapping[Verb, Action] = {
    Verb.CUT: Action.CUT,
    Verb.RESTORE: Action.CLOSE,
    Verb.ALLOW_CLOSE: Action.ALLOW_CLOSE,
    Verb.ALARM: Action.ALARM_ON,
    Verb.ALARM_OFF: Action.ALARM_OFF,
    Verb.PROTECT: Action.PROTECT_ON,
    Verb.UNPROTECT: Action.PROTECT_OFF,
}

STATUS = "04000503"
NO_DATA = "no requested data"


async def look_at_signs(
    status: tuple[str, ...], shows: tuple[str, ...], ask: Callable[[str], Awaitable[Timed[ReadAnswer]]], now_ms: Callable[[], int]
) -> SignsSeen:
    """The meter's alarm and protection by its bits; None for what its profile says it does not show, or where it has no such word.

    Raises what `ask` raises.
    """
    if STATUS not in status or not shows:
        return SignsSeen(None, None, now_ms())
    try:
        answer = await ask(STATUS)
    except Refused as refused:
        if NO_DATA not in refused.flags:
            raise
        return SignsSeen(None, None, now_ms())
    state = relay_state(answer.value.data)
    alarm = state.pre_trip_alarm if "alarm" in shows else None
    return SignsSeen(alarm, state.protect if "protect" in shows else None, answer.answered_ms)
