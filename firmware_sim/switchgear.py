"""What a meter does with orders of supply (1C): delays, the high-current guard, timed cuts, protection, and its own money.

The state machine is that of one firmware (DL/T 645 notes 5); times are monotonic, the expiry of an order has been judged before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from firmware_sim.clockwork import MINUTE_US
from firmware_sim.loads import FOREVER_US
from firmware_sim.meter import MILLION, Meter
from protocols.dlt645.codes import ControlError, ControlWord
from protocols.dlt645.master import Action

DONE = 0x80
"""Added to the latest order once it has been carried out."""
NOBODY = "00000000"
STUCK_US = 10 * MILLION  # current this long after an order to open means that the switch has not obeyed
_TIMED = (Action.CUT_THEN_CLOSE, Action.CUT_THEN_ALLOW)


@dataclass(frozen=True, slots=True)
class Settings:
    """delay_min: 04001401. guard_ma, guard_min: 04001402/03; 0 mA switches the guard off. restore_min: one unit of N2.

    protect: what 3A does to an open switch: "allow", "close" or "none".
    """

    delay_min: int = 0
    guard_ma: int = 0
    guard_min: int = 0
    restore_min: int = 5
    protect: str = "allow"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A trip that has not happened yet. guarded: it waits for the current to fall, at most until `due_us`."""

    due_us: int
    operator: str
    cause: str
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Return:
    """When a timed cut ends, and how."""

    due_us: int
    direct: bool
    operator: str


