"""What a line that never falls silent costs: work in proportion to its bytes, and no memory."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from protocols.decode import decode_line
from protocols.dlt645 import master
from protocols.dlt645.frames import MAX_DATA, OVERHEAD, Deframer
from protocols.dlt645.slave import Slave, Slave97
from protocols.exchange import Done
from protocols.modbus.decode import decode_rtu
from protocols.modbus.frames import TcpDeframer
from protocols.modbus.master import ReadRegisters
from protocols.modbus.slave import RtuSlave, TcpSlave
from tests.fuzz import corpus, plain
from tests.fuzz.questions import METER
from tests.fuzz.targets import pieces

SHORT, LONG = 1_000, 4_000
MOST = 1.3
"""How much more a byte of the long line may cost than one of the short: nothing, but for where lines happen to end."""
KEPT_BYTES = 20_000
"""What may be held more after a line than before it: one unfinished frame and Python's own rounding."""
BABBLE = 30_000


def listener(make: Callable[[], object], size: int) -> Callable[[bytes], None]:
    """Feeds a line in pieces of this size to something made anew."""

    def work(line: bytes) -> None:
        made = make()
        for part in pieces(line, size):
            if isinstance(made.feed(part), Done):  # type: ignore[attr-defined]
                made = make()

    return work


def exchange(made):
    made.start()
    return made


WORKS: dict[str, Callable[[bytes], object]] = {
    "decode": lambda line: decode_line(line.hex(), explain=True),
    "decode as Modbus": lambda line: decode_line(line.hex(), "modbus-rtu"),
    "decode Modbus if it is": decode_rtu,
    "deframer": listener(Deframer, 50),
    "deframer, byte by byte": listener(Deframer, 1),
    "slave": listener(Slave, 50),
    "slave of 1997": listener(Slave97, 50),
    "read": listener(lambda: exchange(master.Read(METER, "00010000")), 50),
    "Modbus RTU read": listener(lambda: exchange(ReadRegisters(1, 3, 0, 2)), 50),
    "Modbus RTU slave": listener(lambda: RtuSlave((1, 2)), 50),
    "Modbus TCP slave": listener(lambda: TcpSlave(None), 50),
    "MBAP": listener(TcpDeframer, 50),
}
FILLS = ("68", "00", "FF", "16", "01", "03", "FE", "A0", "0103", "68AAAAAAAAAAAA68", "0110000000FF", "00000000000601")


@pytest.mark.parametrize("name", WORKS)
def test_cost_grows_with_the_length(name: str) -> None:
    for fill in FILLS:
        short, long = ((bytes.fromhex(fill) * n)[:n] for n in (SHORT, LONG))
        before, after = plain.steps_of(WORKS[name], short), plain.steps_of(WORKS[name], long)
        assert after / LONG <= MOST * before / SHORT + 1, fill


@pytest.mark.parametrize("name", [name for name in WORKS if not name.startswith("decode")])
def test_memory_is_flat(name: str) -> None:
    """The same listener hears a babbling line twice; after the second time nothing more is held than after the first."""
    dice = Random(1)
    good = [data[:60] for data in corpus.load("deframer")]
    line = b"".join(dice.choice(good) if dice.random() < 0.5 else dice.randbytes(dice.randrange(40)) for _ in range(BABBLE // 30))
    assert plain.kept_bytes(lambda: WORKS[name](line)) < KEPT_BYTES


def test_a_deframer_holds_less_than_a_frame_for_ever() -> None:
    deframer, dice = Deframer(), Random(2)
    for _ in range(3_000):
        deframer.feed(bytes(dice.choice((0x68, 0x68, 0xFF, dice.randrange(256))) for _ in range(20)))
        assert deframer.pending < OVERHEAD + MAX_DATA
