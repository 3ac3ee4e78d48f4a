"""ISO 8583 messages of a partner's dialect: bytes to fields and back, their MACs, and the two bytes of length before each.

The codec is pyiso8583's. It takes lengths like `+5`; so a message must come out of it as it went in, but for small letters in
bitmaps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import iso8583

from protocols.bank.iso8583_table import NO_MAC, Dialect, FieldForm
from protocols.bank.mac import MAC_BYTES, mac, right

LENGTH_BYTES = 2
"""Of the frame's length, high byte first."""

LONGEST = 4096
"""Bytes of a message with its header. Payment lines carry some 1,500 at most; whoever announces more is no partner."""

HIGHEST_BIT = 192
"""pyiso8583 takes bit 65 for a third bitmap, of which no table here has a field: they must be known to be refused."""

_TEXT: Final[dict[str, re.Pattern[str]]] = {
    "n": re.compile(r"[0-9]*", re.ASCII),
    "an": re.compile(r"[0-9A-Za-z ]*", re.ASCII),
    "ans": re.compile(r"[^\x00-\x1f\x7f-\x9f]*"),
    "z": re.compile(r"[0-9A-F=]*", re.ASCII),
}


class BadMessage(ValueError):
    """Bytes that are no message of this dialect, in one sentence.

    partial: what could be read before that, for an answer that says so; None where not even the MTI could be.
    """

    def __init__(self, text: str, partial: Message | None = None) -> None:
        self.partial = partial
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Message:
    """mti: four digits. fields: by number, without bitmaps and MAC; b fields as hex. header: what stood before the MTI."""

    mti: str
    fields: Mapping[int, str] = field(default_factory=dict)
    header: bytes = b""

    def get(self, number: int) -> str:
        """The field's text, empty where it was not sent."""
        return self.fields.get(number, "")


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came. signed: the bytes its MAC covers, from the MTI on; mac: b"" without one."""

    message: Message
    signed: bytes
    mac: bytes


class Codec:
    """Messages of one dialect. `iso8583.decode` needs a form for every bit; fields that the table does not name are refused."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._spec = _spec(dialect)

    def decode(self, data: bytes) -> Received:
        """One message without its frame. BadMessage for anything that this dialect would not write exactly so."""
        header, body = data[: self.dialect.header_bytes], bytes(data[self.dialect.header_bytes :])
        if len(data) > LONGEST:
            raise BadMessage(f"a message has at most {LONGEST} bytes, not {len(data)}")
        try:
            read, _ = iso8583.decode(body, self._spec)
        except iso8583.DecodeError as problem:
            read = {key: text for key, text in problem.doc_dec.items() if key != problem.field}
            raise BadMessage(f"field {problem.field}: {problem.msg}", self._partial(read, header)) from None
        fields = {int(key): text for key, text in read.items() if key.isdecimal() and key != "1"}
        message = Message(read["t"], fields, header)
        try:
            self._check(message)
        except BadMessage as bad:
            raise BadMessage(str(bad), self._partial(read, header)) from None
        if self._pack(message) != self._capital(body):
            raise BadMessage("the message is not written as its table says", message)
        last = _mac_field(fields)
        if last not in fields:
            return Received(message, body, b"")
        code = bytes.fromhex(fields.pop(last))
        return Received(message, body[:-MAC_BYTES], code)

    def encode(self, message: Message, key: bytes | None = None) -> bytes:
        """One message without its frame, with its MAC where there is a key. BadMessage for what the table cannot carry."""
        if key is None or self.dialect.mac == NO_MAC:
            self._check(message)
            return message.header + self._pack(message)
        last = _mac_field(message.fields)
        with_mac = Message(message.mti, {**message.fields, last: "00" * MAC_BYTES}, message.header)
        self._check(with_mac)
        signed = self._pack(with_mac)[:-MAC_BYTES]
        return message.header + signed + mac(self.dialect.mac, key, signed)

    def right(self, received: Received, keys: Iterable[bytes]) -> bool:
        """Whether its MAC is that of one of these keys; never for a message without one."""
        return self.sealed_by(received, keys) is not None

    def sealed_by(self, received: Received, keys: Iterable[bytes]) -> bytes | None:
        """Which of these keys its MAC was made with; None for none of them, and for a message without one."""
        if not received.mac:
            return None
        return next((key for key in keys if right(self.dialect.mac, key, received.signed, received.mac)), None)

    def _capital(self, body: bytes) -> bytes:
        """With its bitmaps in capitals: a partner's library may write either."""
        if self.dialect.binary_bitmap:
            return body
        start = 2 if self.dialect.numbers == "bcd" else 4
        end = start + (32 if body[start : start + 1].decode(self.dialect.charset) >= "8" else 16)
        bitmaps = body[start:end].decode(self.dialect.charset).upper()
        return body[:start] + bitmaps.encode(self.dialect.charset) + body[end:]

    def _pack(self, message: Message) -> bytes:
        named = {"t": message.mti, **{str(number): text for number, text in sorted(message.fields.items())}}
        try:
            raw, _ = iso8583.encode(named, self._spec)
        except iso8583.EncodeError as problem:
            raise BadMessage(f"field {problem.field}: {problem.msg}", message) from None
        return bytes(raw)

    def _check(self, message: Message) -> None:
        if not re.fullmatch(r"[0-9]{4}", message.mti, re.ASCII):
            raise BadMessage("an MTI has four digits")
        for number, text in message.fields.items():
            form = self.dialect.fields.get(number)
            if form is None:
                raise BadMessage(f"field {number} is none of this partner's", message)
            if form.kind != "b" and _TEXT[form.kind].fullmatch(text) is None:
                raise BadMessage(f"field {number} is not of the form {form.kind}", message)

    def _partial(self, read: Mapping[str, str], header: bytes) -> Message | None:
        """What stands before the first fault: behind it nothing can be told apart."""
        mti = read.get("t", "")
        if re.fullmatch(r"[0-9]{4}", mti, re.ASCII) is None:
            return None
        fields: dict[int, str] = {}
        for number in sorted(int(key) for key in read if key.isdecimal() and key != "1"):
            form, text = self.dialect.fields.get(number), read[str(number)]
            if form is None or (form.kind != "b" and _TEXT[form.kind].fullmatch(text) is None):
                break
            fields[number] = text
        fields.pop(64, None)
        fields.pop(128, None)
        return Message(mti, fields, header)


