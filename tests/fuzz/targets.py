"""What is fuzzed: each target takes any bytes, may raise nothing, and checks what must hold of every input.

An error of protocols.errors is the protocol's own and is awaited where an exchange may end with it, nowhere else.
"""

from __future__ import annotations

import contextlib
import json
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from firmware_sim.config import SimConfig, parse
from firmware_sim.street import Street
from protocols.bank import iso8583_meaning as meaning
from protocols.bank.dayfile import DayFileError, day_table, parse_dayfile
from protocols.bank.debitfile import DebitFileError, debit_table, read_results
from protocols.bank.iso8583 import BadMessage, Codec
from protocols.bank.iso8583 import Deframer as Deframer8583
from protocols.bank.iso8583_table import KINDS
from protocols.bcd import decode_digits
from protocols.decode import PROTOCOLS, decode_line
from protocols.dlt645.frames import Deframer, Dialect, Frame, encode
from protocols.dlt645.identifiers import decode, describe, measurements, read_fields
from protocols.dlt645.items import FieldValue
from protocols.dlt645.load_profile import LoadItem, encode_records, parse_records
from protocols.dlt645.slave import Slave, Slave97, attention
from protocols.errors import ProtocolError, Refused
from protocols.exchange import Done, Exchange, NeedMore, Send
from protocols.modbus.decode import decode_rtu
from protocols.modbus.frames import TcpDeframer
from protocols.modbus.slave import RtuSlave, TcpSlave, exception
from tests.fuzz import shapes
from tests.fuzz.questions import DLT645, METER, MODBUS
from tests.protocols.bank.tables import CONFIG

MAX_INPUT = 400
"""Bytes of one input: the longest frame and more. What grows with the length is tested apart, on long lines."""


DAY_TABLES = [day_table(tomllib.loads(file.read_text())) for file in sorted(CONFIG.glob("dayfile-*.toml"))]
DEBIT_TABLES = [debit_table(tomllib.loads(file.read_text())) for file in sorted(CONFIG.glob("debit-*.toml"))]


@dataclass(frozen=True, slots=True)
class Target:
    """run: takes any bytes. shape: a structure-aware change of an input."""

    run: Callable[[bytes], None]
    shape: shapes.Shape


def pieces(data: bytes, size: int) -> list[bytes]:
    """The same bytes in pieces of this size."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def deframer(data: bytes) -> None:
    """The same frames however the bytes arrive; every byte is a frame's, a preamble's or counted as skipped."""
    whole, parted = Deframer(), Deframer()
    found = whole.feed(data) + whole.flush()
    in_parts = [frame for part in pieces(data, 1 + len(data) % 31) for frame in parted.feed(part)] + parted.flush()
    assert found == in_parts and whole.skipped == parted.skipped
    assert whole.pending == parted.pending == 0
    wake_ups = len(data) - whole.skipped - sum(frame.size for frame in found)
    assert 0 <= wake_ups <= data.count(0xFE)
    for frame in found:
        assert encode(frame, 0) in data


def line(data: bytes) -> None:
    """Whatever is on a line has a JSON; whatever is typed as well. The length chooses the protocol."""
    found = decode_line(data.hex(), (None, *PROTOCOLS)[len(data) % 4], explain=True)
    assert json.loads(json.dumps(found)) == found
    assert 0 <= int(str(found["skipped"])) <= len(data)
    typed = decode_line(data.decode("latin-1"))
    assert set(typed) in ({"error"}, {"frames", "skipped", "incomplete"})


def identifier(data: bytes) -> None:
    """Any payload of any identifier has values or none; written again, the values are the same."""
    dialect = Dialect.V1997 if data[:1] == b"\x01" else Dialect.V2007
    size = 2 if dialect is Dialect.V1997 else 4
    di, payload = decode_digits(data[1 : 1 + size].ljust(size, b"\0")), data[1 + size :]
    found = read_fields(di, payload, dialect)
    measured = decode(di, payload, dialect)
    assert measured == measurements(found)
    assert all(each.value is None or each.value.is_finite() for each in measured)
    item = describe(di, dialect)
    if found and item and not isinstance(item, LoadItem):
        again = item.read(item.write(found))
        assert again is not None and [_told(value) for value in again] == [_told(value) for value in found]


def _told(found: FieldValue) -> tuple[str, object, str | None]:
    return found.field.quantity, found.value, found.at


def master(data: bytes) -> None:
    """data: which exchange, how large the pieces are, and what is heard."""
    choice, size = data[:2].ljust(2, b"\0")
    converse(list(DLT645.values())[choice % len(DLT645)](), pieces(data[2:], 1 + size))


def converse(exchange: Exchange[object], heard: list[bytes]) -> None:
    """What an exchange makes of this: it asks on, ends well, ends with the protocol's own error, or still waits."""
    exchange.start()
    fed = 0
    try:
        for part in heard:
            fed += len(part)
            if isinstance(exchange.feed(part), Done):
                return
        assert isinstance(exchange.silence(), NeedMore | Send | Done)
    except ProtocolError as error:
        assert str(error) and (not isinstance(error, Refused) or error.code)
    finally:
        assert 0 <= exchange.skipped <= fed


def slave(data: bytes) -> None:
    """Requests of either dialect, and who must heed them."""
    for each, dialect in ((Slave(), Dialect.V2007), (Slave97(), Dialect.V1997)):
        found = [request for part in pieces(data, 1 + len(data) % 50) for request in each.feed(part)]
        for request in [*found, *each.silence()]:
            attention(request.control, request.address, METER, dialect)


