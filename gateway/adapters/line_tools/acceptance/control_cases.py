"""Cases of control 1C: expiry, cut, allow-close, close, protection, delays, the password and its lock (dlt645.md 5).

Whoever runs them has a meter on a bench: its supply is cut and given back. Afterwards it is closed and unprotected.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import wraps

from gateway.adapters.line_tools.acceptance.case import Broken, Case, Figure, NotRun, Seen
from gateway.adapters.line_tools.acceptance.subject import PASSWORD, Subject
from protocols.bcd import decode_bcd, encode_bcd
from protocols.dlt645.master import Action, Write, order_bytes
from protocols.errors import Refused

DELAY = "04001401"
HARMLESS = Action.CLOSE
PLAIN_EVERYWHERE = (Action.ALLOW_CLOSE, Action.CLOSE)
"""State Grid's meters take these two with a password alone (dlt645.md 5)."""

LOCKED_AFTER = 3
"""Refused passwords that lock programming for a day."""

MINUTE_S = 60.0
TIMED_S = 5 * MINUTE_S
"""One unit of N2."""

GRID = "State Grid supplement to DL/T 645-2007, control code 1C (dlt645.md 5)"
Judge = Callable[[Subject], Awaitable[Seen]]


def _leaves_closed(judge: Judge) -> Judge:
    """Whatever happens, the supply is given back afterwards as well as we can."""

    @wraps(judge)
    async def wrapped(meter: Subject) -> Seen:
        try:
            return await judge(meter)
        finally:
            with suppress(Refused, Broken, NotRun):
                state = await meter.relay()
                if state.protect:
                    await meter.control(Action.PROTECT_OFF)
                if state.relay_open or state.command_open:
                    await meter.control(Action.CLOSE)

    return wrapped


async def _accepted(meter: Subject) -> Seen:
    """Closing what is closed: harmless, and the one order besides 1B that every meter takes in plain text."""
    await meter.relay()
    try:
        answer = await meter.control(HARMLESS)
    except Refused as refused:
        raise Broken(f"an order to close, with the password that was given, was {refused}") from None
    return Seen("accepted" + (f" with the word {answer.word.hex().upper()}" if answer.word else ""))


async def _expired(meter: Subject) -> Seen:
    await _knows_password(meter)
    past = await meter.meter_time() - timedelta(minutes=2)
    try:
        await meter.control(HARMLESS, expiry=past)
    except Refused as refused:
        if any(PASSWORD in flag for flag in refused.flags):
            raise Broken(f"an order that had expired 2 minutes before was {refused}") from None
        return Seen(str(refused))
    raise Broken("an order that had expired 2 minutes before, on the meter's own clock, was accepted")


@_leaves_closed
async def _cut(meter: Subject) -> Seen:
    await _must_be_closed(meter)
    delay_min = await _delay_min(meter)
    if delay_min:
        raise NotRun(f"the meter delays every cut by {delay_min} minutes ({DELAY})")
    await _obeyed(meter, Action.CUT)
    took_s = await meter.relay_becomes(lambda state: state.relay_open, "the open relay")
    return Seen(f"open after {took_s:.1f} s", (_seconds(meter, "order to open bit", took_s),))


@_leaves_closed
async def _allow(meter: Subject) -> Seen:
    await _open(meter)
    await _obeyed(meter, Action.ALLOW_CLOSE)
    took_s = await meter.relay_becomes(lambda state: not state.command_open, "the permission to close")
    state = await meter.relay()
    how = "waits for the button" if state.relay_open else "closed without a button, as an external breaker does"
    return Seen(f"allowed after {took_s:.1f} s; {how}", (_seconds(meter, "order to permission", took_s),))


@_leaves_closed
async def _close(meter: Subject) -> Seen:
    await _open(meter)
    await _obeyed(meter, Action.CLOSE)
    took_s = await meter.relay_becomes(lambda state: not state.relay_open, "the closed relay")
    return Seen(f"closed after {took_s:.1f} s", (_seconds(meter, "order to closed bit", took_s),))


