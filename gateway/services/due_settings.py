"""Which limits of a line's meters are to be read or written now."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.domain.jobs import ParameterReadJob, ParameterWriteJob, WalletWork
from gateway.domain.meter_settings import WriteState
from gateway.services.ports import Tx
from gateway.services.run_command import refused_passwords
from gateway.services.write_limits import settings_of, waiting_on

READ_BACK_MS = 1_000
"""A parameter is read back so long after its write: meters take up to 300 ms to store one."""


def due_settings(tx: Tx, line: str, now_ms: int) -> Sequence[WalletWork]:
    """One job for each meter that waits. Of the two passwords that a meter may refuse in a day, settings spend none when one is
    spent: the last is for the switch."""
    due = []
    for name in waiting_on(tx, line):
        settings = settings_of(tx, name)
        current = None if settings is None else settings.current
        if settings is None or current is None:
            continue
        if current.state is not WriteState.READY:
            after_ms = READ_BACK_MS if current.state is WriteState.SENT else 0
            read = ParameterReadJob(name, tuple(settings.wanted.items()))
            due.append(WalletWork(read, settings.changed_ms + after_ms, urgent=True))
        elif not refused_passwords(tx, name, now_ms):
            due.append(WalletWork(ParameterWriteJob(name, current.name, current.value), settings.changed_ms, urgent=True))
    return due
