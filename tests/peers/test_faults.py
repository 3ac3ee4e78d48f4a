"""The table of what the libraries do wrong is true, and we do it right: a row that they have repaired fails here."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from protocols.dlt645 import master
from protocols.dlt645.frames import Deframer, Dialect
from protocols.dlt645.freeze_time import FreezeTime
from protocols.dlt645.identifiers import describe
from protocols.dlt645.slave import Attention, attention
from protocols.exchange import Done, Exchange, NeedMore, Send
from tests.peers import faults
from tests.peers.child import ROOT, Peer, PeerError, python_of
from tests.peers.faults import ADDRESS, LENGTHS, MANGLED, SENT, SERVED, TAKEN, UNSERVED, WIRE, Sent, Served, Taken

PREAMBLE = "FE" * 4
OURS: dict[str, Exchange[object]] = {
    "address high pair first": master.Read(ADDRESS, "00010000"),
    "time year first": master.BroadcastTime(datetime(2026, 11, 21, 10, 15, 30)),
    "freeze month first": master.Freeze(FreezeTime(minute=30), ADDRESS),
    "speed 9600 as hex 32": master.ChangeSpeed(ADDRESS, 9600),
    "password high pair first": master.Write(ADDRESS, "04000103", b"\x30", 4, "123456"),
    "demand reset with an identifier": master.DemandReset(ADDRESS, 4),
    "meter clear with an identifier": master.MeterClear(ADDRESS, 2),
    "new password under a foreign identifier": master.ChangePassword(ADDRESS, 2, "123456", "000000"),
    "new address to the old one": master.WriteAddress("201906040199"),
}


@pytest.fixture(scope="module")
def dlt645() -> Iterator[Peer]:
    with Peer("dlt645", "drive_dlt645.py") as call:
        yield call


@pytest.fixture(scope="module")
def python_dlt645() -> Iterator[Peer]:
    with Peer("python-dlt645", "drive_python_dlt645.py") as call:
        yield call


@pytest.mark.parametrize("row", SENT, ids=lambda row: row.name)
def test_what_its_client_sends(dlt645: Peer, row: Sent) -> None:
    dlt645("record", ADDRESS)
    dlt645(*row.call)  # type: ignore[arg-type]
    assert dlt645("sent") == [PREAMBLE + row.theirs]
    assert OURS[row.name].start().hex().upper() == PREAMBLE + row.right != PREAMBLE + row.theirs


@pytest.mark.parametrize("row", TAKEN, ids=lambda row: row.name)
def test_what_its_client_takes(dlt645: Peer, row: Taken) -> None:
    dlt645("record", WIRE, row.answer)
    assert dlt645("read", row.di) == row.theirs
    exchange = master.Read(ADDRESS, row.di)
    exchange.start()
    assert ours(exchange.feed(bytes.fromhex(row.answer))) == row.right != row.theirs


def ours(step: object) -> object:
    """The step in the words of the table."""
    if isinstance(step, Send):
        return "asks for the next frame"
    if isinstance(step, NeedMore):
        return None
    assert isinstance(step, Done)
    (field,) = step.result.fields
    return f"{field.value} at {field.at}" if field.at else field.value


@pytest.mark.parametrize("row", SERVED, ids=lambda row: row.name)
def test_what_its_server_answers(dlt645: Peer, row: Served) -> None:
    port = dlt645("serve", WIRE)
    assert isinstance(port, int)
    assert ask(port, row.request) == row.theirs != row.right


def ask(port: int, request: str) -> str:
    """What comes within half a second, as hex without preamble."""
    with socket.create_connection(("127.0.0.1", port), 5) as line:
        line.sendall(bytes.fromhex(request))
        line.settimeout(0.5)
        deframer = Deframer()
        try:
            while heard := line.recv(1024):
                if deframer.feed(heard):
                    return heard.hex().upper().removeprefix(PREAMBLE)
        except TimeoutError:
            return ""
    return ""


def test_the_right_answers_of_the_table_are_ours() -> None:
    for row in SERVED:
        (asked,) = Deframer().feed(bytes.fromhex(row.request))
        heeded = attention(asked.control, asked.address, ADDRESS) is Attention.ANSWER
        assert heeded == bool(row.right), row.name


def test_lengths_of_records(dlt645: Peer) -> None:
    dlt645("serve", WIRE)
    assert dlt645("lengths", list(LENGTHS)) == {di: theirs for di, (theirs, _) in LENGTHS.items()}
    for di, (_, right) in LENGTHS.items():
        item = describe(di, Dialect.V2007)
        assert item and sum(field.length for field in item.fields) == right, di


def test_what_it_has_registered_and_cannot_answer(dlt645: Peer) -> None:
    port = dlt645("serve", WIRE)
    assert isinstance(port, int)
    assert dlt645("unserved") == UNSERVED
    wire_di = bytes.fromhex(UNSERVED[0])[::-1].hex()
    assert ask(port, faults.wire(WIRE, "11", wire_di)) == faults.wire(WIRE, "D1", "01")


@pytest.mark.parametrize(("name", "clause", "frame", "exception"), MANGLED, ids=lambda value: value if " " in str(value) else "")
def test_what_python_dlt645_makes_of_right_frames(python_dlt645: Peer, name: str, clause: str, frame: str, exception: str) -> None:
    with pytest.raises(PeerError, match=f"^{exception}"):
        python_dlt645("parse", frame)
    (ours,) = Deframer().feed(bytes.fromhex(frame))
    assert ours.control == 0x91 and ours.data.startswith(bytes.fromhex("00000100"))


def test_python_dlt645_cannot_send_bytes_from_cd_on(python_dlt645: Peer) -> None:
    with pytest.raises(PeerError, match="ValueError"):
        python_dlt645("dump", ADDRESS, "0001FF00")
    assert master.Read(ADDRESS, "0001FF00").start().hex().upper() == PREAMBLE + faults.wire(WIRE, "11", "00FF0100")


def test_where_a_peer_is_missing_its_tests_are_skipped_with_a_sentence() -> None:
    with pytest.raises(pytest.skip.Exception, match="nobody is not installed: run scripts/install peers"):
        python_of("nobody")


@pytest.mark.parametrize(
    "lock", [*ROOT.glob("requirements-peers-*.lock"), ROOT / "requirements-fuzz.lock"], ids=lambda path: path.name
)
def test_the_locks_pin_by_hash_and_name_no_address(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    pins = re.split(r"^(?=[a-z])", text, flags=re.M)[1:]
    assert pins and all(re.match(r"\S+==\S+ ", pin) and "--hash=sha256:" in pin for pin in pins)
