"""The number of an output's last birth, kept over restarts."""

from __future__ import annotations

import structlog

from gateway.entrypoints.outbox_loop import Store
from gateway.services.ports import Unavailable

log = structlog.get_logger(__name__)


class Numbers:
    """Fulfils adapters.output_sparkplug.Numbers for one output."""

    def __init__(self, store: Store, output: str) -> None:
        self._store, self._output, self._key = store, output, f"output:{output}:births"
        self._noted: int | None = None

    async def last(self) -> int | None:
        """None before the first."""
        noted = await self._store.read(lambda tx: tx.meta(self._key))
        self._noted = int(noted) if noted is not None and noted.isdecimal() else None
        return self._noted

    async def note(self, bd_seq: int) -> None:
        """Written down when this returns, unless the store is unavailable: then a restart counts from the one before."""
        if bd_seq == self._noted:
            return
        try:
            await self._store.write(lambda tx: tx.set_meta(self._key, str(bd_seq)))
            self._noted = bd_seq
        except Unavailable as failed:
            log.error(f"output {self._output} cannot note the number of its birth: {failed}")
