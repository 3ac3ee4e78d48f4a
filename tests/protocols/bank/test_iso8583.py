"""ISO 8583 messages against the vectors, whole, cut off at every length, and there and back in two quite different dialects."""

from __future__ import annotations

import json
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.bank.iso8583 import LONGEST, BadMessage, Codec, Deframer, Message, frame
from protocols.bank.iso8583_table import Dialect
from tests.protocols.bank.tables import KEY, packed, shipped

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "prepayment.json").read_text("utf-8"))["iso8583"]
MESSAGES = {vector["name"]: vector for vector in VECTORS["messages"]}
ASCII, OTHER = Codec(shipped()), Codec(packed())
PAYMENT = ASCII.decode(MESSAGES["payment 0200 (3=500000) CNY 100.00"]["raw_ascii"].encode()).message


def fields_of(vector: dict[str, dict[str, str]]) -> dict[int, str]:
    return {int(number): text for number, text in vector["fields"].items() if number != "t"}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_vector_is_read_and_written_as_it_stands(name: str) -> None:
    vector = MESSAGES[name]
    raw = vector["raw_ascii"].encode()
    received = ASCII.decode(raw)
    assert (received.message.mti, received.message.fields) == (vector["fields"]["t"], fields_of(vector))
    assert ASCII.encode(received.message) == raw and received.mac == b""
    assert raw[4:20].decode() == vector["primary_bitmap"]


@pytest.mark.parametrize("published", VECTORS["published"][:2], ids=lambda each: each["raw"])
def test_the_library_authors_own_examples(published: dict[str, object]) -> None:
    fields = dict(published["fields"])  # type: ignore[call-overload]
    raw = str(published["raw"]).encode()
    received = ASCII.decode(raw)
    assert received.message == Message(fields.pop("t"), {int(number): text for number, text in fields.items()})


@pytest.mark.parametrize("codec", [ASCII, OTHER], ids=["ascii", "packed"])
@pytest.mark.parametrize("name", MESSAGES)
def test_cut_off_at_every_length_it_is_no_message(codec: Codec, name: str) -> None:
    message = Message(MESSAGES[name]["fields"]["t"], fields_of(MESSAGES[name]), b"\x60\0\1\0\0"[: codec.dialect.header_bytes])
    raw = codec.encode(message, KEY)
    assert codec.right(codec.decode(raw), [KEY]) and codec.decode(raw).message == message
    for size in range(len(raw)):
        with pytest.raises(BadMessage):
            codec.decode(raw[:size])
    with pytest.raises(BadMessage):
        codec.decode(raw + b"0")


@pytest.mark.parametrize("codec", [ASCII, OTHER], ids=["ascii", "packed"])
def test_each_flipped_bit_of_a_sealed_message_is_refused_or_has_a_wrong_mac(codec: Codec) -> None:
    message = Message(PAYMENT.mti, PAYMENT.fields, bytes(codec.dialect.header_bytes))
    raw = codec.encode(message, KEY)
    for at in range(codec.dialect.header_bytes * 8, len(raw) * 8):
        changed = bytearray(raw)
        changed[at // 8] ^= 1 << at % 8
        try:
            assert not codec.right(codec.decode(bytes(changed)), [KEY])
        except BadMessage:
            continue


def test_the_mac_stands_in_the_last_field_of_the_last_bitmap_over_all_before_it() -> None:
    short, long = ASCII.encode(PAYMENT, KEY), ASCII.encode(Message("0400", {**PAYMENT.fields, 90: "0" * 42}), KEY)
    assert int(short[4:20], 16) & 1 and not int(short[4:20], 16) >> 63
    assert int(long[4:20], 16) >> 63 and not int(long[4:20], 16) & 1 and int(long[20:36], 16) & 1
    assert ASCII.decode(short).signed + ASCII.decode(short).mac == short


def test_a_retired_key_is_still_right_and_a_strange_one_is_not() -> None:
    received = ASCII.decode(ASCII.encode(PAYMENT, KEY))
    assert ASCII.right(received, [KEY[::-1], KEY]) and not ASCII.right(received, [KEY[::-1]]) and not ASCII.right(received, [])


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"02000000000100000000+512345", "not written as"),  # a length that int() would take
        (b"02000000000100000000 512345", "not written as"),
        (b"02000000000100000000-1", "field 32"),
        (b"02000000000100000000x1", "field 32"),
        (b"02000000000100000000121234567890123", "field 32: .* larger"),
        (b"0800002000000000000000000A", "field 11 is not of the form n"),
        (b"020040000000000000001012345678 9", "field 2 is not of the form n"),
        (b"02004000000000000000101234567890+", "Extra data|not written|p"),
        (b"08000020000000000000000001".replace(b"2000", b"2a00"), "field"),
        (b"0200000000080000000" + b"01", "field 29 is none of this partner's|field 29"),
        (b"080", "field t"),
        (b"08x0002000000000000000000A", "field t|MTI"),
        (b"0200" + b"8000000000000000" * 2 + b"0" * 20, "none of this partner's|field"),
        (b"", "field t"),
        (b"\xff" * 40, "field t"),
    ],
)
def test_what_no_partner_writes_is_refused_in_a_sentence(raw: bytes, says: str) -> None:
    with pytest.raises(BadMessage, match=says):
        ASCII.decode(raw)


