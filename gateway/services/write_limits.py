"""Limits go into the meters that can hold them, one parameter at a time, and count as written when they were read back."""

from __future__ import annotations

import json
from dataclasses import asdict

from gateway.domain.clocks import MeterClock, refused
from gateway.domain.events import EventKind
from gateway.domain.findings import FindingKind
from gateway.domain.jobs import Answered, Failed, Fault, Outcome, ParameterReadJob, ParameterWriteJob
from gateway.domain.meter_settings import (
    MeterSettings,
    Parameter,
    WriteState,
    again,
    on_read,
    on_said,
    on_sent,
    on_unsent,
    wanting,
)
from gateway.domain.meters import Account, Meter
from gateway.services import announce
from gateway.services.findings import found, over
from gateway.services.ports import Tx

HOLDING = frozenset({"dlt645-2007"})
"""Protocols whose meters have a place for limits that we can write: no register map in our profiles says where one stands, and in
which unit."""

PASSWORD = "password"
"""In what a meter says that refuses one."""


def plan_settings(tx: Tx, account: Account, now_ms: int) -> None:
    """What this account's limit wants written into its meters is known as wanted, and work for their lines."""
    if account.limit is None or not account.limit.written:
        return
    for meter in tx.meters_of(account.id):
        known = settings_of(tx, meter.id)
        wanted = wanting(known, meter.id, account.limit.written, now_ms)
        if meter.protocol not in HOLDING:
            text = f"meter {meter.id} ({meter.protocol}) has no place for limits that can be written"
            found(tx, FindingKind.LIMIT_NOT_WRITTEN, meter.id, text, now_ms, account=account.id)
        elif wanted is not known:
            _keep(tx, meter, wanted, now_ms)
        elif wanted.current is not None:
            _mark(tx, meter.line, meter.id, waits=True)


def end_unwanted(tx: Tx, now_ms: int) -> None:
    """Findings about meters whose account wants nothing written any more are over."""
    for finding in tx.findings():
        if finding.kind is not FindingKind.LIMIT_NOT_WRITTEN:
            continue
        meter = tx.meter(finding.subject)
        account = tx.account(meter.account) if meter is not None and meter.account is not None else None
        if account is None or account.limit is None or not account.limit.written:
            over(tx, finding.kind, finding.subject, now_ms)


def start_setting(tx: Tx, job: ParameterWriteJob, now_ms: int) -> bool:
    """Mark a write as sent, before its first byte leaves. False where it is not wanted any more."""
    settings, meter = settings_of(tx, job.meter), tx.meter(job.meter)
    current = None if settings is None else settings.current
    if settings is None or meter is None or current is None or current.state is not WriteState.READY:
        return False
    if (current.name, current.value) != (job.name, job.value):
        return False
    tx.add_audit(now_ms, "rules", "write_limit", job.meter, {"parameter": job.name, "value": str(job.value)})
    _keep(tx, meter, on_sent(settings, job.name, now_ms), now_ms)
    return True


def record_setting(tx: Tx, job: ParameterReadJob | ParameterWriteJob, outcome: Outcome, now_ms: int) -> None:
    """Write down what came of it."""
    settings, meter = settings_of(tx, job.meter), tx.meter(job.meter)
    if settings is None or meter is None:
        return
    if isinstance(job, ParameterReadJob):
        if isinstance(outcome, Answered) and outcome.parameters is not None and settings.wanted == dict(job.values):
            _keep(tx, meter, on_read(settings, outcome.parameters.seen, outcome.parameters.target, now_ms), now_ms)
        return
    if isinstance(outcome, Failed) and outcome.certain:
        never = outcome.fault in (Fault.REFUSED, Fault.REQUEST)  # like a refusal: it is seen unchanged, and a person told
        settings = on_said(settings, job.name, outcome.text, now_ms) if never else on_unsent(settings, job.name, now_ms)
    elif isinstance(outcome, Failed):
        said = outcome.text if outcome.fault is Fault.REFUSED else ""
        if PASSWORD in said:
            tx.save_clock(refused(tx.clock(meter.id) or MeterClock(meter.id), now_ms))
        settings = on_said(settings, job.name, said, now_ms)
    _keep(tx, meter, settings, now_ms)


def write_again(tx: Tx, meter_id: str, who: str, now_ms: int) -> bool:
    """A person had a look at a meter: its limits are read again, and written where they differ. False: it has none."""
    settings, meter = settings_of(tx, meter_id), tx.meter(meter_id)
    if settings is None or meter is None or not settings.parameters:
        return False
    tx.add_audit(now_ms, who, "write_limit_again", meter_id, {"was": ", ".join(each.state.value for each in settings.parameters)})
    _keep(tx, meter, again(settings, now_ms), now_ms)
    return True


def settings_of(tx: Tx, meter: str) -> MeterSettings | None:
    """What is known of a meter's limits."""
    text = tx.meta(_key(meter))
    if not text:
        return None
    kept = json.loads(text)
    parameters = tuple(Parameter(**{**each, "state": WriteState(each["state"])}) for each in kept["parameters"])
    return MeterSettings(kept["meter"], parameters, kept["seen"], kept["changed_ms"])


def waiting_on(tx: Tx, line: str) -> list[str]:
    """Meters of a line of whose limits something is to be done."""
    names: list[str] = json.loads(tx.meta(_waiting(line)) or "[]")
    return names


def _keep(tx: Tx, meter: Meter, settings: MeterSettings, now_ms: int) -> None:
    before = settings_of(tx, meter.id)
    tx.set_meta(_key(meter.id), json.dumps(asdict(settings)))
    _mark(tx, meter.line, meter.id, waits=settings.current is not None)
    was = {each.name: each.state for each in before.parameters} if before is not None else {}
    for each in settings.parameters:
        if each.state is WriteState.CONFIRMED and was.get(each.name) is not WriteState.CONFIRMED:
            announce.event(
                tx, EventKind.LIMIT_WRITTEN, now_ms, meter=meter.id, account=meter.account, parameter=each.name, value=each.value
            )
    if settings.failed:
        found(tx, FindingKind.LIMIT_NOT_WRITTEN, meter.id, _sentence(settings), now_ms, account=meter.account)
    elif settings.current is None:
        over(tx, FindingKind.LIMIT_NOT_WRITTEN, meter.id, now_ms, account=meter.account)


def _sentence(settings: MeterSettings) -> str:
    told = []
    for each in settings.failed:
        why = {
            WriteState.UNABLE: "the meter has no such parameter",
            WriteState.REFUSED: each.said or f"the meter did not heed {each.tries} writes",
            WriteState.UNCERTAIN: "what stands there is neither the old value nor the new one, or something beside it has moved",
        }[each.state]
        told.append(f"{each.name} = {each.value}: {why}")
    quarantine = "; nothing more is written to it until a person has looked" if settings.quarantined else ""
    return f"meter {settings.meter} does not hold its limits: {'; '.join(told)}{quarantine}"


def _mark(tx: Tx, line: str, meter: str, *, waits: bool) -> None:
    names = waiting_on(tx, line)
    if waits is (meter in names):
        return
    tx.set_meta(_waiting(line), json.dumps([*names, meter] if waits else [name for name in names if name != meter]))


def _key(meter: str) -> str:
    return f"meter_settings:{meter}"


def _waiting(line: str) -> str:
    return f"meter_settings_waiting:{line}"
