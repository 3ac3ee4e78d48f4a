"""A meter's own records of events: its counters are cheap, and only where one moved are the new records read (dlt645.md 8.4)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime, tzinfo

from gateway.adapters.lines.driver import Timed
from gateway.adapters.meter_links.dlt645_past import Ask, NotThere, past_reading
from gateway.domain.jobs import Answered, EventRecord
from gateway.domain.readings import Reading, Source
from gateway.domain.slots import moment_of
from protocols.dlt645.items import FieldValue
from protocols.dlt645.master import ReadAnswer
from protocols.errors import Refused
from protocols.quantities import Measurement

DEPTH = 10
"""Records of a kind that a meter keeps (DL/T 645-2007 A.4)."""

MOST_DETAIL = 40
"""Values of a record that are told; the registers of a cleared meter are 24."""

_STARTS, _ENDS = ("started_at", "at", "before"), ("ended_at", "after")


class EventRound:
    """Looks at one counter or record a step, over and over. What was read before the gateway started is not known: then all is."""

    def __init__(self, meter: str, counters: Sequence[str], zone: tzinfo, ask: Ask) -> None:
        self._meter, self._zone, self._ask = meter, zone, ask
        self._counters = list(counters)
        self._left: deque[str] = deque()
        self._records: deque[str] = deque()
        self._seen: dict[str, int] = {}
        self._found: list[Measurement] = []
        self._last: Timed[ReadAnswer] | None = None

    async def step(self) -> Answered:
        """One exchange. The last of a round brings a live reading of the counters, the others none. Raises NotThere without any."""
        if self._records:
            record = await self._record(self._records[0])
            self._records.popleft()
            return Answered(self._closed(), records=() if record is None else (record,))
        if not self._left:
            self._left, self._found, self._last = deque(self._counters), [], None
        if not self._left:
            raise NotThere(f"meter {self._meter} has none of the counters of events that its profile names")
        await self._count(self._left[0])
        self._left.popleft()
        return Answered(self._closed())

    def _closed(self) -> Reading | None:
        """The counters, when the round is over."""
        if self._left or self._records or self._last is None:
            return None
        last, self._last = self._last, None
        live = past_reading(self._meter, last, self._found, Source.LIVE, 0)
        return Reading(self._meter, live.items, last.asked_ms, last.answered_ms)

    async def _count(self, di: str) -> None:
        try:
            answer = await self._ask(di)
        except Refused:
            self._counters.remove(di)  # this meter counts no such thing
            return
        self._last = answer
        self._found += answer.value.items
        numbers = [int(item.value) for item in answer.value.items if item.value is not None and "count" in item.quantity]
        count = numbers[0] if numbers else 0
        before = self._seen.get(di, 0)
        self._seen[di] = count
        new = count if count < before else count - before  # a lower count was cleared in between
        self._records.extend(_record_di(di, past) for past in range(min(new, DEPTH), 0, -1))

    async def _record(self, di: str) -> EventRecord | None:
        """None for a record that is not there."""
        try:
            answer = await self._ask(di)
        except Refused:
            return None
        fields = [field for field in answer.value.fields if field.value is not None]
        kind, named = _named(fields, int(di[6:], 16))
        start = self._moment(named, _STARTS)
        if start is None:
            return None
        times = {*_STARTS, *_ENDS}
        detail = {name: _shown(field) for name, field in named.items() if name not in times}
        return EventRecord(self._meter, kind, start, self._moment(named, _ENDS), dict([*detail.items()][:MOST_DETAIL]))

    def _moment(self, named: dict[str, FieldValue], names: Sequence[str]) -> int | None:
        """The first of these times that the record has, UTC ms."""
        for name in names:
            value = named[name].value if name in named else None
            if isinstance(value, str) and len(value) == 12:
                try:
                    return moment_of(datetime.strptime("20" + value, "%Y%m%d%H%M%S"), self._zone)
                except ValueError:
                    continue
        return None


def _record_di(counter: str, past: int) -> str:
    """The record of a counter, so many back: 1D000001 -> 1D0001nn (its time), 03ttpp00 -> 03ttppnn."""
    return f"{counter[:4]}01{past:02X}" if counter[0] == "1" else f"{counter[:6]}{past:02X}"


def _named(fields: Sequence[FieldValue], past: int) -> tuple[str, dict[str, FieldValue]]:
    """The kind of a record, and its values by their own names: `power_down_3_started_at`, or `trip_at_3`."""
    named: dict[str, FieldValue] = {}
    kind = "unknown"
    for field in fields:
        name = field.field.quantity
        kind, _, own = name.partition(f"_{past}_")
        if not own:
            kind, _, own = name.removesuffix(f"_{past}").partition("_")
        named[own] = field
    return kind, named


def _shown(field: FieldValue) -> str:
    text = f"{field.value:f}" if not isinstance(field.value, str) and field.value is not None else str(field.value)
    return text if field.at is None else f"{text}@{field.at}"
