"""Cases of time: the answer delay Td, the gap between characters Tb, the clock (dlt645.md 2)."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from statistics import fmean

from gateway.adapters.line_tools.acceptance.case import BOTH, Broken, Case, Figure, NotRun, Seen
from gateway.adapters.line_tools.acceptance.subject import Subject

READS = 20
TD_LEAST_MS, TD_MOST_MS, TB_MOST_MS = 20, 500, 500
TD = "DL/T 645-2007, data link layer: Td (dlt645.md 2)"
TB = "DL/T 645-2007, data link layer: Tb (dlt645.md 2)"
CLOCK = "DL/T 645-2007, 04000101 and 04000102 (dlt645.md 8.5); 1997, C010 and C011 (dlt645.md 9)"
ENOUGH = 5
"""Answers that must have come for a statement about their delay."""


async def _td(meter: Subject) -> Seen:
    if not meter.probe.byte_us:
        raise NotRun("the speed of the wire is not known, so nobody can say when a question had ended (--baud)")
    delays = []
    for _ in range(READS):
        heard = await meter.ask(meter.question())
        if heard.answers() and heard.first is not None:
            delays.append((heard.first.at_us - len(heard.first.data) * meter.probe.byte_us - heard.left_us) / 1000)
    if len(delays) < ENOUGH:
        raise NotRun(f"only {len(delays)} of {READS} questions were answered")
    bound = meter.precision.bound_ms
    least, most = round(min(delays), 1), round(max(delays), 1)
    said = f"{least:g} to {most:g} ms over {len(delays)} answers, ± {bound:g} ms"
    if least < TD_LEAST_MS - bound or most > TD_MOST_MS + bound:
        raise Broken(said)
    near = least < TD_LEAST_MS + bound or most > TD_MOST_MS - bound
    figures = (
        Figure("Td least", least, "ms", bound),
        Figure("Td mean", round(fmean(delays), 1), "ms", bound),
        Figure("Td most", most, "ms", bound),
    )
    return Seen(said + ("; nearer to a limit than the uncertainty" if near else ""), figures)


async def _tb(meter: Subject) -> Seen:
    byte_us, gaps = meter.probe.byte_us, []
    for heard in meter.heard:
        pairs = pairwise(heard.behind_echo)
        gaps += [after.at_us - len(after.data) * byte_us - before.at_us for before, after in pairs]
    if not gaps:
        raise NotRun("every answer came in one piece from the system, so no gap inside one was seen")
    most, bound = round(max(0.0, *gaps) / 1000, 1), meter.precision.bound_ms
    if most > TB_MOST_MS + bound:
        raise Broken(f"a gap of {most:g} ms inside an answer, ± {bound:g} ms")
    figure = Figure("Tb most", most, "ms", bound)
    return Seen(f"no gap over {most:g} ms inside {len(meter.heard)} answers, ± {bound:g} ms", (figure,))


async def _clock(meter: Subject) -> Seen:
    local = await meter.meter_time()
    utc = datetime.fromtimestamp(meter.clock.now_ms() / 1000, UTC).replace(tzinfo=None)
    offset_s = (local - utc).total_seconds()
    bound_s = round(1 + meter.precision.bound_ms / 1000, 2)  # the meter tells whole seconds
    figure = Figure("meter's clock minus UTC", round(offset_s, 1), "s", bound_s)
    return Seen(f"{local.isoformat(sep=' ')}, {offset_s:+.0f} s from UTC (of which the zone is a part)", (figure,))


CASES = (
    Case("time.td", TD, "Answer delay", "20 to 500 ms", _td, dialects=BOTH),
    Case("time.tb", TB, "Gaps inside answers", "at most 500 ms", _tb, dialects=BOTH),
    Case("time.clock", CLOCK, "The clock", "a valid date and time", _clock, dialects=BOTH),
)
