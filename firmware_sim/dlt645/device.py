"""A DL/T 645 meter put together: its physics and everything that acts on it by itself or on order."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from random import Random
from typing import Any

from firmware_sim.access import Access
from firmware_sim.billing import Billing
from firmware_sim.clockwork import MINUTE_US, Clockwork, NextAfter, every, local
from firmware_sim.demand import MAX_WINDOW, Demand
from firmware_sim.dlt645 import freezes, persistence, reads, sampling
from firmware_sim.dlt645.covers import Covers
from firmware_sim.dlt645.curves import Curves
from firmware_sim.dlt645.freezes import Freezes
from firmware_sim.dlt645.options import Options
from firmware_sim.dlt645.parameters import Parameters
from firmware_sim.dlt645.readings import Reading, Words, take
from firmware_sim.dlt645.security import MAX_ORDERS, Session
from firmware_sim.dlt645.settlement import Settlement
from firmware_sim.events import EventLog
from firmware_sim.loads import DAY_US, FOREVER_US
from firmware_sim.meter import Meter
from firmware_sim.prices import PriceBook
from firmware_sim.switchgear import Settings, SwitchGear
from firmware_sim.wallet import Credit, Limits, Steps, Wallet
from firmware_sim.watches import Bounds, Watches
from protocols.bcd import encode_digits
from protocols.dlt645.codes import SPEEDS
from protocols.dlt645.identifiers import write_fields

KWH_FOR_KWH = Steps(adders=(10_000,))
"""What 0.01 kWh costs a wallet of 0.01 kWh, whatever its rate."""
TRIPS, CLOSES = "1D00", "1E00"
LIMITS = {"04001001": "alarm_1", "04001002": "alarm_2", "04001003": "overdraft", "04001004": "hoarding", "04001005": "reconnect"}
KWH_LIMITS = {"04000F01": "alarm_1", "04000F02": "alarm_2", "04000F03": "hoarding", "04000F04": "overdraft"}
"""DI -> the wallet's limit that it sets, for money and for energy."""


