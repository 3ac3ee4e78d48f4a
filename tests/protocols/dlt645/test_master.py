"""Exchanges of the asking side against captured answers: whole, in pieces, cut short, in noise, beside strangers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from protocols.dlt645.frames import Deframer, Frame, encode
from protocols.dlt645.master import MAX_FOLLOW_UPS, Action, BroadcastTime, Control, ControlAnswer, Read, ReadAddress, ReadAnswer
from protocols.errors import Malformed, Refused, RequestError
from protocols.exchange import Done, Exchange, NeedMore, Send
from tests.protocols.dlt645.vectors import FRAMES, SYNTHETIC, WITH_VALUES, bare, in_noise, name, raw

METER = "201906040102"
ANSWERS = [v for v in WITH_VALUES if v["dir"] == "response"]
REQUESTS = [v for v in FRAMES if v["dir"] == "request"]
BY_ID = {v["id"]: v for v in FRAMES}
PLAIN_READS = [v for v in REQUESTS if v["ctrl"] == "11" and v["L"] == 4 and v["addr"] != "99" * 6]
PLAIN_READS_1997 = [v for v in REQUESTS if v["ctrl"] == "01" and v["L"] == 2]
CONTROLS = [v for v in REQUESTS if v["ctrl"] == "1C" and v["L"] == 16]
EXPIRY = datetime(2026, 11, 21, 10, 15)


def asking(vector: dict[str, Any]) -> Read:
    """The question that this captured answer answers."""
    read = Read(vector["addr"], vector["di"])
    read.start()
    return read


def answer(data: str, control: int = 0x91, address: str = METER) -> bytes:
    return encode(Frame(address, control, bytes.fromhex(data)))


def values(step: object) -> list[str | None]:
    assert isinstance(step, Done)
    return [None if m.value is None else str(m.value) for m in step.result.items]


@pytest.mark.parametrize("vector", ANSWERS, ids=name)
def test_a_captured_answer_whole(vector: dict[str, Any]) -> None:
    read = asking(vector)
    step = read.feed(raw(vector))
    assert values(step) == vector["values"]
    assert read.skipped == 0
    assert isinstance(step, Done) and (step.result.address, step.result.di) == (vector["addr"], vector["di"])
    assert {m.unit for m in step.result.items} == {vector["unit"]}


@pytest.mark.parametrize("vector", ANSWERS, ids=name)
def test_a_captured_answer_byte_by_byte_and_cut_short_at_every_length(vector: dict[str, Any]) -> None:
    read, data = asking(vector), raw(vector)
    for at, byte in enumerate(data[:-1]):
        assert read.feed(bytes([byte])) == NeedMore(begun=at >= vector["preamble"])
    assert values(read.feed(data[-1:])) == vector["values"]
    for length in range(len(data)):
        cut = asking(vector)
        assert cut.feed(data[:length]) == NeedMore(begun=length > vector["preamble"])
        assert cut.silence() == NeedMore()


@pytest.mark.parametrize("vector", ANSWERS, ids=name)
def test_a_captured_answer_in_noise(vector: dict[str, Any]) -> None:
    for before, after in in_noise(raw(vector), 20):
        read = asking(vector)
        step = read.feed(before + raw(vector) + after)
        step = step if isinstance(step, Done) else read.silence()
        assert values(step) == vector["values"]
        assert len(after) <= read.skipped <= len(before) + len(after)


@pytest.mark.parametrize("vector", PLAIN_READS, ids=name)
def test_our_2007_reads_are_the_captured_ones(vector: dict[str, Any]) -> None:
    assert Read(vector["addr"], vector["di"], preamble=vector["preamble"]).start() == raw(vector)


@pytest.mark.parametrize("vector", PLAIN_READS_1997, ids=name)
def test_our_1997_reads_are_the_captured_ones(vector: dict[str, Any]) -> None:
    assert Read(vector["addr"], vector["di"], preamble=0).start() == bare(vector)


@pytest.mark.parametrize("vector", CONTROLS, ids=name)
def test_our_control_commands_are_the_captured_ones(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["data"])
    second, minute, hour, day, month, year = (int(f"{b:02x}") for b in data[10:])
    expiry = datetime(2000 + year, month, day, hour, minute, second) if any(data[10:]) else None
    action = Action(data[8])
    for password in (data[1:4], data[3:0:-1].hex()):
        ours = Control(vector["addr"], action, expiry, data[0], password, data[7:3:-1].hex(), data[9], preamble=0)
        assert ours.start() == bare(vector)


def test_our_time_broadcasts_are_the_captured_ones() -> None:
    assert BroadcastTime(datetime(2017, 6, 5, 10, 22, 51), preamble=0).start() == raw(BY_ID["v118"])
    assert BroadcastTime(datetime(2017, 6, 5, 10, 40, 25), "1" * 12, preamble=0).start() == raw(BY_ID["v119"])


def test_our_search_for_the_address_is_the_captured_one() -> None:
    assert ReadAddress(preamble=0).start() == bare(BY_ID["v064"])


def test_the_vectors_give_every_kind_of_request() -> None:
    assert (len(PLAIN_READS), len(PLAIN_READS_1997), len(CONTROLS)) == (30, 17, 6)


@pytest.mark.parametrize("vector_id", ["v036", "v126", "v141"])
def test_the_address_that_a_meter_tells(vector_id: str) -> None:
    search = ReadAddress()
    search.start()
    assert search.feed(raw(BY_ID[vector_id])) == Done(BY_ID[vector_id]["addr"])


def test_a_wildcard_accepts_the_real_address_and_the_wildcard_itself() -> None:
    for address in (METER, "AAAAAAAA0102"):
        read = Read("AAAAAAAA0102", "02010100")
        read.start()
        step = read.feed(answer("000101025622", address=address))
        assert isinstance(step, Done) and step.result.address == address
    other = Read("AAAAAAAA0103", "02010100")
    other.start()
    assert other.feed(answer("000101025622")) == NeedMore()
    assert other.skipped == 18


def test_a_1997_meter_answers_a_broadcast_read_with_its_own_address() -> None:
    read = Read("99" * 6, "9010")
    assert read.start()
    assert values(read.feed(raw(BY_ID["v322"]))) == ["0.03"]


def test_echo_and_foreign_frames_are_skipped_and_counted() -> None:
    read = Read(METER, "00010000", preamble=0)
    strangers = [
        read.start(),  # our echo
        answer("0000010078563412", address="111111111111"),  # another meter
        answer("000101025622"),  # our meter, another identifier
        answer("", 0x9C),  # our meter, another function
        answer("02", 0xD4),  # our meter, refusing another function
    ]
    for stranger in strangers:
        assert read.feed(stranger) == NeedMore()
    assert read.skipped == sum(len(s.lstrip(b"\xfe")) for s in strangers)
    assert values(read.feed(answer("0000010078563412"))) == ["123456.78"]


def test_what_comes_behind_the_answer_counts_as_skipped() -> None:
    read = Read(METER, "00010000")
    read.start()
    read.feed(answer("0000010078563412") + answer("0000010078563413") + b"\x68\x00")
    assert read.skipped == 20 + 2


def test_a_false_start_is_given_up_in_silence() -> None:
    read = Read(METER, "00010000")
    read.start()
    false = bytes.fromhex("680201040619206811")  # an echo that broke off: the preamble of the answer stands where L would
    assert read.feed(false + answer("0000010078563412")) == NeedMore(begun=True)
    assert values(read.silence()) == ["123456.78"]
    assert read.skipped == len(false)


def test_an_unknown_identifier_gives_its_bytes_and_no_items() -> None:
    read = Read(METER, "12010101")
    read.start()
    assert read.feed(answer("01010112472211150323")) == Done(ReadAnswer(METER, "12010101", bytes.fromhex("472211150323"), ()))


def test_a_load_record_without_a_match_is_an_empty_answer() -> None:
    read = Read(METER, "06010001")
    read.start()
    assert read.feed(SYNTHETIC["s20"]) == Done(ReadAnswer(METER, "06010001", b"", ()))


def test_an_exchange_ends_once() -> None:
    read = Read(METER, "00010000")
    read.start()
    read.feed(answer("0000010078563412"))
    with pytest.raises(RequestError):
        read.feed(b"")
    refused = Read(METER, "00010000")
    refused.start()
    with pytest.raises(Refused):
        refused.feed(answer("02", 0xD1))
    with pytest.raises(RequestError):
        refused.feed(answer("0000010078563412"))


@pytest.mark.parametrize(
    ("data", "control"),
    [
        ("", 0x91),  # v103
        ("000001", 0x91),
        ("00000100", 0x91),
        ("000001005404000001", 0x91),
        ("", 0xD1),
    ],
)
def test_an_answer_that_cannot_be_is_malformed(data: str, control: int) -> None:
    read = Read(METER, "00010000")
    read.start()
    with pytest.raises(Malformed):
        read.feed(answer(data, control))


@pytest.mark.parametrize("vector_id", ["v083", "v176"])
def test_captured_answers_of_a_wrong_length_are_malformed(vector_id: str) -> None:
    with pytest.raises(Malformed):
        asking(BY_ID[vector_id]).feed(raw(BY_ID[vector_id]))


@pytest.mark.parametrize(
    ("word", "flags"),
    [
        ("02", ("no requested data",)),
        ("04", ("password wrong or not authorised",)),
        ("06", ("no requested data", "password wrong or not authorised")),
    ],
)
def test_a_refused_read_says_why(word: str, flags: tuple[str, ...]) -> None:
    read = Read(METER, "00010000")
    read.start()
    with pytest.raises(Refused) as refused:
        read.feed(answer(word, 0xD1))
    assert (refused.value.code, refused.value.flags) == (bytes.fromhex(word), flags)


def test_a_refused_1997_read_says_why() -> None:
    read = Read("201708176934", "9000")
    read.start()
    with pytest.raises(Refused) as refused:
        read.feed(raw(BY_ID["v323"]))
    assert refused.value.flags == ("wrong data identifier",)


def long_read() -> Read:
    read = Read(METER, "03300201", preamble=0)
    read.start()
    assert read.feed(SYNTHETIC["s15"]) == Send(SYNTHETIC["s16"])
    return read


def test_a_long_answer_is_asked_for_part_by_part() -> None:
    read = long_read()
    assert read.feed(SYNTHETIC["s15"]) == NeedMore()  # a late repetition
    step = read.feed(SYNTHETIC["s17"])
    assert isinstance(step, Done)
    assert len(step.result.data) == 202
    parts = Deframer().feed(SYNTHETIC["s15"] + SYNTHETIC["s17"])
    assert step.result.data == parts[0].data[4:] + parts[1].data[4:-1]


def test_a_middle_part_asks_for_the_next() -> None:
    read = long_read()
    step = read.feed(SYNTHETIC["s18"])
    assert isinstance(step, Send)
    assert step.data == encode(Frame(METER, 0x12, bytes.fromhex("0102300302")), 0)


@pytest.mark.parametrize("data", ["01023003" + "000102030405" + "02", "01023003", "010230"])
def test_a_part_with_a_wrong_seq_is_malformed(data: str) -> None:
    with pytest.raises(Malformed):
        long_read().feed(answer(data, 0x92))


def test_a_refused_part_ends_the_read() -> None:
    with pytest.raises(Refused):
        long_read().feed(answer("02", 0xD2))


def test_parts_are_asked_of_the_meter_that_answered_the_wildcard() -> None:
    read = Read("AA" * 6, "03300201", preamble=0)
    read.start()
    assert read.feed(SYNTHETIC["s15"]) == Send(SYNTHETIC["s16"])


def test_a_meter_that_never_comes_to_an_end_is_malformed() -> None:
    read = Read(METER, "03300201")
    read.start()
    assert isinstance(read.feed(answer("0102300300", 0xB1)), Send)
    for seq in range(1, MAX_FOLLOW_UPS):
        assert isinstance(read.feed(answer(f"0102300300{seq:02X}", 0xB2)), Send)
    with pytest.raises(Malformed):
        read.feed(answer("0102300300FF", 0xB2))


def test_a_long_1997_answer_has_no_seq() -> None:
    read = Read(METER, "901F", preamble=0)
    read.start()
    assert read.feed(answer("1F9001000000", 0xA1)) == Send(encode(Frame(METER, 0x02, bytes.fromhex("1F90")), 0))
    assert values(read.feed(answer("1F9002000000", 0x82))) == ["0.01", "0.02"]


def controlling() -> Control:
    control = Control(METER, Action.CUT, EXPIRY)
    control.start()
    return control


def test_control_accepted() -> None:
    assert controlling().feed(answer("", 0x9C)) == Done(ControlAnswer(b""))
    step = controlling().feed(SYNTHETIC["s23"])
    assert step == Done(ControlAnswer(b"\x08\x00"))
    assert isinstance(step, Done) and step.result.flags == ("delayed trip",)


@pytest.mark.parametrize(
    ("frame", "code", "flags"),
    [("s21", "04", ("password wrong or not authorised",)), ("s22", "2000", ("refused by supply-protect",))],
)
def test_control_refused(frame: str, code: str, flags: tuple[str, ...]) -> None:
    with pytest.raises(Refused) as refused:
        controlling().feed(SYNTHETIC[frame])
    assert (refused.value.code.hex(), refused.value.flags) == (code, flags)


@pytest.mark.parametrize(("data", "control"), [("08", 0x9C), ("080000", 0x9C), ("", 0xDC), ("200000", 0xDC)])
def test_control_answers_that_cannot_be_are_malformed(data: str, control: int) -> None:
    with pytest.raises(Malformed):
        controlling().feed(answer(data, control))


@pytest.mark.parametrize(
    "data", ["0201040619", "02010406192A", "030104061920"], ids=["five bytes", "not decimal", "not the one in the header"]
)
def test_an_address_answer_that_cannot_be_is_malformed(data: str) -> None:
    search = ReadAddress()
    search.start()
    with pytest.raises(Malformed):
        search.feed(answer(data, 0x93))


def test_nobody_answers_a_broadcast() -> None:
    broadcast = BroadcastTime(EXPIRY)
    assert not broadcast.answered
    assert all(e.answered for e in (Read(METER, "00010000"), ReadAddress(), controlling()))


@pytest.mark.parametrize(
    "exchange",
    [
        Read("12345", "00010000"),
        Read("20190604010x", "00010000"),
        Read("2019AAAAAA02", "00010000"),
        Read("A" + "1" * 10 + "A", "00010000"),
        Read("99" * 6, "00010000"),
        Read(METER, "000100"),
        Read(METER, "0001000g"),
        Read(METER, "901"),
        Control("AA" * 6, Action.CUT, EXPIRY),
        Control("99" * 6, Action.CUT, EXPIRY),
        Control("12345", Action.CUT, EXPIRY),
        Control(METER, Action.CUT, EXPIRY, level=10),
        Control(METER, Action.CUT, EXPIRY, level=-1),
        Control(METER, Action.CUT, EXPIRY, password="12345"),
        Control(METER, Action.CUT, EXPIRY, password="12345x"),
        Control(METER, Action.CUT, EXPIRY, password=b"12"),
        Control(METER, Action.CUT, EXPIRY, operator="1"),
        Control(METER, Action.CUT, EXPIRY, n2=256),
        Control(METER, Action.CUT_THEN_CLOSE, EXPIRY),
        Control(METER, Action.CUT_THEN_ALLOW, EXPIRY, n2=0),
        Control(METER, Action.CUT, EXPIRY.replace(tzinfo=UTC)),
        Control(METER, Action.CUT, EXPIRY.replace(year=1999)),
        Control(METER, Action.CUT, EXPIRY.replace(year=2100)),
        BroadcastTime(EXPIRY.replace(tzinfo=UTC)),
        BroadcastTime(EXPIRY, "AA" * 6),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_before_the_line(exchange: Exchange[object]) -> None:
    with pytest.raises(RequestError):
        exchange.start()
