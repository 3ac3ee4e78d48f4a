"""A command from the centre: judged once, recorded, answered; the same id gets the same answer for ever (contract.md 5)."""

from __future__ import annotations

from collections.abc import Callable

from gateway.domain.incoming import IncomingCommand, UnreadableCommand
from gateway.domain.uplink_keys import Refused, UplinkKey, Wanted, Why, allows, in_force
from gateway.domain.uplink_orders import SWITCHING
from gateway.services import announce
from gateway.services.ports import Site, Tx
from gateway.services.stop_switch import overtaken
from gateway.services.trust_clock import heard_time
from gateway.services.uplink_answers import Received, again, refuse, repeat, tell_refused, tell_unknown
from gateway.services.uplink_verbs import SERVED, VERBS, money_of, only_switch, reached

EARLY_MS = 30_000
"""By which the centre's clock may be ahead of ours: two machines that time servers keep differ by far less."""

BROKEN = "an error of this gateway itself stopped it: its log says which"

FLOOR = "uplink_floor"
"""Key in `meta`: the highest time at which a key of ours has signed. No later moment lies before it, whatever our clock says."""


def receive_command(
    tx: Tx, command: IncomingCommand, site: Site, now_ms: int, *, may_repeat: Callable[[], bool] = lambda: True
) -> Received:
    """Does or orders what the command asks for, or refuses it with a reason; in both cases a result is on its way up.

    A known id has its stored answer again, as long as may_repeat says so. What the key may not, what comes at the wrong time or to
    the wrong gateway is kept as refused: the same id is never obeyed later.
    """
    key = tx.uplink_key(command.kid) if command.kid else None
    if command.kid and (foul := _foul(key, command, max(now_ms, int(tx.meta(FLOOR) or "0")))) is not None:
        return _strange(tx, command, foul, now_ms)
    if (told := again(tx, command, now_ms, may_repeat)) is not None:
        return told
    refused = _unfit(tx, command, key, site, now_ms)
    if refused is not None:
        return refuse(tx, command, *refused, now_ms)
    if command.kid:
        _remember(tx, command, site, now_ms)
    return VERBS[command.verb](tx, command, site, now_ms)


def refuse_broken(tx: Tx, command: IncomingCommand, now_ms: int) -> Received:
    """The answer to a command that an error of ours stopped. It is final: the broker would bring it for ever, and nothing else."""
    told = again(tx, command, now_ms)
    return told if told is not None else refuse(tx, command, Why.NOT_PERMITTED, BROKEN, now_ms)


def receive_unreadable(tx: Tx, what: UnreadableCommand, now_ms: int) -> None:
    """Records what could not be read or may not count. It is answered where it names an id that may be believed: one that is known
    has its own answer again, another one is told so and stays free."""
    tell_refused(tx, what.id, "", None, what.why, what.text, now_ms)
    if what.id is None:
        return
    order = tx.uplink_order(what.id)
    if order is not None:
        repeat(tx, order, now_ms)
    elif (command := tx.command(what.id)) is not None:
        announce.result(tx, command)
    else:
        tell_unknown(tx, what.id, what.text, what.why, now_ms)


def _foul(key: UplinkKey | None, command: IncomingCommand, now_ms: int) -> Refused | None:
    """Why this signature does not count at all: nothing is kept under the id then, for it may be another key's."""
    if key is None:
        return Why.UNKNOWN_KEY, f"the key {command.kid} is not known here"
    return in_force(key, now_ms)


def _strange(tx: Tx, command: IncomingCommand, foul: Refused, now_ms: int) -> Received:
    """An event; and an answer where the key is only out of its time: a stolen one shall tell the centre nothing."""
    why, text = foul
    receive_unreadable(tx, UnreadableCommand(text, command.id if why is Why.KEY_OUT_OF_TIME else None, why), now_ms)
    return Received(None, text, why)


def _unfit(tx: Tx, command: IncomingCommand, key: UplinkKey | None, site: Site, now_ms: int) -> Refused | None:
    if command.retained:
        return Why.RETAINED, "a retained command moves nothing: it would be obeyed again after every reconnect"
    if command.gateway != site.gateway:
        return Why.FOREIGN, f"the command is for gateway {command.gateway}, this is {site.gateway}"
    if (untimely := _untimely(tx, command, site, now_ms)) is not None:
        return untimely
    if command.verb not in VERBS:
        return Why.NOT_SERVED, f"the verb {command.verb} is not served; {SERVED} are"
    if key is None:
        return None
    if (late := _out_of_turn(tx, command)) is not None:
        return late
    meters, account = reached(tx, command)
    return allows(key, Wanted(command.verb, site.gateway, meters, account, command.cause, money_of(command)))


def _untimely(tx: Tx, command: IncomingCommand, site: Site, now_ms: int) -> Refused | None:
    """Nothing that expired is obeyed, also when our clock was set back; nothing is obeyed before its time."""
    if command.verb == "cut" and command.kid and not site.clock_trusted:
        return Why.CLOCK, f"our clock is not trusted: whether the cut has expired is not known ({site.clock_why or 'F3'})"
    at_ms = max(now_ms, int(tx.meta(FLOOR) or "0") if command.kid else 0)
    expires_ms = command.expires_ms
    if expires_ms is not None and command.lives_ms is not None:
        expires_ms = min(expires_ms, now_ms + command.lives_ms)
    if expires_ms is not None and expires_ms <= at_ms:
        return Why.EXPIRED, "the command came after its expiry"
    if command.not_before_ms is not None and command.not_before_ms > now_ms:
        return Why.EARLY, "the command came before the time that it names"
    if command.issued_ms > now_ms + EARLY_MS:
        return Why.EARLY, "the command was issued in the future: the centre's clock or ours is wrong"
    return None


def _out_of_turn(tx: Tx, command: IncomingCommand) -> Refused | None:
    other = tx.order_by_counter(command.kid, command.counter)
    if other is not None:
        return Why.KNOWN_COUNTER, f"the counter {command.counter} of this key is command {other}'s"
    meter = (command.meter or only_switch(tx, command.account)) if command.verb in SWITCHING else None
    if meter is not None:
        last = tx.last_counter(command.kid, meter)
        if last is not None and last > command.counter:
            return Why.SUPERSEDED, f"a later command of this key for meter {meter} came before it"
    if command.verb == "go" and (stop := overtaken(tx, command.kid, command.counter, command.issued_ms)) is not None:
        return Why.SUPERSEDED, f"cuts stay stopped: {stop}"
    return None


def _remember(tx: Tx, command: IncomingCommand, site: Site, now_ms: int) -> None:
    """What a good signature tells of the time."""
    if command.issued_ms > int(tx.meta(FLOOR) or "0"):
        tx.set_meta(FLOOR, str(command.issued_ms))
    heard_time(tx, command.issued_ms, site, now_ms)
