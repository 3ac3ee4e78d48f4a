"""The DL/T 645-2007 side of a meter: what its identifiers hold, and how it obeys 08, 11 to 14 and 1C."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from firmware_sim.loads import DAY_US
from firmware_sim.meter import Meter, apparent, reactive
from firmware_sim.station import Reply, Station
from protocols.bcd import encode_bcd, encode_digits
from protocols.dlt645.frames import ANY, BROADCAST
from protocols.dlt645.slave import (
    BroadcastTimeRequest,
    ControlRequest,
    ReadAddressRequest,
    ReadRequest,
    Request,
    SubsequentRequest,
    WriteRequest,
    address_answer,
    control_answer,
    error_answer,
    read_answer,
    write_answer,
)
from protocols.dlt645.values import decode_clock, encode_date, encode_time
from protocols.errors import RequestError

OTHER, NO_DATA, PASSWORD = 0x01, 0x02, 0x04
CUT, ALLOW, CLOSE, ALARM_ON, ALARM_OFF, PROTECT_ON, PROTECT_OFF = 0x1A, 0x1B, 0x1C, 0x2A, 0x2B, 0x3A, 0x3B
SYNC_WINDOW_US = 300_000_000  # 08 corrects five minutes at most
ENERGY_ROLLOVER = 10**8  # the register holds 999999.99


class Dlt645Firmware:
    """One meter as DL/T 645 sees it; the caller has advanced the meter to this moment."""

    def __init__(self, meter: Meter, address: str, password: str, level: int) -> None:
        self.meter = meter
        self.address = address
        self._authority = (level, password)
        self._synced_day = -1
        self._quantities: dict[str, Callable[[int], bytes]] = {
            "0201": lambda phase: encode_bcd(meter.voltage_mv(phase) // 100, 2),
            "0202": lambda phase: encode_bcd(meter.current_ma(phase), 3, signed=True),
            "0203": lambda phase: _power(meter.phase_power_mw(phase)),
            "0204": lambda phase: _power(reactive(meter.phase_power_mw(phase), meter.pf_milli)),
            "0205": lambda phase: _power(apparent(meter.phase_power_mw(phase), meter.pf_milli)),
            "0206": lambda phase: encode_bcd(meter.pf_milli, 2, signed=True),
        }
        self._totals: dict[str, Callable[[], bytes]] = {
            "0203": lambda: _power(meter.power_mw),
            "0204": lambda: _power(reactive(meter.power_mw, meter.pf_milli)),
            "0205": lambda: _power(apparent(meter.power_mw, meter.pf_milli)),
            "0206": lambda: encode_bcd(meter.pf_milli, 2, signed=True),
        }
        self._parameters: dict[str, Callable[[], bytes]] = {
            "02800002": lambda: encode_bcd(meter.frequency_mhz // 10, 2),
            "04000101": lambda: encode_date(self.clock),
            "04000102": lambda: encode_time(self.clock),
            "0400010C": lambda: encode_time(self.clock) + encode_date(self.clock),
            "04000204": lambda: encode_bcd(meter.spec.rates, 1),
            "04000401": lambda: encode_digits(address),
            "04000402": lambda: encode_digits(address),
            "040005FF": lambda: b"".join(self.status(n) for n in range(1, 8)),
        }

    @property
    def clock(self) -> datetime:
        """The meter's own local time, to the second; its year has two digits, so it begins again after 2099."""
        clock = datetime.fromtimestamp(self.meter.clock_us // 1_000_000, UTC)
        return clock.replace(year=2000 + clock.year % 100, tzinfo=None)

    def read(self, di: str) -> bytes | None:
        """The data of this identifier (8 hex digits) without the identifier; None: no such data."""
        if di in self._parameters:
            return self._parameters[di]()
        if di.startswith("00"):
            return self._energy(int(di[2:4], 16), int(di[4:6], 16), di[6:])
        if di[:4] in self._quantities and di[6:] == "00":
            return self._instant(di[:4], int(di[4:6], 16))
        if di.startswith("0400050") and "1" <= di[7] <= "7":
            return self.status(int(di[7]))
        return None

    def status(self, number: int) -> bytes:
        """Status word 1..7; only word 3 has anything to tell: relay (late), order, alarm, protection."""
        word = 0
        if number == 3:
            relay, meter = self.meter.relay, self.meter
            word = (not relay.reported_closed) << 4 | (not relay.order_closed) << 6 | meter.alarm << 7 | meter.protect << 12
        return word.to_bytes(2, "little")

    def control(self, request: ControlRequest) -> int:
        """Obey 1C. The error byte of a refusal, 0 when accepted; accepted is not yet executed.

        Passed expiry, protection and unknown commands are "other error": the plain answer has no bit of their own.
        """
        if not self._authorised(request.level, request.password):
            return PASSWORD
        if request.expiry is None or request.expiry < self.clock:
            return OTHER
        return 0 if self._command(request.code) else OTHER

    def write(self, request: WriteRequest) -> int:
        """Obey 14 for date (04000101) and time (04000102). The error byte of a refusal, 0 when written."""
        if not self._authorised(request.level, request.password):
            return PASSWORD
        date, time = encode_date(self.clock), encode_time(self.clock)
        if request.di == "04000101":
            date = request.data
        elif request.di == "04000102":
            time = request.data
        else:
            return NO_DATA
        clock = decode_clock(date, time)
        if clock is None:
            return OTHER
        self.meter.set_clock(local_us(clock))
        return 0

    def set_time(self, wanted: datetime | None) -> bool:
        """Obey broadcast 08: within five minutes, once a day, not around midnight. False: ignored."""
        if wanted is None:
            return False
        clock_us = self.meter.clock_us
        day, into_us = divmod(clock_us, DAY_US)
        beside_midnight = min(into_us, DAY_US - into_us) < SYNC_WINDOW_US
        if abs(local_us(wanted) - clock_us) > SYNC_WINDOW_US or beside_midnight or day == self._synced_day:
            return False
        self._synced_day = day
        self.meter.set_clock(local_us(wanted))
        return True

    def _authorised(self, level: int, password: str) -> bool:
        """Level and password are the meter's; a refusal is counted."""
        if (level, password) == self._authority:
            return True
        self.meter.refused_passwords += 1
        return False

    def _command(self, order: int) -> bool:
        meter = self.meter
        if order == CUT:
            if meter.protect:
                return False
            meter.relay.cut(meter.now_us)
        elif order == ALLOW:
            meter.relay.allow(meter.now_us)
        elif order == CLOSE:
            meter.relay.close(meter.now_us)
        elif order in (ALARM_ON, ALARM_OFF):
            meter.alarm = order == ALARM_ON
        elif order in (PROTECT_ON, PROTECT_OFF):
            meter.protect = order == PROTECT_ON
        else:
            return False
        return True

    def _energy(self, kind: int, rate: int, period: str) -> bytes | None:
        """Combined (00), forward (01), reverse (02: always 0) active energy of now; rate 0 total, FF all of them."""
        rates = self.meter.spec.rates
        if kind > 2 or period != "00" or (rate > rates and rate != 0xFF):
            return None
        wanted = range(rates + 1) if rate == 0xFF else [rate]
        counts = (0 if kind == 2 else self.meter.rate_count(n) if n else self.meter.total_count for n in wanted)
        return b"".join(encode_bcd(count % ENERGY_ROLLOVER, 4) for count in counts)

    def _instant(self, family: str, which: int) -> bytes | None:
        """Total (00) where the family has one, one phase (01..03), or the block (FF) with absent phases filled with FF."""
        phases = self.meter.spec.phases
        of_phase, total = self._quantities[family], self._totals.get(family)
        if which == 0:
            return total() if total else None
        if 1 <= which <= phases:
            return of_phase(which - 1)
        if which != 0xFF:
            return None
        present = [of_phase(phase) for phase in range(phases)]
        absent = [b"\xff" * len(present[0])] * (3 - phases)
        return (total() if total else b"") + b"".join(present + absent)


class Dlt645Unit:
    """A station that speaks DL/T 645-2007."""

    def __init__(self, station: Station, firmware: Dlt645Firmware) -> None:
        self.station = station
        self.firmware = firmware

    def serve(self, request: Request, raw: bytes, at_us: int) -> Reply | None:
        """Act on a request to this meter, to a pattern it matches or to everybody; None is silence."""
        if not self.station.hears(raw, at_us):
            return None
        if isinstance(request, BroadcastTimeRequest):
            self.firmware.set_time(request.when)
            self.station.keep(self.station)
            return None
        data = self._answer(request)
        return self.station.reply(data, command=isinstance(request, ControlRequest)) if data else None

    def _answer(self, request: Request) -> bytes:
        """The frame to send; empty for silence: nobody answers a broadcast, and only reading may be abbreviated."""
        own = self.firmware.address
        reading = isinstance(request, ReadRequest | ReadAddressRequest)
        if request.address == BROADCAST or (request.address != own and not reading):
            return b""
        if isinstance(request, ReadAddressRequest):
            return address_answer(own) if request.address in (own, ANY) else b""
        if isinstance(request, ReadRequest):
            data = self.firmware.read(request.di) if request.count is None else None
            return error_answer(own, request.control, NO_DATA) if data is None else read_answer(own, request.di, data)
        if isinstance(request, SubsequentRequest):
            return self._part(request)
        if isinstance(request, ControlRequest):
            error = self.firmware.control(request)
            return error_answer(own, request.control, error) if error else control_answer(own)
        if isinstance(request, WriteRequest):
            error = self.firmware.write(request)
            return error_answer(own, request.control, error) if error else write_answer(own)
        return error_answer(own, request.control, OTHER)

    def _part(self, request: SubsequentRequest) -> bytes:
        own = self.firmware.address
        try:
            return read_answer(own, request.di, self.firmware.read(request.di) or b"", request.seq)
        except RequestError:
            return error_answer(own, request.control, NO_DATA)


def local_us(clock: datetime) -> int:
    """A meter's naive time in microseconds since 1970."""
    return int(clock.replace(tzinfo=UTC).timestamp()) * 1_000_000


def _power(power_mw: int) -> bytes:
    """XX.XXXX kW with a sign bit; a load above 79.9999 kW shows that."""
    return encode_bcd(min(power_mw // 100, 799_999), 3, signed=True)
