"""Structure-aware changes: frames keep right lengths and checksums, items right layouts, but for one part."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random

from protocols.bank.iso8583 import BadMessage, Codec, Message
from protocols.dlt645.frames import ANY, BROADCAST, MAX_DATA, Deframer, Frame, encode
from protocols.dlt645.identifiers import describe
from protocols.dlt645.load_profile import DAMAGED, GAP, START, LoadRecord, encode_records, parse_records
from protocols.errors import ProtocolError
from protocols.modbus.frames import FUNCTIONS, rtu_intact, rtu_pack, tcp_pack
from tests.fuzz.questions import DLT645, METER, MODBUS, NEW
from tests.protocols.bank.tables import KEY, packed, shipped

TELLING = bytes((0x00, 0x01, 0x16, 0x33, 0x68, 0x7F, 0x80, 0x99, 0xAA, 0xCB, 0xE5, 0xFE, 0xFF))
"""Bytes that mean something at the link layer or in a value."""
MAX_FRAMES = 6
"""Frames of one input: enough for follow-ups, few enough to stay quick."""
FOLLOW_UPS = {0x11: 0x12, 0x01: 0x02}
KNOWN = [
    "00010000", "0001FF00", "00900200", "00C00001", "01010000", "0101FF00", "02010100", "0203FF00", "02800002", "020A01FF",
    "03010000", "03050001", "03300201", "03300001", "03330201", "04000101", "04000102", "04000404", "04000503", "040005FF",
    "04001003", "04010000", "040604FF", "05000100", "0500FF01", "06010001", "06000002", "061001FF", "06100601", "070000FF",
    "070102FF", "078001FF", "078102FF", "1D000001", "1E000101",
]  # fmt: skip
KNOWN_1997 = [
    "9010", "901F", "9410", "A010", "B010", "B212", "B310", "B611", "B630", "C010", "C011", "C020", "C032", "C117", "C321",
    "C331", "C411", "D110",
]  # fmt: skip
Shape = Callable[[Random, bytes], bytes]


def scramble(dice: Random, data: bytes) -> bytes:
    """A few bytes changed, put in, taken out or repeated anywhere: no structure is kept."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(out) + 1)
        match dice.randrange(5):
            case 0:
                out[at : at + 1] = _some(dice, 1)
            case 1:
                out[at:at] = _some(dice, dice.randint(1, 8))
            case 2:
                del out[at : at + dice.randint(1, 16)]
            case 3:
                out[at:at] = out[at : at + dice.randint(1, 32)]
            case _ if at < len(out):
                out[at] ^= 1 << dice.randrange(8)
    return bytes(out)


def frames(dice: Random, line: bytes) -> bytes:
    """A line of DL/T 645 frames of which one is changed, dropped, repeated or cut off, or noise is put before it."""
    return _line(dice, _change(dice, _found(line)))


def answers(dice: Random, data: bytes) -> bytes:
    """The same behind two bytes that choose the exchange and the pieces; mostly they are aimed at that exchange."""
    head = bytearray(data[:2].ljust(2, b"\0"))
    if dice.random() < 0.2:
        head = bytearray(dice.randbytes(2))
    exchange = list(DLT645.values())[head[0] % len(DLT645)]()
    (asked,) = Deframer().feed(exchange.start())
    found = _change(dice, _found(data[2:]))
    if asked.function in FOLLOW_UPS and dice.random() < 0.4:
        heard = _in_parts(dice, asked, found)
    else:
        heard = [_aim(dice, asked, frame) if dice.random() < 0.8 else frame for frame in found]
    return bytes(head) + _line(dice, heard)


def item(dice: Random, data: bytes) -> bytes:
    """The dialect, an identifier, and a payload of a length that it may have."""
    old = dice.random() < 0.3
    di = dice.choice(KNOWN_1997 if old else KNOWN) if dice.random() < 0.6 else _near(dice, KNOWN_1997 if old else KNOWN)
    found = describe(di, "dlt645-1997" if old else "dlt645-2007")  # type: ignore[arg-type]
    sizes = [f.length for f in found.fields] if found else [dice.randrange(40)]
    size = sum(sizes[: dice.randint(0, len(sizes))] if dice.random() < 0.5 else sizes)
    return bytes([old]) + bytes.fromhex(di)[::-1] + _digits(dice, size + dice.choice((0, 0, 0, 0, 1, -1)), data[5:])


def records(dice: Random, data: bytes) -> bytes:
    """Load records, whole, with some classes empty, one byte changed or one mark more."""
    try:
        found = list(parse_records(data))
    except ProtocolError:
        found = []
    if not found or dice.random() < 0.3:
        return b"".join(_record(dice) for _ in range(dice.randint(1, 3)))
    kept = [record for record in found if record.when is not None]
    try:
        made = encode_records(dice.choices(kept, k=dice.randint(1, 4)) if kept else [LoadRecord(None, ())])
    except ProtocolError:
        return scramble(dice, data)
    return made if dice.random() < 0.5 else scramble(dice, made)


