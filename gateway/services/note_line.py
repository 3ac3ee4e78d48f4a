"""Meters that fall silent or come back, lines that fail or recover: one event for each change, none in between."""

from __future__ import annotations

from gateway.domain.events import EventKind
from gateway.services import announce
from gateway.services.meter_wallet import power_returned
from gateway.services.ports import Tx


def note_meter(tx: Tx, meter: str, silent: bool, text: str, now_ms: int) -> None:
    """A meter stopped answering, or answers again. `text`: what was seen, one sentence."""
    known = tx.meter(meter)
    kind = EventKind.METER_SILENT if silent else EventKind.METER_BACK
    announce.event(tx, kind, now_ms, meter=meter, account=known.account if known else None, text=text)
    if not silent:
        power_returned(tx, meter, now_ms)


def note_line(tx: Tx, line: str, up: bool, text: str, now_ms: int) -> None:
    """A line failed as a whole, or works again."""
    announce.event(tx, EventKind.LINE_UP if up else EventKind.LINE_DOWN, now_ms, line=line, text=text)
