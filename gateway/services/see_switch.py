"""A switch that was looked at on schedule, without a reading beside it: a contactor's feedback input, a relay register."""

from __future__ import annotations

from gateway.domain.supply import SwitchReading
from gateway.services.judge_account import judge_account
from gateway.services.ports import Site, Tx
from gateway.services.record_reading import observe_switch


def see_switch(tx: Tx, meter_id: str, seen: SwitchReading, site: Site, now_ms: int) -> None:
    """Write down where the switch was seen and judge its account on it. An unknown meter is ignored."""
    observe_switch(tx, meter_id, seen, now_ms)
    meter = tx.meter(meter_id)
    if meter is not None and meter.account is not None:
        judge_account(tx, meter.account, site, now_ms)