def modbus_frames(dice: Random, data: bytes) -> bytes:
    """Behind a byte that chooses the exchange: RTU frames with right CRC, or MBAP frames with right length."""
    head = dice.randrange(256) if dice.random() < 0.3 or not data else data[0]
    tcp = "TCP" in list(MODBUS)[head % len(MODBUS)]
    pdus = [_pdu(dice, data[8:] if tcp else data[2:-2]) for _ in range(dice.choice((1, 1, 1, 2, 3)))]
    unit = dice.choice((1, 1, 1, 0, 247, 255))
    made = [tcp_pack(unit, pdu, dice.choice((7, 7, 0, 8))) if tcp else rtu_pack(unit, pdu) for pdu in pdus]
    line = b"".join(made)
    return bytes([head]) + (scramble(dice, line) if dice.random() < 0.2 else line)


def _some(dice: Random, count: int) -> bytes:
    return bytes(dice.choice(TELLING) if dice.random() < 0.5 else dice.randrange(256) for _ in range(count))


def _found(line: bytes) -> list[Frame]:
    deframer = Deframer()
    return (deframer.feed(line) + deframer.flush())[:MAX_FRAMES] or [Frame(METER, 0x91, bytes.fromhex("0000010078563412"))]


def _change(dice: Random, found: list[Frame]) -> list[Frame]:
    at = dice.randrange(len(found))
    frame, out = found[at], list(found)
    match dice.randrange(7):
        case 0:
            address = dice.choice((METER, NEW, ANY, BROADCAST, "AAAAAAAA0102", dice.randbytes(6).hex().upper()))
            out[at] = Frame(address, frame.control, frame.data)
        case 1:
            out[at] = Frame(frame.address, dice.choice((frame.control ^ (1 << dice.randrange(8)), dice.randrange(256))), frame.data)
        case 2:
            out[at] = Frame(frame.address, frame.control, scramble(dice, frame.data)[:MAX_DATA])
        case 3:
            di = bytes.fromhex(dice.choice(KNOWN + KNOWN_1997))[::-1]
            out[at] = Frame(frame.address, frame.control, (di + frame.data[len(di) :])[:MAX_DATA])
        case 4:
            size = dice.choice((0, 1, 4, 5, len(frame.data) + 1, 200, MAX_DATA))
            out[at] = Frame(frame.address, frame.control, _digits(dice, min(size, MAX_DATA), frame.data))
        case 5:
            out[at:at] = [frame] * dice.randint(1, 3)
        case _:
            dice.shuffle(out)
            del out[dice.randrange(len(out)) + 1 :]
    return out[:MAX_FRAMES]


def _line(dice: Random, found: list[Frame]) -> bytes:
    parts = []
    for frame in found:
        noise = _some(dice, dice.randint(1, 20)) if dice.random() < 0.15 else b""
        wire = bytearray(encode(frame, dice.choice((4, 4, 0, 1, 7))))
        if dice.random() < 0.05:
            wire[dice.randrange(len(wire))] ^= 1 << dice.randrange(8)
        parts.append(noise + wire)
    line = b"".join(parts)
    return line[: dice.randrange(len(line))] if dice.random() < 0.1 else line


def _aim(dice: Random, asked: Frame, frame: Frame) -> Frame:
    """As if our meter answered our question: well, with more to come, or with a refusal."""
    address = METER if "A" in asked.address or asked.address == BROADCAST else asked.address
    address = dice.choice((address, address, NEW if asked.data[-1:] == b"\x99" else address))
    function = asked.function if dice.random() < 0.7 else frame.function
    control = function | dice.choice((0x80, 0x80, 0x80, 0xA0, 0xC0))
    data = frame.data
    if dice.random() < 0.7:
        size = dice.choice((0, 2, 4, 4, 4, 12, len(asked.data)))
        data = asked.data[:size] + data[size:]
    if control & 0x40 and dice.random() < 0.8:
        data = data[: dice.choice((0, 1, 2, 3))]
    if function in (0x12, 0x02) and dice.random() < 0.7:
        data = data[:-1] + bytes([dice.choice((1, 2, 3))])
    return Frame(address, control, data[:MAX_DATA])


def _in_parts(dice: Random, asked: Frame, found: list[Frame]) -> list[Frame]:
    """An answer that goes on in follow-up frames, of which one now and then lacks its number or says another."""
    address = METER if "A" in asked.address or asked.address == BROADCAST else asked.address
    di = asked.data[: 4 if asked.function == 0x11 else 2]
    parts = []
    for number, frame in enumerate(found):
        function = FOLLOW_UPS[asked.function] if number else asked.function
        last = dice.random() < 0.1 or number == len(found) - 1
        payload = frame.data[len(di) :] if dice.random() < 0.9 else b""
        if number and asked.function == 0x11 and dice.random() < 0.9:
            payload += bytes([number if dice.random() < 0.95 else dice.randrange(256)])
        parts.append(Frame(address, function | (0x80 if last else 0xA0), (di + payload)[:MAX_DATA]))
    return parts


