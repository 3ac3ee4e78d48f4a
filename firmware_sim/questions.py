"""The questions that a scenario asks on the wire, as a master would: read, write, control, purchases, raw frames."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

from firmware_sim.clockwork import local
from firmware_sim.dlt645.device import Device
from firmware_sim.fields import Fields
from firmware_sim.station import Station
from protocols.dlt645.frames import Deframer, Dialect, Frame
from protocols.dlt645.identifiers import read_fields, write_fields
from protocols.dlt645.master import (
    Action,
    Authenticate,
    Control,
    OpenAccount,
    Purchase,
    Read,
    ReadAnswer,
    TopUp,
    Write,
)
from protocols.dlt645.security import Identity, IdentityQuestion, SealQuestion
from protocols.errors import Refused, RequestError
from protocols.exchange import Done, Exchange, NeedMore, Step

DI = re.compile(r"[0-9A-F]{8}\Z|[0-9A-F]{4}\Z")
HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*\Z")
ORDERS = {
    "cut": Action.CUT, "allow": Action.ALLOW_CLOSE, "close": Action.CLOSE, "cut_then_close": Action.CUT_THEN_CLOSE,
    "cut_then_allow": Action.CUT_THEN_ALLOW, "alarm": Action.ALARM_ON, "alarm_off": Action.ALARM_OFF,
    "protect": Action.PROTECT_ON, "unprotect": Action.PROTECT_OFF,
}  # fmt: skip
FACTOR = bytes(range(8))  # of the test module; every meter of a street has the same
Exchanges = Callable[[Station], Iterator[Exchange[Any]]]


@dataclass(slots=True)
class Question:
    """What is asked and what is expected of the answer.

    refusal: the error word in hex that is awaited, None when it should be accepted. silence: nobody should answer.
    values: by quantity, what an answer must say.
    """

    exchanges: Exchanges
    refusal: str | None = None
    silence: bool = False
    values: Mapping[str, object] = field(default_factory=dict)
    result: Any = None

    def take(self, result: Any) -> None:
        """The result of an exchange; the last one counts, and of a challenge the next exchange makes use."""
        self.result = result

    def refused(self, refusal: Refused) -> str:
        """What is wrong about a refusal; empty when it was expected."""
        code = refusal.code.hex().upper()
        return "" if code == self.refusal else f"refused with {code} ({', '.join(refusal.flags)})"

    def silent(self) -> str:
        """What is wrong about silence."""
        return "" if self.silence else "no answer"

    def answered(self) -> str:
        """What is wrong about the answer."""
        if self.silence:
            return "answered, where silence was expected"
        if self.refusal is not None:
            return f"accepted, where a refusal with {self.refusal} was expected"
        return "; ".join(self._wrong())

    def _wrong(self) -> Iterator[str]:
        found = _values(self.result) if self.values else {}
        for name, value in self.values.items():
            if name not in found:
                yield f"{name} was not answered"
            elif not _equal(found[name], value):
                yield f"{name} is {found[name]}, not {value}"


def build(fields: Fields, act: str) -> Question:
    """The question of a step; complaints go to the table's errors."""
    refusal = fields.text("refused", "", HEX, "an error word in hex").upper() if fields.has("refused") else None
    silence = fields.flag("silent", False)
    expected = fields.table("values")
    values = {name: expected.value(name) for name in expected.names()} if expected else {}
    question = Question(QUESTIONS[act](fields), refusal, silence, values)
    fields.done()
    return question


def _read(fields: Fields) -> Exchanges:
    """di; count, for load records."""
    di = fields.text("di", None, DI, "8 or 4 hex digits")
    count = fields.integer("count", 1, 1, 99) if fields.has("count") else None
    return lambda station: iter([Read(station.address, di, count=count)])


def _write(fields: Fields) -> Exchanges:
    """di, and `data` in hex, wire order, or `set`: one value; level, password."""
    di = fields.text("di", None, DI, "8 or 4 hex digits")
    data = bytes.fromhex(fields.text("data", "", HEX, "hex digits"))
    value = fields.value("set")
    level, password = _authority(fields, 4)
    if value is not None:
        try:
            data = write_fields(di, [str(value)])
        except RequestError as error:
            fields.complain("set", str(error))
    return lambda station: iter([Write(station.address, di, data, level, password, long=True)])