class SwitchGear:
    """The latest order and what of it is still to come. cause: why supply is off: "remote", "timed", "credit", or "" when it is on.

    exhausted: the meter's own money is used up. tripped, closed: called with the operator when the coil is moved.
    """

    def __init__(
        self,
        meter: Meter,
        settings: Callable[[], Settings],
        exhausted: Callable[[], bool],
        tripped: Callable[[str], None],
        closed: Callable[[str], None],
    ) -> None:
        self._meter = meter
        self._settings = settings
        self._exhausted = exhausted
        self._tripped = tripped
        self._closed = closed
        self.latest = 0
        self.cause = "" if meter.relay.order_closed else "remote"
        self.waiting: Waiting | None = None
        self.returning: Return | None = None
        self._allow_when_open = False
        self._ordered_us = meter.now_us

    # -- orders

    def order(self, code: int, n2: int, operator: str) -> ControlError | ControlWord:
        """Obey, or say why not; an unknown code is refused without a reason (0)."""
        acts: dict[int, Callable[[], ControlError | ControlWord]] = {
            Action.CUT: lambda: self._cut(operator),
            Action.CUT_THEN_CLOSE: lambda: self._cut_for(n2, True, operator),
            Action.CUT_THEN_ALLOW: lambda: self._cut_for(n2, False, operator),
            Action.ALLOW_CLOSE: lambda: self._permit(operator),
            Action.CLOSE: lambda: self._close(operator),
            Action.ALARM_ON: lambda: self._alarm(True),
            Action.ALARM_OFF: lambda: self._alarm(False),
            Action.PROTECT_ON: lambda: self._protect(operator),
            Action.PROTECT_OFF: self._unprotect,
        }
        if code not in acts:
            return ControlError(0)
        answer = acts[code]()
        if isinstance(answer, ControlWord):
            self.latest = code if self.waiting else code | DONE
        return answer

    def press(self) -> bool:
        """The customer's button. False: nothing happens, as without a permission or with the money used up."""
        if (self._exhausted() and not self._meter.protect) or not self._meter.relay.press(self._meter.now_us):
            return False
        self._on(NOBODY)
        return True

    def out_of_credit(self, once: bool = False) -> None:
        """The meter's own money ends supply, unless it is protected. once: only as a warning, so the button may close again."""
        if self._meter.protect or not self._meter.relay.order_closed:
            return
        self._allow_when_open = once
        self._begin(NOBODY, "credit")

    def in_credit(self) -> None:
        """There is money again: what was cut for it may be closed by the button."""
        if self.waiting and self.waiting.cause == "credit":
            self.waiting = None
        elif self.cause == "credit":
            self._meter.relay.allow(self._meter.now_us)

    def _cut(self, operator: str) -> ControlError | ControlWord:
        if self._meter.protect:
            return ControlError.PROTECTED
        self.returning = None
        if not self._meter.relay.order_closed or self._meter.relay.allowed:
            self._open(operator, "remote")
            return ControlWord.TRIP
        return self._begin(operator, "remote")

    def _cut_for(self, n2: int, direct: bool, operator: str) -> ControlError | ControlWord:
        if self._meter.protect:
            return ControlError.TIMED_PROTECTED
        if n2 == 0:
            return ControlError.NO_RESTORE_TIME
        open_for_good = not self._meter.relay.order_closed and self.returning is None
        if open_for_good or self._meter.relay.allowed:
            return ControlError.ALREADY_OPEN
        self.waiting = None
        self.returning = Return(self._meter.now_us + n2 * self._settings().restore_min * MINUTE_US, direct, operator)
        self._open(operator, "timed")
        return ControlWord.TIMED

    def _permit(self, operator: str) -> ControlWord:
        if not self._blocked():
            self._forget()
            was_closed = self._meter.relay.order_closed
            self._meter.relay.allow(self._meter.now_us)
            if self._meter.relay.order_closed and not self._meter.relay.allowed and not was_closed:
                self._on(operator)
        return ControlWord.ALLOW

    def _close(self, operator: str) -> ControlWord:
        if not self._blocked():
            self._forget()
            was_closed = self._meter.relay.order_closed and not self._meter.relay.allowed
            self._meter.relay.close(self._meter.now_us)
            if not was_closed and not self._meter.relay.allowed:
                self._on(operator)
        return ControlWord.CLOSE

    def _alarm(self, on: bool) -> ControlWord:
        self._meter.alarm = on
        return ControlWord.ALARM_ON if on else ControlWord.ALARM_OFF

    def _protect(self, operator: str) -> ControlWord:
        self._meter.protect = True
        self._forget()
        how = self._settings().protect
        if not self._meter.relay.order_closed and how != "none":
            if how == "close":
                self._meter.relay.close(self._meter.now_us)
                self._on(operator)
            else:
                self._meter.relay.allow(self._meter.now_us)
        return ControlWord.PROTECT_ON

    def _unprotect(self) -> ControlWord:
        self._meter.protect = False
        if self._exhausted():
            self.out_of_credit()
        return ControlWord.PROTECT_OFF

    def _blocked(self) -> bool:
        """Local cost control wins: closing is answered and does nothing while the money is used up."""
        return self._exhausted() and not self._meter.protect

    def _forget(self) -> None:
        self.waiting = self.returning = None
        self._allow_when_open = False

    # -- carrying out

    def _begin(self, operator: str, cause: str) -> ControlWord:
        delay_min = self._settings().delay_min
        if delay_min:
            if self.waiting is None or self.waiting.guarded:
                self.waiting = Waiting(self._meter.now_us + delay_min * MINUTE_US, operator, cause)
            return ControlWord.DELAYED
        return self._trip(operator, cause)

    def _trip(self, operator: str, cause: str) -> ControlWord:
        """Open, or wait for the current to fall below the guard's threshold."""
        settings = self._settings()
        if settings.guard_min and self._over_guard(settings.guard_ma):
            self.waiting = Waiting(self._meter.now_us + settings.guard_min * MINUTE_US, operator, cause, guarded=True)
            return ControlWord.HIGH_CURRENT
        self._open(operator, cause)
        return ControlWord.TRIP

    def _over_guard(self, guard_ma: int) -> bool:
        phases = range(self._meter.spec.phases)
        return 0 < guard_ma < max(abs(self._meter.measured_ma(phase)) for phase in phases)

    def _open(self, operator: str, cause: str) -> None:
        was_on = self._meter.relay.order_closed and not self._meter.relay.allowed
        self.waiting = None
        self.cause = cause
        self.latest |= DONE
        self._meter.relay.cut(self._meter.now_us)
        if was_on:
            self._ordered_us = self._meter.now_us
            self._tripped(operator)

    def _on(self, operator: str) -> None:
        self.cause = ""
        self._closed(operator)

    def due_us(self) -> int:
        """See Part."""
        waiting = self.waiting.due_us if self.waiting else FOREVER_US
        returning = self.returning.due_us if self.returning else FOREVER_US
        return min(waiting, returning)

    def arrive(self) -> None:
        """See Part. A guarded trip looks at the current at every stop, and every stop is where a current can change."""
        now_us, waiting, returning = self._meter.now_us, self.waiting, self.returning
        if waiting and (waiting.due_us <= now_us or (waiting.guarded and not self._over_guard(self._settings().guard_ma))):
            self.waiting = None
            if waiting.guarded:
                self._open(waiting.operator, waiting.cause)
            else:
                self._trip(waiting.operator, waiting.cause)
        if returning and returning.due_us <= now_us:
            self.returning = None
            (self._close if returning.direct else self._permit)(returning.operator)
        if self._allow_when_open and not self._meter.relay.contact_closed:
            self._allow_when_open = False
            self._meter.relay.allow(now_us)

    @property
    def pre_trip(self) -> bool:
        """A trip is announced and has not happened yet."""
        return self.waiting is not None

    @property
    def failed(self) -> bool:
        """The coil says open and current still flows: the switch cannot open."""
        late = self._meter.now_us - self._ordered_us >= STUCK_US
        return late and not self._meter.relay.order_closed and self._meter.power_mw != 0

    # -- surviving a restart

    def save(self) -> dict[str, object]:
        """State with times left instead of moments."""
        now_us = self._meter.now_us
        saved: dict[str, object] = {"latest": self.latest, "cause": self.cause}
        if self.waiting:
            saved["waiting"] = asdict(self.waiting) | {"due_us": self.waiting.due_us - now_us}
        if self.returning:
            saved["returning"] = asdict(self.returning) | {"due_us": self.returning.due_us - now_us}
        return saved

    def restore(self, saved: dict[str, object]) -> None:
        """Continue; what was due while nobody ran is due now."""
        now_us = self._meter.now_us
        self.latest, self.cause = int(str(saved["latest"])), str(saved["cause"])
        if isinstance(waiting := saved.get("waiting"), dict):
            self.waiting = Waiting(**waiting | {"due_us": now_us + waiting["due_us"]})
        if isinstance(returning := saved.get("returning"), dict):
            self.returning = Return(**returning | {"due_us": now_us + returning["due_us"]})