class Deframer:
    """Messages out of a stream, each behind its length."""

    def __init__(self, dialect: Dialect) -> None:
        self._own = LENGTH_BYTES if dialect.inclusive else 0
        self._kept = bytearray()

    @property
    def pending(self) -> int:
        """Bytes of a message that has not come whole."""
        return len(self._kept)

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole now; one of length nought only says that somebody is there, and is left out.

        BadMessage for a length that no message has: nothing after it can be told apart. What came before it is given out first.
        """
        self._kept += data
        found: list[bytes] = []
        while len(self._kept) >= LENGTH_BYTES:
            size = int.from_bytes(self._kept[:LENGTH_BYTES], "big") - self._own
            if not 0 <= size <= LONGEST:
                if found:
                    break
                raise BadMessage(f"a frame announces {size} bytes; a message has 0 to {LONGEST}")
            if len(self._kept) < LENGTH_BYTES + size:
                break
            if size:
                found.append(bytes(self._kept[LENGTH_BYTES : LENGTH_BYTES + size]))
            del self._kept[: LENGTH_BYTES + size]
        return found


def frame(dialect: Dialect, message: bytes) -> bytes:
    """A message behind its length. BadMessage for one that is longer than LONGEST."""
    if len(message) > LONGEST:
        raise BadMessage(f"a message has at most {LONGEST} bytes, not {len(message)}")
    return (len(message) + (LENGTH_BYTES if dialect.inclusive else 0)).to_bytes(LENGTH_BYTES, "big") + message


def _mac_field(fields: Iterable[int]) -> int:
    """The MAC is the last field of the last bitmap."""
    return 128 if any(number > 64 for number in fields) else 64


def _spec(dialect: Dialect) -> dict[str, dict[str, object]]:
    text = {"len_enc": "ascii", "len_type": 0}
    bitmap = {"data_enc": "b", "max_len": 8} if dialect.binary_bitmap else {"data_enc": dialect.charset, "max_len": 16}
    bcd = dialect.numbers == "bcd"
    spec: dict[str, dict[str, object]] = {
        "h": {**text, "data_enc": "b", "max_len": 0},
        "t": {**text, "data_enc": "b", "max_len": 2} if bcd else {**text, "data_enc": dialect.charset, "max_len": 4},
        "p": {**text, **bitmap},
        "1": {**text, **bitmap},
    }
    for number in range(2, HIGHEST_BIT + 1):
        form = dialect.fields.get(number, FieldForm("b", 1, 0))
        spec[str(number)] = _field_spec(dialect, form)
    return spec


def _field_spec(dialect: Dialect, form: FieldForm) -> dict[str, object]:
    packed = form.kind in ("n", "z") and dialect.numbers == "bcd"
    data = {"data_enc": "b" if form.kind == "b" or packed else dialect.charset, "max_len": form.most}
    if packed:
        data |= {"len_count": "nibbles", "left_pad": "0"} if form.kind == "n" else {"len_count": "nibbles", "right_pad": "0"}
    if dialect.lengths == "bcd":
        return {**data, "len_enc": "bcd", "len_type": (form.length_digits + 1) // 2}
    return {**data, "len_enc": dialect.charset, "len_type": form.length_digits}