@_leaves_closed
async def _protected(meter: Subject) -> Seen:
    await _must_be_closed(meter)
    await _obeyed(meter, Action.PROTECT_ON)
    await meter.relay_becomes(lambda state: state.protect, "supply-protect")
    try:
        await meter.control(Action.CUT)
    except Refused as refused:
        if (await meter.relay()).relay_open:
            raise Broken(f"the cut was {refused}, and the relay opened all the same") from None
        said = f"protected; the cut was {refused}"
    else:
        raise Broken("a cut of a protected supply was accepted")
    await _obeyed(meter, Action.PROTECT_OFF)
    await meter.relay_becomes(lambda state: not state.protect, "the end of supply-protect")
    return Seen(f"{said}; unprotected again")


@_leaves_closed
async def _timed_zero(meter: Subject) -> Seen:
    if meter.sealed_only:
        raise NotRun("this meter takes no order but 1B and 1C in plain text")
    meter.may_be_refused()
    until = await meter.meter_time() + timedelta(minutes=10)
    order = bytes([Action.CUT_THEN_CLOSE, 0]) + order_bytes(Action.CUT, until)[2:]
    try:
        await meter.ordered(meter.order_frame(meter.right_password().digits, order))
    except Refused as refused:
        if (await meter.relay()).relay_open:
            raise Broken(f"{refused}, and the relay opened all the same") from None
        return Seen(str(refused))
    raise Broken("a timed cut without a time was accepted")


@_leaves_closed
async def _timed(meter: Subject) -> Seen:
    await _must_be_closed(meter)
    await _obeyed(meter, Action.CUT_THEN_CLOSE, n2=1)
    await meter.relay_becomes(lambda state: state.relay_open, "the open relay")
    back_s = await meter.relay_becomes(lambda state: not state.relay_open, "the supply", TIMED_S + MINUTE_S)
    if back_s < TIMED_S - MINUTE_S:
        raise Broken(f"supply came back after {back_s:.0f} s instead of {TIMED_S:.0f} s")
    return Seen(f"supply came back by itself after {back_s:.0f} s", (_seconds(meter, "timed cut", back_s),))


@_leaves_closed
async def _delayed(meter: Subject) -> Seen:
    await _must_be_closed(meter)
    before = await meter.known(DELAY)
    if before is None:
        raise NotRun(f"the meter has no delay of cuts ({DELAY})")
    await _write_delay(meter, encode_bcd(1, 2))
    try:
        await _obeyed(meter, Action.CUT)
        state = await meter.relay()
        if state.relay_open:
            raise Broken("the relay opened at once, with a delay of one minute set")
        took_s = await meter.relay_becomes(lambda state: state.relay_open, "the open relay", 2 * MINUTE_S)
    finally:
        await _write_delay(meter, before.data)
    if took_s < MINUTE_S * 0.9:
        raise Broken(f"open after {took_s:.0f} s, with a delay of one minute set")
    alarm = "with" if state.pre_trip_alarm else "without"
    return Seen(f"open after {took_s:.0f} s, {alarm} a warning before", (_seconds(meter, "delayed cut", took_s),))


async def _wrong_password(meter: Subject) -> Seen:
    """The one refused password that the list costs; the meter must have taken the right one before."""
    await _knows_password(meter)
    said = await _refused(meter)
    await _knows_password(meter)
    return Seen(f"{said}; the right password is still taken")


async def _lockout(meter: Subject) -> Seen:
    """Locks the meter for a day, which is what it is for."""
    await _knows_password(meter)
    said = [await _refused(meter) for _ in range(LOCKED_AFTER)]
    order = order_bytes(HARMLESS, await meter.meter_time() + timedelta(minutes=10))
    try:
        await meter.ordered(meter.order_frame(meter.right_password().digits, order), deliberate=True)
    except Refused as refused:
        return Seen(f"{LOCKED_AFTER} times {said[0]}, then the right password too was {refused}; locked for a day from now on")
    raise Broken(f"after {LOCKED_AFTER} wrong passwords the right one was still taken")


async def _knows_password(meter: Subject) -> None:
    try:
        await meter.control(HARMLESS)
    except Refused as refused:
        raise NotRun(f"the password that was given was {refused}") from None