def _control(fields: Fields) -> Exchanges:
    """order, n2, expires_s (on the meter's own clock; negative: passed), level, password."""
    order = ORDERS[fields.choice("order", ORDERS)]
    n2 = fields.integer("n2", 0, 0, 255)
    expires_s = fields.integer("expires_s", 600, -(10**6), 10**6)
    level, password = _authority(fields, 2)

    def exchanges(station: Station) -> Iterator[Exchange[Any]]:
        expiry = local(station.meter.clock_us) + timedelta(seconds=expires_s)
        yield Control(station.address, order, expiry, level, password, n2=n2)

    return exchanges


def _authority(fields: Fields, level: int) -> tuple[int, str]:
    return fields.integer("level", level, 0, 9), fields.text("password", "000000", re.compile(r"[0-9]{6}\Z"), "a text of 6 digits")


def _purchase(kind: type[TopUp] | type[OpenAccount]) -> Callable[[Fields], Exchanges]:
    """amount in yuan; count (default: the meter's next), customer (default: the meter's); identity and MACs by the TEST module."""

    def of_fields(fields: Fields) -> Exchanges:
        fen = int(fields.number("amount", None, 0, 999_999) * 100)
        count = fields.integer("count", 0, 0, 2**31) if fields.has("count") else None
        customer = fields.text("customer", "", re.compile(r"[0-9]{12}\Z|\Z"), "a text of 12 digits")
        return lambda station: _buy(station, kind, fen, count, customer)

    return of_fields


def _buy(
    station: Station, kind: type[TopUp] | type[OpenAccount], fen: int, count: int | None, customer: str
) -> Iterator[Exchange[Any]]:
    device = station.device
    if device is None or device.wallet is None:
        raise RequestError(f"{station.name} holds no money")
    identity = device.session.module.identify(IdentityQuestion(device.address, FACTOR))
    yield _Identify(device, identity)
    wallet = device.wallet
    number = wallet.count + 1 if count is None else count
    bare = Purchase(fen, number, customer or wallet.customer)
    di = "070102FF" if kind is TopUp else "070101FF"
    questions = [SealQuestion(device.address, FACTOR, device.session.challenge, di, part) for part in bare.signed]
    first, second = (device.session.module.mac(question) for question in questions)
    yield kind(station.address, Purchase(fen, number, bare.customer, (first, second)))


class _Identify(Authenticate):
    """The master's own proof of identity, to this meter."""

    def __init__(self, device: Device, identity: Identity) -> None:
        super().__init__(device.address, identity.cipher, identity.random, identity.factor)


def _send(fields: Fields) -> Exchanges:
    """hex: bytes as they are; answer: the frame in hex that must come, with any preamble."""
    data = bytes.fromhex(fields.text("hex", None, HEX, "hex digits"))
    answer = bytes.fromhex(fields.text("answer", "", HEX, "hex digits"))
    return lambda station: iter([_Raw(data, answer)])


class _Raw:
    """Any bytes, answered by any frame, or by this one."""

    answered = True

    def __init__(self, data: bytes, answer: bytes) -> None:
        self.skipped = 0
        self._data = data
        self._wanted = Deframer().feed(answer)
        self._deframer = Deframer()

    def start(self) -> bytes:
        return self._data

    def feed(self, data: bytes) -> Step[Frame]:
        frames = [frame for frame in self._deframer.feed(data) if frame.is_response]
        if not frames:
            return NeedMore()
        if self._wanted and frames[:1] != self._wanted:
            raise RequestError(f"the answer was {frames[0].control:02X} {frames[0].data.hex().upper()}")
        return Done(frames[0])

    def silence(self) -> Step[Frame]:
        return NeedMore()


QUESTIONS: dict[str, Callable[[Fields], Exchanges]] = {
    "read": _read,
    "write": _write,
    "control": _control,
    "top_up": _purchase(TopUp),
    "open_account": _purchase(OpenAccount),
    "send": _send,
}


def _values(result: object) -> dict[str, object]:
    """What an answer said, by quantity; `data` is its payload in hex."""
    if not isinstance(result, ReadAnswer):
        return {}
    dialect = Dialect.V1997 if len(result.di) == 4 else Dialect.V2007
    found: dict[str, object] = {value.field.quantity: value.value for value in read_fields(result.di, result.data, dialect)}
    return found | {"data": result.data.hex().upper()}


def _equal(found: object, value: object) -> bool:
    try:
        return Decimal(str(found)) == Decimal(str(value))
    except ArithmeticError:
        return str(found) == str(value)
