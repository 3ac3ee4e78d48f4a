"""Registers that are wanted together, and the questions that bring them: at once, in another shape, or in parts.

Answers of Modbus RTU do not say what was asked, so every second billing read has another length: a late answer to the one can never
be taken for the answer to the other, and where both agree, two different questions did.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import cache

from gateway.adapters.lines.driver import Garbled, NoAnswer, Timed
from gateway.adapters.lines.manner import Manner
from protocols.errors import Malformed, ProtocolError, Refused
from protocols.profiles import BlockRead, ModbusReads, Register
from protocols.quantities import Measurement

Answers = list[Timed[Sequence[Measurement]]]
Ask = Callable[[BlockRead], Awaitable[Timed[Sequence[Measurement]]]]
Shape = tuple[int, int]
"""Function and count: all that an RTU answer tells of its question."""

NOT_THERE = (b"\x02", b"\x03")
"""Exceptions of a read that reaches beyond what the device has (illegal address) or gives at once (illegal value)."""


class Section:
    """One block of a plan. manner: of the device; alike: whether answers can be confused, as on RTU."""

    def __init__(self, block: BlockRead, reads: ModbusReads, manner: Manner, *, alike: bool) -> None:
        self.registers = block.registers
        self._shapes = [block, *(_wider(block, reads) if alike else ())]
        self._state = manner.block(f"{block.function}:{block.address:04X}+{block.count}")
        self._halves = _halves(block, reads)
        self._made: list[Section] | None = None
        self._reads, self._manner, self._alike = reads, manner, alike
        self._turn = 0  # reads that were to vary, so far

    @property
    def _parts(self) -> list[Section]:
        """Made when they are needed first: most devices never need them, and have dozens."""
        if self._made is None:
            self._made = [Section(part, self._reads, self._manner, alike=self._alike) for part in self._halves]
        return self._made

    async def read(self, ask: Ask, avoid: Collection[Shape] = (), *, vary: bool = False) -> Answers:
        """What came, at least one answer. avoid: shapes that an earlier question had. vary: not as the last time.

        Raises what `ask` raises, when nothing came.
        """
        if not self._state.whole and self._halves:
            return await self._in_parts(ask, avoid)
        self._turn += vary
        if vary and self._alike and len(self._shapes) == 1 and self._halves and self._turn % 2 == 0:
            return await self._in_parts(ask, avoid)
        shape = self._shape(avoid)
        try:
            answer = await ask(shape)
        except Refused as refused:
            return await self._refused(refused, shape, ask, avoid)
        except (Garbled, Malformed):
            self._state.garbled(whole=True)
            raise
        self._state.came(whole=True)
        return [answer]

    def _shape(self, avoid: Collection[Shape]) -> BlockRead:
        """The one whose turn it is, or another that no earlier question can be confused with."""
        first = max(self._turn - 1, 0) % len(self._shapes)
        turns = self._shapes[first:] + self._shapes[:first]
        clear = [shape for shape in turns if (shape.function, shape.count) not in avoid]
        chosen: BlockRead = (clear or turns)[0]
        return chosen

    async def _refused(self, refused: Refused, shape: BlockRead, ask: Ask, avoid: Collection[Shape]) -> Answers:
        there = refused.code not in NOT_THERE
        if shape is not self._shapes[0] and not there:
            self._shapes.remove(shape)
            return await self.read(ask, avoid)
        if there:
            self._state.garbled(whole=True)  # busy, or broken inside: a smaller read may pass
            raise refused
        self._state.refused(for_good=bool(self._halves))
        if not self._halves:
            raise refused
        return await self._in_parts(ask, avoid)

    async def _in_parts(self, ask: Ask, avoid: Collection[Shape]) -> Answers:
        """What comes before the line fails; the part at which it failed is the first one the next time."""
        answers: Answers = []
        error: Exception | None = None
        for part in tuple(self._parts):
            if part.gone:
                continue
            try:
                answers += await part.read(ask, avoid)
            except Refused as refused:
                error = refused
            except (NoAnswer, ProtocolError) as lost:
                error = lost
                self._state.garbled(whole=False)
                self._parts.sort(key=lambda each, lost=part: each is not lost)  # type: ignore[misc]
                break
        if not answers:
            raise error or Refused(NOT_THERE[0], ("the device has none of these registers",))
        if error is None:
            self._state.came(whole=False)
        return answers

    @property
    def gone(self) -> bool:
        """The device has refused even the single register: it is not asked for again."""
        return not self._halves and not self._state.whole


@cache
def _wider(block: BlockRead, reads: ModbusReads) -> tuple[BlockRead, ...]:
    """The block with its nearest neighbour in the map, if the two may be read together."""
    end, found = block.address + block.count, []
    for register in reads.registers:
        near = 0 <= max(block.address - register.end, register.address - end) <= reads.max_gap
        first, last = min(block.address, register.address), max(end, register.end)
        barred = any(span.touches(block.function, first, last) for span in (*reads.forbidden, *reads.whole))
        if register.function == block.function and near and not barred and last - first <= reads.max_words:
            found.append(BlockRead(block.function, first, last - first, block.registers))
    return tuple(sorted(found, key=lambda wide: wide.count)[:1])


@cache
def _halves(block: BlockRead, reads: ModbusReads) -> tuple[BlockRead, ...]:
    """Two smaller blocks, parted at the widest gap, else in the middle; none for one register or a record that is read whole."""
    ordered = sorted(block.registers, key=lambda r: (r.address, r.end))
    if len(ordered) < 2 or any(span.holds(ordered[0]) for span in reads.whole):
        return ()
    middle = len(ordered) / 2
    cut = max(range(1, len(ordered)), key=lambda n: (ordered[n].address - ordered[n - 1].end, -abs(n - middle)))
    return tuple(_block(block, part) for part in (ordered[:cut], ordered[cut:]))


def _block(of: BlockRead, part: Sequence[Register]) -> BlockRead:
    first = part[0].address
    return BlockRead(of.function, first, max(r.end for r in part) - first, tuple(r for r in of.registers if r in part))
