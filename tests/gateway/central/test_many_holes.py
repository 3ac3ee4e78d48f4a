"""More holes than one acknowledgement names: a gateway's outbox and the centre's count of it, in virtual time, come to an end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

from gateway.central.ranges import Ranges
from gateway.central.service import HOLES_EVERY_S
from gateway.central.streams import RANGES_AT_ONCE, Asker, Stream
from tests.gateway.entrypoints.test_outbox_loop import House, house
from tests.simulation.virtual_loop import in_virtual_time

ROWS = 1200
ACKED_EVERY_S = 1.0


class Centre:
    """Takes what the broker got, but for what is lost behind it; answers as central/service does."""

    def __init__(self, gateway: House, lost: set[int], again: float, seed: int) -> None:
        self.gateway, self.stream, self.asker, self.rng = gateway, Stream(Ranges()), Asker(), Random(seed)
        self.lost, self.again, self.read, self.most_ranges, self.asked = lost, again, 0, 0, 0

    async def run(self) -> None:
        now = asyncio.get_running_loop().time
        looked = now()
        while True:
            await asyncio.sleep(ACKED_EVERY_S)
            new = self._take()
            if new:
                ack = self.stream.ack("")
                await self.gateway.ack(ack.upto, *ack.also)
                self.gateway.loop.heard(ack.upto, ack.also)
                self.most_ranges = max(self.most_ranges, len(self.stream.accounted))
            if now() - looked >= HOLES_EVERY_S:
                looked = now()
                missing = {("G", "e"): self.stream} if self.stream.accounted.upto < self.stream.accounted.top else {}
                for _, resend in self.asker.requests(missing, now()):
                    self.asked += 1
                    self.gateway.loop.resend(self.gateway.epoch, resend.ranges)

    def _take(self) -> bool:
        sent = self.gateway.link.sent[self.read :]
        self.read += len(sent)
        for each in sent:
            if each.seq in self.lost:
                if self.rng.random() >= self.again:
                    self.lost.discard(each.seq)
                continue
            self.stream.accounted.add(each.seq)
            self.stream.low = max(self.stream.low, each.low)
        return bool(sent)


@pytest.mark.parametrize(
    ("count", "every", "again"),
    (
        (300, 3, 0.0),  # scattered evenly, each lost once
        (300, 3, 0.3),  # and again what is sent again
        (580, 2, 0.3),  # six acknowledgements full of them
    ),
)
@in_virtual_time
async def test_holes_beyond_one_acknowledgement_are_closed_and_nothing_goes_for_ever(
    tmp_path: Path, count: int, every: int, again: float
) -> None:
    async with house(tmp_path) as inside:
        centre = Centre(inside, set(range(every, every * count + 1, every)), again, seed=count)
        answering = asyncio.create_task(centre.run())
        inside.link.connect()
        await inside.add(ROWS)
        await asyncio.sleep(240)
        assert centre.most_ranges > 2 * RANGES_AT_ONCE
        assert (centre.stream.accounted.upto, inside.waiting()) == (ROWS, [])
        sent = len(inside.link.sent)
        assert sent <= ROWS + 2 * count, "what the centre has goes again"
        await inside.add(1)
        await asyncio.sleep(120)
        assert (inside.link.seqs[sent:], centre.stream.accounted.upto) == ([ROWS + 1], ROWS + 1)
        answering.cancel()