class Device:
    """One meter. Whoever asks has advanced `meter` to this moment; `address` and `baud` (None: the line's) may be changed."""

    def __init__(self, meter: Meter, options: Options, rng: Random) -> None:
        self.meter = meter
        self.options = options
        self.address = options.address
        self.changes = 0
        self.baud: int | None = None
        self.parameters = Parameters(_own(meter, options))
        self.log = EventLog()
        self.prices = PriceBook()
        self.access = Access(meter, options.passwords, options.key_needed)
        self.session = Session(meter, rng)
        self.demand = Demand(meter, self._window)
        self.clockwork = Clockwork(meter)
        self.freezes = Freezes(lambda kind: sampling.frozen(self, kind))
        self.curves = Curves(lambda group: sampling.sample(self, group))
        self.settlement = Settlement(self)
        self.gear = SwitchGear(meter, self._settings, self._exhausted, self._on_trip, self._on_close)
        self.watches = Watches(meter, self.log, lambda: sampling.moment(self), self._bounds)
        self.covers = Covers(self)
        self.orders: deque[str] = deque(maxlen=MAX_ORDERS)
        self.synced_day = -1
        self.wallet: Wallet | None = None
        self.billing: Billing | None = None
        self._build_wallet()
        self._add_bells()
        for di in options.set:
            self.parameter_changed(di)
        self.tables_changed()
        meter.parts += [part for part in (self.billing, self.demand, self.clockwork, self.gear, self.watches) if part]

    def save(self) -> dict[str, object]:
        """What the next answer may speak of: written before it leaves."""
        return persistence.save(self)

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Continue from `save`; the meter's registers stand already. Raises KeyError, TypeError or ValueError."""
        persistence.restore(self, saved)

    @property
    def version(self) -> int:
        """Changes whenever `history` does."""
        return persistence.version(self)

    def history(self) -> dict[str, object]:
        """What the meter remembers for long."""
        return persistence.history(self)

    def restore_history(self, saved: Mapping[str, Any]) -> None:
        """Continue from `history`. Raises KeyError, TypeError or ValueError."""
        persistence.restore_history(self, saved)

    def read(self, di: str) -> bytes | None:
        """The payload of an identifier (8 hex digits); None: no such data."""
        return reads.read(self, di)

    def read_records(self, di: str, count: int, when: datetime | None) -> bytes | None:
        """Load records, so many, from a time on where one is given."""
        return reads.read(self, di, count, when)

    def reading(self) -> Reading:
        """All registers now."""
        return take(self.meter, self.demand)

    @property
    def in_kwh(self) -> bool:
        """The wallet holds energy instead of money."""
        return self.options.wallet is not None and self.options.wallet.in_kwh

    @property
    def limits(self) -> dict[str, str]:
        """DI -> the wallet's limit that it sets."""
        return KWH_LIMITS if self.in_kwh else LIMITS

    @property
    def words(self) -> Words:
        """The combination words."""
        return Words(*(self.parameters.word(f"0400060{n}") for n in (1, 2, 3)))

    def stamp(self) -> str:
        """YYMMDDhhmmss of now, as event records have it."""
        return local(self.meter.clock_us).strftime("%y%m%d%H%M%S")

    def parameter_changed(self, di: str) -> None:
        """A plain parameter has been written: what depends on it follows at once."""
        self.changes += 1
        if di in self.limits and self.wallet and self.billing:
            self.wallet.limits = Limits(**{name: self.parameters.number(di) for di, name in self.limits.items()})
            self.billing.review()  # may trip, and never brings supply back
        if di.startswith("040008"):
            self.meter.timetable.weekend_word = self.parameters.word("04000801")
            self.meter.timetable.weekend_table = max(1, self.parameters.number("04000802"))
            self.meter.timetable.changed()
        self.tables_changed()

    def tables_changed(self) -> None:
        """Tables, prices or times of the calendar are others now."""
        self.changes += 1
        self.clockwork.rewind()
        self.prices.unsettled = not self.settlement.steps_are_settled()

    def purchased(self) -> None:
        """Money came in: it may bring supply back, by the button."""
        self.changes += 1
        if self.wallet and self.billing:
            self.billing.review()
            if self.wallet.reconnectable:
                self.gear.in_credit()

    def _add_bells(self) -> None:
        """What happens by the clock: settlement, freezes, switch times and load records."""
        frozen = self.freezes
        self.clockwork.add(self.settlement.next_after, self.settlement.settle)
        self.clockwork.add(lambda at: freezes.when_timed(frozen.timed)(at), lambda at: frozen.take(freezes.TIMED, at))
        self.clockwork.add(self._hour, lambda at: frozen.take(freezes.HOURLY, at))
        self.clockwork.add(self._midnight, lambda at: frozen.take(freezes.DAILY, at))
        self.clockwork.add(self.settlement.next_steps, self.settlement.settle_steps)
        for di, switch in self.settlement.switches().items():
            self.clockwork.add(self._switch_time(di), switch)
        self.clockwork.add(self._record_time, self._record)

    def _switch_time(self, di: str) -> NextAfter:
        def next_after(at_us: int) -> int:
            target_us = freezes.stamp_us(self.parameters.get(di))
            return target_us if target_us > at_us else FOREVER_US

        return next_after

    def _hour(self, at_us: int) -> int:
        minutes = self.parameters.number("04001202")
        return every(minutes * MINUTE_US)(at_us) if minutes else FOREVER_US

    def _midnight(self, at_us: int) -> int:
        hours, minutes = divmod(self.parameters.number("04001203"), 100)
        return every(DAY_US, (hours * 60 + minutes) * MINUTE_US)(at_us)

    def _intervals(self) -> list[int]:
        return [self.parameters.number(f"04000A0{n}") for n in range(2, 8)]

    def _record_time(self, at_us: int) -> int:
        mode = self.parameters.word("04000901")
        wanted = [minutes for n, minutes in enumerate(self._intervals()) if minutes and mode >> n & 1]
        return min((every(minutes * MINUTE_US)(at_us) for minutes in wanted), default=FOREVER_US)

    def _record(self, at_us: int) -> None:
        self.curves.take(at_us, self.parameters.word("04000901"), self._intervals())

    def _window(self) -> tuple[int, int]:
        period, slip = self.parameters.number("04000103"), self.parameters.number("04000104")
        slip = max(1, slip)
        return min(max(period, slip), MAX_WINDOW * slip), slip

    def _settings(self) -> Settings:
        delay, guard_ma, guard = (self.parameters.number(di) for di in ("04001401", "04001402", "04001403"))
        return Settings(delay, guard_ma, guard, self.options.profile.restore_minutes, self.options.protect)

    def _bounds(self) -> Bounds:
        power, _, high, low = (self.parameters.number(f"04000E0{n}") for n in range(1, 5))
        return Bounds(low * 100, high * 100, power * 100)

    def _exhausted(self) -> bool:
        return self.wallet is not None and self.wallet.credit == Credit.EXHAUSTED

    def _build_wallet(self) -> None:
        chosen = self.options.wallet
        if chosen is None:
            return
        prices = PriceBook(steps=[KWH_FOR_KWH, KWH_FOR_KWH]) if chosen.in_kwh else self.prices
        self.prices.rates[0][: len(chosen.prices)] = chosen.prices
        self.prices.rates[1][:] = self.prices.rates[0]
        self.prices.steps = [chosen.steps, chosen.steps]
        self.wallet = Wallet(replace(chosen.limits), chosen.balance_fen, chosen.customer, chosen.count, chosen.at_least)
        self.billing = Billing(self.meter, self.wallet, prices, lambda: self.words.signs, self._on_credit)

    def _on_credit(self, old: Credit, new: Credit) -> None:
        """The wallet has got better or worse."""
        chosen = self.options.wallet
        if new == Credit.EXHAUSTED:
            self.gear.out_of_credit()
        elif new == Credit.VERY_LOW and old < new and chosen and chosen.trip_once:
            self.gear.out_of_credit(once=True)

    def _on_trip(self, operator: str) -> None:
        self.log.add(TRIPS, self._switched(operator))

    def _on_close(self, operator: str) -> None:
        self.log.add(CLOSES, self._switched(operator))

    def _switched(self, operator: str) -> dict[str, str]:
        return {"at": self.stamp(), "operator": operator} | sampling.directions(self)


def _own(meter: Meter, options: Options) -> dict[str, bytes]:
    """Parameters that differ from meter to meter."""
    word = SPEEDS.get(options.baud, SPEEDS[2400])
    own = {
        "04000402": encode_digits(options.address),
        "04000404": write_fields("04000404", [f"{meter.spec.voltage_mv // 1000}V"]),
        **{f"0400070{n}": bytes([word]) for n in (3, 4, 5)},
    }
    if options.wallet:
        limits = KWH_LIMITS if options.wallet.in_kwh else LIMITS
        own |= {di: _money(getattr(options.wallet.limits, name)) for di, name in limits.items()}
    return own | options.set


def _money(fen: int) -> bytes:
    """XXXXXX.XX, of yuan or kWh."""
    return write_fields("04001001", [Decimal(fen).scaleb(-2)])
