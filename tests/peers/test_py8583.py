"""PyPI's py8583 1.3, a codec by other people: its messages are understood here, and ours by it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from protocols.bank.iso8583 import Codec
from protocols.bank.iso8583_table import dialect
from tests.gateway.adapters.iso8583_line import Line, network, settle
from tests.gateway.services.memory_tx import MemoryStore
from tests.peers.child import Peer
from tests.protocols.bank.tables import document, shipped

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "prepayment.json").read_text("utf-8"))["iso8583"]["messages"]


CODEC = Codec(shipped())


@pytest.fixture(scope="module")
def peer() -> Iterator[Peer]:
    with Peer("py8583", "drive_py8583.py") as call:
        yield call


@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: each["name"])
def test_it_writes_and_reads_the_vectors_as_we_do(peer: Peer, vector: dict[str, object]) -> None:
    fields = dict(vector["fields"])  # type: ignore[call-overload]
    mti, raw = fields.pop("t"), str(vector["raw_ascii"]).encode()
    written = bytes.fromhex(str(peer("build", mti, fields)))  # its bitmaps are in small letters
    assert CODEC.decode(written).message == CODEC.decode(raw).message
    shown = {**fields, "32": fields["32"].lstrip("0")}  # it takes zeros for nothing
    assert peer("parse", raw.hex()) == [mti, shown]


async def test_its_payment_and_reversal_are_booked_and_it_reads_the_answers(peer: Peer) -> None:
    store = MemoryStore()
    settle(store)
    line = Line(store, dialect=dialect(document(mac={"algorithm": "none"})))
    payment = line.payment(fen=10_000)
    told = [(network("001"), "0810"), (payment, "0210"), (payment, "0210"), (line.reversal(payment), "0410"), (payment, "0210")]
    codes = []
    for message, answered in told:
        data = str(peer("build", message.mti, {str(number): text for number, text in sorted(message.fields.items())}))
        answer = await line.partner.answer(bytes.fromhex(data))
        assert answer is not None
        mti, fields = peer("parse", answer.hex())  # type: ignore[misc]
        assert mti == answered and fields["11"] == message.get(11)
        codes.append(fields["39"] + fields.get("48", ""))
    assert codes == ["00", "00BAL=000000012000", "00BAL=000000012000", "00", "25"]