def _config(**meter: object) -> SimConfig:
    return parse({"line": [{"id": "a", "kind": "tcp"}], "meter": [{"id": "m", "line": "a", "load": {"power_w": 500}, **meter}]})


_CONFIGS = (
    _config(model="dlt645-single", address=METER, password="000000"),
    _config(model="dlt645-three", address=METER),
    _config(model="dds238", unit=1),
)


def meter(data: bytes) -> None:
    """A simulated meter, chosen by the length: what it answers is one frame, from one meter, to the function asked."""
    street = Street(_CONFIGS[len(data) % len(_CONFIGS)], 0, 1_795_233_600_000_000)
    now_us = 1_000_000
    asked = {frame.function for frame in _frames(data)}
    for part in pieces(data, 64):
        for reply in street.buses["a"].receive(part, now_us, now_us + 50_000):
            found = _frames(reply.data)
            if len(found) == 1:
                (frame,) = found
                assert frame.is_response and frame.function in asked and frame.address.isdecimal()
            else:
                assert not found and decode_rtu(reply.data) is not None
        now_us += 100_000


def _frames(data: bytes) -> list[Frame]:
    deframer = Deframer()
    return deframer.feed(data) + deframer.flush()


def modbus(data: bytes) -> None:
    """data: who listens and in pieces of which size, and what is heard."""
    choice, heard = data[0] if data else 0, data[1:]
    parts = pieces(heard, 1 + choice % 100)
    match choice // len(MODBUS) % 3:
        case 0:
            converse(list(MODBUS.values())[choice % len(MODBUS)](), parts)
        case 1:
            _modbus_slaves(heard, parts)
        case _:
            _modbus_listeners(heard)


def _modbus_slaves(heard: bytes, parts: list[bytes]) -> None:
    for each in (RtuSlave((1, 2)), TcpSlave(None), TcpSlave((1,))):
        for part in parts:
            for request in each.feed(part):
                assert exception(request, 1) or request.unit == 0
        assert 0 <= each.skipped <= len(heard)


def _modbus_listeners(heard: bytes) -> None:
    tcp = TcpDeframer()
    found = tcp.feed(heard)
    tcp.drop()
    assert tcp.skipped + sum(frame.size for frame in found) == len(heard)
    decoded = decode_rtu(heard, force=True)
    assert decoded is not None and json.loads(json.dumps(decoded)) == decoded
    strict = decode_rtu(heard)
    assert strict is None or strict["frames"] == decoded["frames"]


def load_profile(data: bytes) -> None:
    """Whole records or Malformed; records of a known time, written again, are the same."""
    try:
        found = parse_records(data)
    except ProtocolError as error:
        assert str(error)
        return
    for number, record in enumerate(found, 1):
        assert all(value.field.quantity.endswith(f"_record_{number}") for value in record.values(number))
    dated = [record for record in found if record.when is not None]
    assert list(parse_records(encode_records(dated))) == dated


def iso8583(data: bytes) -> None:
    """A message of either table is read as it would be written, asked what it means, and has an answer; a stream comes apart."""
    for codec in shapes.BANK_CODECS:
        _asked(codec, data)
        parted, whole = Deframer8583(codec.dialect), Deframer8583(codec.dialect)
        with contextlib.suppress(BadMessage):
            found = whole.feed(data)
            assert [each for part in pieces(data, 1 + len(data) % 13) for each in parted.feed(part)] == found


def _asked(codec: Codec, data: bytes) -> None:
    try:
        received = codec.decode(data)
    except BadMessage as bad:
        if bad.partial is not None and bad.partial.mti[2] in "02":
            codec.encode(meaning.answer(codec.dialect, bad.partial, "format"))
        return
    told = received.message
    assert codec.decode(codec.encode(told)).message == told
    assert not codec.right(received, []) and meaning.kind_of(codec.dialect, told) in (None, *KINDS)
    for ask in (meaning.named, meaning.original, meaning.account, meaning.currency):
        with contextlib.suppress(BadMessage):
            ask(codec.dialect, told)
    for when in (lambda: meaning.sent_at(told, datetime(2028, 2, 29)), lambda: meaning.settled_on(told, date(2028, 2, 29))):
        with contextlib.suppress(BadMessage):
            when()
    if told.mti[2] in "02":
        codec.encode(meaning.answer(codec.dialect, told, "ok", 1234))


def bank_file(data: bytes) -> None:
    """Any bytes are a day file or a result file of any shipped table, or refused; what comes out can be reconciled."""
    for table in DAY_TABLES:
        with contextlib.suppress(DayFileError):
            for line in parse_dayfile(pieces(data, 1 + len(data) % 31), table, "2026-11-21"):
                assert line.endswith(b"\n") and line.count(b"\n") == 1 and line.decode()
    for debits in DEBIT_TABLES:
        with contextlib.suppress(DebitFileError):
            list(read_results(debits, pieces(data, 1 + len(data) % 31), date(2026, 11, 21)))


TARGETS: dict[str, Target] = {
    "deframer": Target(deframer, shapes.frames),
    "line": Target(line, shapes.frames),
    "identifier": Target(identifier, shapes.item),
    "master": Target(master, shapes.answers),
    "slave": Target(slave, shapes.frames),
    "meter": Target(meter, shapes.frames),
    "modbus": Target(modbus, shapes.modbus_frames),
    "load_profile": Target(load_profile, shapes.records),
    "iso8583": Target(iso8583, shapes.bank_message),
    "bank_file": Target(bank_file, shapes.bank_lines),
}