async def _refused(meter: Subject) -> str:
    """A wrong password, which must be refused as such. Raises Broken."""
    wrong = f"{(int(meter.right_password().digits) + 1) % 10**6:06d}"
    order = order_bytes(HARMLESS, await meter.meter_time() + timedelta(minutes=10))
    try:
        await meter.ordered(meter.order_frame(wrong, order), deliberate=True)
    except Refused as refused:
        if any(PASSWORD in flag for flag in refused.flags):
            return str(refused)
        raise Broken(f"a wrong password was {refused}, which does not say why") from None
    raise Broken("a wrong password was accepted")


async def _obeyed(meter: Subject, action: Action, n2: int = 0) -> None:
    """Accepted. Raises NotRun where the meter wants it sealed: then every order but 1B and 1C, which are not tried again."""
    if meter.sealed_only and action not in PLAIN_EVERYWHERE:
        raise NotRun("this meter takes no order but 1B and 1C in plain text")
    if action not in PLAIN_EVERYWHERE:
        meter.may_be_refused()
    try:
        await meter.control(action, n2=n2)
    except Refused as refused:
        if any(PASSWORD in flag for flag in refused.flags):
            meter.sealed_only = action not in PLAIN_EVERYWHERE
            raise NotRun(f"{action.name} in plain text was {refused}: this meter wants it sealed, or another authority") from None
        raise Broken(f"{action.name} was {refused}") from None


async def _must_be_closed(meter: Subject) -> None:
    meter.right_password()
    state = await meter.relay()
    if state.protect:
        await _obeyed(meter, Action.PROTECT_OFF)
    if state.relay_open or state.command_open:
        await _obeyed(meter, Action.CLOSE)
        await meter.relay_becomes(lambda state: not state.relay_open, "the closed relay, which the case begins with")


async def _open(meter: Subject) -> None:
    await _must_be_closed(meter)
    if delay_min := await _delay_min(meter):
        raise NotRun(f"the meter delays every cut by {delay_min} minutes ({DELAY})")
    await _obeyed(meter, Action.CUT)
    await meter.relay_becomes(lambda state: state.relay_open, "the open relay, which the case begins with")


async def _delay_min(meter: Subject) -> int:
    answer = await meter.known(DELAY)
    return (decode_bcd(answer.data) or 0) if answer else 0


async def _write_delay(meter: Subject, data: bytes) -> None:
    password = meter.right_password()
    level = 2 if password.level is None else password.level
    write = Write(meter.address, DELAY, data, level, password.digits, meter.options.operator)
    meter.may_be_refused()
    try:
        await meter.run(lambda: write)
    except Refused as refused:
        if any(PASSWORD in flag for flag in refused.flags):
            meter.refused_once()
        raise NotRun(f"the delay of cuts could not be written: {refused}") from None


def _seconds(meter: Subject, name: str, value: float) -> Figure:
    """A time seen by asking again and again: no better than one round of questions."""
    return Figure(name, round(value, 1), "s", round(0.7 + meter.precision.bound_ms / 1000, 2))


CASES = (
    Case("control.accept", GRID, "An order with the right password", "9C", _accepted),
    Case("control.expiry", GRID, "An order whose time has passed", "DC; nothing happens", _expired),
    Case("control.cut", GRID, "Cut (1A)", "9C, then the relay bit", _cut),
    Case("control.allow", GRID, "Allow-close (1B)", "9C, then the order bit; the contact waits for the button", _allow),
    Case("control.close", GRID, "Close (1C)", "9C, then the relay bit", _close),
    Case("control.protect", GRID, "Supply-protect (3A, 3B)", "a cut is refused while it lasts", _protected),
    Case("control.timed-zero", GRID, "A timed cut without a time (1D, N2 = 0)", "DC; nothing happens", _timed_zero),
    Case("control.timed", GRID, "A timed cut (1D, N2 = 1)", "supply after 5 minutes", _timed, opt_in="long"),
    Case("control.delay", GRID, "A delay of cuts (04001401)", "open a minute later", _delayed, opt_in="long"),
    Case("control.password", GRID, "A wrong password", "DC, bit 2; the right one is still taken", _wrong_password),
    Case("control.lock", GRID, "Three wrong passwords", "the right one is refused for a day", _lockout, opt_in="lockout"),
)