def test_bitmaps_may_be_in_small_letters_and_nothing_else() -> None:
    raw = ASCII.encode(Message("0400", {**PAYMENT.fields, 90: "0" * 42, 48: "ACCT=a"}), KEY)
    small = raw[:4] + raw[4:36].lower() + raw[36:]
    assert small != raw and ASCII.decode(small).message == ASCII.decode(raw).message
    assert not ASCII.right(ASCII.decode(small), [KEY]), "the MAC is over the bytes as they came"


def test_an_unknown_field_is_told_with_what_could_be_read() -> None:
    with pytest.raises(BadMessage) as problem:
        ASCII.decode(b"08000220000802000000" + b"0115093000" + b"000001" + b"9" + b"00")
    assert problem.value.partial == Message("0800", {7: "0115093000", 11: "000001"})


@pytest.mark.parametrize(("number", "text"), [(7, "123"), (11, "00000A"), (48, "\x00"), (29, "1"), (37, "12345678901é")])
def test_a_field_of_another_form_is_not_written(number: int, text: str) -> None:
    with pytest.raises(BadMessage, match=f"field {number}"):
        ASCII.encode(Message("0200", {number: text}))


def text_of(dialect: Dialect, number: int) -> st.SearchStrategy[str]:
    form = dialect.fields[number]
    letters = {"n": string.digits, "an": "0189ABCxyz ", "ans": string.ascii_letters + string.digits + " .-=*", "z": "0123=D"}
    if form.kind == "b":
        return st.binary(min_size=form.most, max_size=form.most).map(lambda data: data.hex().upper())
    least = 0 if form.length_digits else form.most
    return st.text(letters[form.kind], min_size=least, max_size=min(form.most, 120))


def messages(codec: Codec) -> st.SearchStrategy[Message]:
    known = [number for number in codec.dialect.fields if number not in (64, 128)]
    fields = st.lists(st.sampled_from(known), max_size=12, unique=True).flatmap(
        lambda numbers: st.fixed_dictionaries({number: text_of(codec.dialect, number) for number in numbers})
    )
    header = st.binary(min_size=codec.dialect.header_bytes, max_size=codec.dialect.header_bytes)
    return st.builds(Message, st.from_regex(r"[0-9]{4}", fullmatch=True).filter(str.isascii), fields, header)


@pytest.mark.parametrize("codec", [ASCII, OTHER], ids=["ascii", "packed"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_whatever_a_table_can_carry_comes_back(codec: Codec, data: st.DataObject) -> None:
    message = data.draw(messages(codec))
    for key in (None, KEY):
        received = codec.decode(codec.encode(message, key))
        assert received.message == message and codec.right(received, [KEY]) is (key is not None)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=300))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    for codec in (ASCII, OTHER):
        try:
            received = codec.decode(data)
        except BadMessage:
            continue
        assert codec.dialect.header_bytes + len(received.signed) + len(received.mac) == len(data)


@pytest.mark.parametrize("dialect", [shipped(), packed()], ids=["exclusive", "inclusive"])
def test_frames_come_out_however_the_bytes_arrive(dialect: Dialect) -> None:
    stream = frame(dialect, b"first") + frame(dialect, b"") + frame(dialect, b"x" * 300) + frame(dialect, b"last")[:-1]
    for size in (1, 2, 3, 7, len(stream)):
        deframer = Deframer(dialect)
        found = [each for at in range(0, len(stream), size) for each in deframer.feed(stream[at : at + size])]
        assert found == [b"first", b"x" * 300] and deframer.pending
        assert deframer.feed(b"t") == [b"last"] and not deframer.pending


def test_a_length_counts_itself_or_not() -> None:
    assert frame(shipped(), b"abc") == b"\0\3abc" and frame(packed(), b"abc") == b"\0\5abc"


@pytest.mark.parametrize(("dialect", "head"), [(shipped(), LONGEST + 1), (shipped(), 0xFFFF), (packed(), 1), (packed(), 0)])
def test_a_length_that_no_message_has_ends_the_stream(dialect: Dialect, head: int) -> None:
    with pytest.raises(BadMessage, match="announces"):
        Deframer(dialect).feed(head.to_bytes(2, "big"))
