"""The meters' clocks as they were last seen, and what was done about them."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, select

from gateway.adapters.store import schema
from gateway.adapters.store.codec import decode, encode
from gateway.adapters.store.statements import Part, Row, Statement, upsert
from gateway.domain.clocks import ClockState, MeterClock, Remedy
from gateway.domain.jobs import ClockSeen

_c, _m = schema.clock.c, schema.meter.c
CLOCK = Statement(select(schema.clock).where(_c.meter == bindparam("meter")))
CLOCKS = Statement(
    select(schema.clock).join(schema.meter, _m.id == _c.meter).where(_m.line == bindparam("line")).order_by(_c.meter)
)
SAVE_CLOCK = upsert(schema.clock)


class Clocks(Part):
    """The clocks' share of a transaction."""

    def clock(self, meter: str) -> MeterClock | None:
        row = self._session.row(CLOCK, meter=meter)
        return None if row is None else _clock(row)

    def clocks(self, line: str) -> Sequence[MeterClock]:
        return [_clock(row) for row in self._session.rows(CLOCKS, line=line)]

    def save_clock(self, clock: MeterClock) -> None:
        seen = clock.seen
        self._session.change(
            SAVE_CLOCK,
            meter=clock.meter,
            state=clock.state,
            offset_ms=None if seen is None else seen.offset_ms,
            within_ms=None if seen is None else seen.within_ms,
            seen_ms=None if seen is None else seen.at_ms,
            tried_ms=clock.tried_ms,
            tries=clock.tries,
            sent=clock.sent,
            sent_ms=clock.sent_ms,
            off_ms=clock.off_ms,
            unheeded=clock.unheeded,
            written=encode(clock.written),
            refused=encode(clock.refused),
            blocked_ms=clock.blocked_ms,
        )


def _clock(row: Row) -> MeterClock:
    meter, state, offset_ms, within_ms, seen_ms, tried_ms, tries, sent, *rest = row
    sent_ms, off_ms, unheeded, written, refused, blocked_ms = rest
    return MeterClock(
        meter,
        ClockState(state),
        None if seen_ms is None else ClockSeen(offset_ms, within_ms, seen_ms),
        tried_ms,
        tries,
        None if sent is None else Remedy(sent),
        sent_ms,
        off_ms,
        unheeded,
        decode(written, tuple[int, ...]),
        decode(refused, tuple[int, ...]),
        blocked_ms,
    )
