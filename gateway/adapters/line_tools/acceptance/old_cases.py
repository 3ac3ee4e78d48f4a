"""Cases that only a 1997 meter is held to: its identifiers of two bytes and its older control codes (dlt645.md 9)."""

from __future__ import annotations

from gateway.adapters.line_tools.acceptance.case import Broken, Case, Figure, NotRun, Seen
from gateway.adapters.line_tools.acceptance.subject import SILENT_MS, Subject
from protocols.bcd import decode_bcd
from protocols.dlt645 import codes
from protocols.dlt645.codes import Err1997
from protocols.dlt645.frames import Dialect
from protocols.dlt645.master import Read, Reread97
from protocols.errors import Refused

NO_SUCH = "FFFF"
BLOCK = "901F"
ENERGY_BYTES = 4
SEPARATOR = b"\xaa"
"""Behind the block of some meters (dlt645.md 9)."""

CLAUSE = "DL/T 645-1997 (dlt645.md 9)"


async def _unknown(meter: Subject) -> Seen:
    try:
        answer = await meter.read(NO_SUCH)
    except Refused as refused:
        if len(refused.code) != 1 or not refused.code[0] & Err1997.WRONG_DI:
            raise Broken(f"{refused}, which does not say that the identifier is wrong") from None
        return Seen(str(refused))
    raise Broken(f"{NO_SUCH} was answered with {answer.data.hex().upper()}")


async def _block(meter: Subject) -> Seen:
    """Total and rates are truncated one by one: they may differ by one count a rate (prepayment.md 7)."""
    answer = await meter.known(BLOCK)
    if answer is None:
        raise NotRun(f"the meter does not have {BLOCK}")
    data = answer.data
    if len(data) % ENERGY_BYTES == 1 and data.endswith(SEPARATOR):
        data = data[:-1]
    counts = [decode_bcd(data[at : at + ENERGY_BYTES]) for at in range(0, len(data), ENERGY_BYTES)]
    if len(data) % ENERGY_BYTES or len(counts) < 2 or counts[0] is None:
        raise Broken(f"{BLOCK} came as {answer.data.hex().upper()}, which is not a total and its rates of {ENERGY_BYTES} bytes")
    rates = [count for count in counts[1:] if count is not None]
    if abs(counts[0] - sum(rates)) > len(rates):
        raise Broken(f"the total is {counts[0] / 100:.2f} kWh and its {len(rates)} rates add up to {sum(rates) / 100:.2f} kWh")
    return Seen(f"a total and {len(rates)} rates, which add up", (Figure("rates", len(rates), ""),))


async def _again(meter: Subject) -> Seen:
    answer = await meter.alive()
    try:
        again = await meter.run(lambda: Reread97(meter.address, meter.energy))
    except Refused as refused:
        raise Broken(f"the last answer was not said again: {refused}") from None
    if again.data != answer.data:
        raise Broken(f"first {answer.data.hex().upper()}, then {again.data.hex().upper()}")
    return Seen(f"{answer.data.hex().upper()}, twice")


async def _newer(meter: Subject) -> Seen:
    """A question of 2007 gets silence or a refusal, and does no harm."""
    heard = await meter.ask(Read(meter.address, "00010000").start(), alone=False, first_ms=SILENT_MS)
    answers = heard.answers()
    if any(not frame.is_error for frame in answers):
        raise Broken(f"answered with {answers[0].data.hex().upper()}: is it a 2007 meter?")
    await meter.alive()
    return Seen(("refused" if answers else "silent") + ", then answered a right question")


async def _follow_up(meter: Subject) -> Seen:
    """1997's follow-up carries no sequence: asked out of turn there is nothing to follow."""
    await meter.alive()
    heard = await meter.ask(meter.follow_up_97(meter.energy), first_ms=SILENT_MS)
    answers = heard.answers()
    if any(not frame.is_error for frame in answers):
        raise Broken(f"something followed an answer that was whole: {answers[0].data.hex().upper()}")
    await meter.alive()
    if answers and answers[0].control != codes.READ_NEXT_1997 | 0xC0:
        raise Broken(f"refused with control code {answers[0].control:02X} instead of C2")
    return Seen(("refused" if answers else "silent") + ", then answered a right question")


CASES = tuple(
    Case(f"old.{name}", CLAUSE, title, expected, run, dialects=(Dialect.V1997,))
    for name, title, expected, run in (
        ("unknown", "An unknown identifier", "C1, bit 1", _unknown),
        ("block", "All rates at once (901F)", "a total and its rates, which add up", _block),
        ("again", "The last answer once more (03)", "83 with the same data", _again),
        ("follow-up", "A follow-up (02) where nothing follows", "C2 or silence, afterwards as ever", _follow_up),
        ("newer", "A question of 2007", "refusal or silence, afterwards as ever", _newer),
    )
)