def _near(dice: Random, known: list[str]) -> str:
    """An identifier of which one byte is another."""
    raw = bytearray.fromhex(dice.choice(known))
    raw[dice.randrange(len(raw))] = dice.choice((0, 1, 2, 3, 10, 63, 64, 254, 255, dice.randrange(256)))
    return raw.hex().upper()


def _digits(dice: Random, size: int, old: bytes) -> bytes:
    """Decimal digits, fillers, what was there, or anything; a sign now and then."""
    size = max(0, size)
    match dice.randrange(4):
        case 0:
            out = bytearray(dice.choice(range(10)) << 4 | dice.choice(range(10)) for _ in range(size))
        case 1:
            out = bytearray(b"\xff" * size)
        case 2:
            out = bytearray(old[:size].ljust(size, b"\0"))
        case _:
            out = bytearray(dice.randbytes(size))
    if out and dice.random() < 0.3:
        out[dice.randrange(size)] = dice.choice(TELLING)
    return bytes(out)


def _record(dice: Random) -> bytes:
    sizes = (17, 24, 8, 16, 16, 6)
    body = b"".join(_digits(dice, size if dice.random() < 0.5 else 0, b"") + bytes([GAP]) for size in sizes)
    head = dice.choice((START, START, DAMAGED)) + bytes([len(body) + 5 & 0xFF]) + bytes.fromhex("1510211126") + body
    return head + bytes([sum(head) & 0xFF, 0xE5])


def _pdu(dice: Random, pdu: bytes) -> bytes:
    """A PDU with another function, count or length, or an exception."""
    function = dice.choice((*FUNCTIONS, 3, 3, 4, 1, 16, dice.randrange(256)))
    match dice.randrange(4):
        case 0:
            return bytes([function | 0x80, dice.randrange(12)])
        case 1:
            count = dice.choice((2, 4, 18, 250, dice.randrange(256)))
            return bytes([function, count]) + dice.randbytes(min(count, 250))
        case 2:
            return bytes([function]) + pdu[1:253]
        case _:
            return scramble(dice, pdu)[:253] or b"\x03"


BANK_CODECS = (Codec(shipped()), Codec(packed()))


def bank_message(dice: Random, data: bytes) -> bytes:
    """A message of either table with fields of another message's, other digits or none; now and then a bit of it turned."""
    codec = dice.choice(BANK_CODECS)
    found = _message(data) or Message("0200", {7: "1121120000", 11: "000001", 32: "1234567"})
    fields = dict(found.fields)
    for number in dice.sample(sorted({*fields, 3, 4, 15, 33, 37, 41, 48, 49, 70, 90}), dice.randint(0, 3)):
        form = codec.dialect.fields[number]
        size = dice.randint(0, min(form.most, 60)) if form.length_digits else form.most
        letters = "0123456789" if form.kind == "n" else "0123456789ABCxyz =-"
        fields[number] = "".join(dice.choice(letters if form.kind != "an" else "019AZaz ") for _ in range(size))
        if dice.random() < 0.2:
            del fields[number]
    mti = dice.choice((found.mti, "0100", "0200", "0201", "0400", "0421", "0800", "0210", f"{dice.randrange(10_000):04d}"))
    try:
        raw = codec.encode(Message(mti, fields, dice.randbytes(codec.dialect.header_bytes)), dice.choice((None, KEY)))
    except BadMessage:  # text of the other table's character set
        return scramble(dice, data)
    return scramble(dice, raw) if dice.random() < 0.2 else raw


def _message(data: bytes) -> Message | None:
    for codec in BANK_CODECS:
        with contextlib.suppress(BadMessage):
            return codec.decode(data).message
    return None


def whole_message(data: bytes) -> bool:
    """Whether these bytes are a message of either table."""
    return _message(data) is not None


def bank_lines(dice: Random, data: bytes) -> bytes:
    """Lines of banks' files, some of them put elsewhere, repeated, left out or changed in a few bytes."""
    lines = data.split(b"\n")
    for _ in range(dice.randint(0, 3)):
        at = dice.randrange(len(lines))
        match dice.randrange(4):
            case 0:
                lines.insert(dice.randrange(len(lines) + 1), lines[at])
            case 1 if len(lines) > 1:
                del lines[at]
            case 2:
                lines[at] = scramble(dice, lines[at])
            case _:
                lines[at] = lines[at].replace(b"0", dice.choice((b"1", b"", b" ", b"|")))
    return b"\n".join(lines)


def intact_modbus(data: bytes) -> bool:
    """Whether a Modbus frame stands at the front, RTU or MBAP."""
    return any(rtu_intact(data[:size]) for size in range(4, len(data) + 1)) or (
        data[2:4] == b"\0\0" and 2 <= int.from_bytes(data[4:6], "big") == len(data) - 6
    )
