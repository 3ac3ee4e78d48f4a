"""Banks' files: day files become the form that reconciliation reads, debits go out and results come back as their tables say."""

from __future__ import annotations

import tomllib
from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.day_file import BadLine, DayLine, Trailer, read_day_file
from protocols.bank.dayfile import DayFileError, DayTable, day_table, parse_dayfile
from protocols.bank.debitfile import Debit, DebitFileError, DebitTable, Result, debit_table, read_results, write_batch
from protocols.bank.iso8583 import Message
from protocols.bank.iso8583_meaning import named
from protocols.bank.records import BadRecord
from protocols.profiles import ProfileError
from tests.protocols.bank.tables import CONFIG, shipped

DAY = "2026-11-21"


def document(name: str) -> dict[str, object]:
    return tomllib.loads((CONFIG / f"{name}.toml").read_text("utf-8"))


PIPE, FIXED = day_table(document("dayfile-pipe")), day_table(document("dayfile-fixed"))
PAIRS = [debit_table(document(name)) for name in ("debit-pipe", "debit-fixed")]


def read(data: bytes, table: DayTable, size: int = 7) -> list[DayLine | BadLine | Trailer]:
    chunks = [data[at : at + size] for at in range(0, len(data), size)]
    return list(read_day_file(parse_dayfile(chunks, table, DAY)))


def test_a_file_with_separators_is_read_totals_first() -> None:
    data = "3|15000\n20261121|S1|A-1|10000|app|01\r\n20261121|S2|A-2|5000|网点|topup\n20261121|S1|A-1|10000||02\n"
    first, second, third, trailer = read(data.encode("gb18030"), PIPE)
    assert first == DayLine("S1", "A-1", "100.00", "CNY", "topup", "", "2026-11-21T00:00:00+08:00", "app", "", 2)
    assert isinstance(second, BadLine) and "channel" in second.why and second.cents == 5000  # a channel of ours is a token
    assert third == DayLine("S1", "A-1", "100.00", "CNY", "reversal", "S1", "2026-11-21T00:00:00+08:00", "", "", 4)
    assert trailer == Trailer(3, 15000)


def fixed(
    account: str = "A-1", fen: int = 5000, kind: str = "PAY", trace: str = "000001", forwarder: str = "",
    acquirer: str = "00001234567", terminal: str = "TERM0001",
) -> bytes:  # fmt: skip
    parts = (("20261121", 8), ("120000", 6), ("1121120000", 10), (trace, 6), (acquirer, 11), (forwarder, 11),
             ("261100000001", 12), (terminal, 8), (account, 20), (str(fen), 12), (kind, 8))  # fmt: skip
    return b"".join(text.rjust(width).encode() for text, width in parts) + b"\n"


def test_a_file_of_fixed_length_names_payments_as_the_line_does() -> None:
    told = {7: "1121120000", 11: "000001", 32: "1234567", 37: "261100000001", 41: "TERM0001"}
    data = fixed() + fixed(kind="REVERSAL") + f"{2:10d}{0:16d}\n".encode()
    paid, undone, trailer = read(data, FIXED)
    assert isinstance(paid, DayLine) and isinstance(undone, DayLine)
    assert paid.serial == named(shipped(), Message("0200", told)).serial == undone.original_serial
    assert (paid.amount, paid.paid_at) == ("50.00", "2026-11-21T12:00:00+08:00") and trailer == Trailer(2, 0)


@pytest.mark.parametrize("terminal", ["TERM0001", "TERM-1", "T 1"])
@pytest.mark.parametrize(("acquirer", "forwarder", "trace"), [("1234567", "0", "1"), ("00001234567", "00000000000", "000001")])
def test_a_payment_has_one_name_however_its_file_pads_it(acquirer: str, forwarder: str, trace: str, terminal: str) -> None:
    """Blanks or zeros: under another serial the whole day would be missing on both sides."""
    told = {7: "1121120000", 11: "000001", 32: "1234567", 37: "261100000001", 41: terminal.ljust(8)}
    line = fixed(acquirer=acquirer, forwarder=forwarder, trace=trace, terminal=terminal)
    paid, _ = read(line + f"{1:10d}{5000:16d}\n".encode(), FIXED)
    assert isinstance(paid, DayLine) and paid.serial == named(shipped(), Message("0200", told)).serial


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"20261121|S1|A-1|10000|app\n", "columns"), (b"20261121|S1|A-1|1x|app|01\n", "amount"),
        (b"20261121|S1|A-1|1|a|09\n", "type"),
        (b"20261131|S1|A-1|1|a|01\n", "date"), (b"20261121|S,1|A-1|1|a|01\n", "comma"), (b"20261121|S1|A 1|1|a|01\n", "account"),
        (b"20261121|S1|A-1|0|a|01\n", "amount"), (b"x" * 2000 + b"\n", "too long"), (b"\xff\xff|\n", "gb18030"),
    ],
)  # fmt: skip
def test_a_line_that_is_none_is_a_bad_line_at_its_place(line: bytes, why: str) -> None:
    good = b"20261121|S9|A-1|100|app|01\n"
    first, bad, last, trailer = read(b"3|200\n" + good + line + good, PIPE)
    assert isinstance(first, DayLine) and isinstance(last, DayLine) and isinstance(bad, BadLine) and trailer == Trailer(3, 200)
    assert why in bad.why or why in bad.text


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "first line must be that of totals"), (b"x|1\n", "for a count"), (b"1|1.5\n", "for a sum"), (b"1\n", "columns"),
        (b"-1|0\n", "for a count"),
    ],
)  # fmt: skip
def test_a_file_without_totals_is_none(data: bytes, says: str) -> None:
    with pytest.raises(DayFileError, match=says):
        read(data, PIPE)


def test_a_file_of_fixed_length_ends_with_its_totals() -> None:
    with pytest.raises(DayFileError, match="last line"):
        read(fixed() + fixed(), FIXED)
    assert read(f"{0:10d}{0:16d}\n".encode(), FIXED) == [Trailer(0, 0)]


def test_a_sum_below_zero_and_points_in_amounts() -> None:
    decimal = day_table({**document("dayfile-pipe"), "amounts": "decimal"})
    [line, trailer] = read(b"1|-100.50\n20261121|S1|A-1|0100.50|app|02\n", decimal)
    assert isinstance(line, DayLine) and line.amount == "100.50" and trailer == Trailer(1, -10050)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"separator": "1"}, "separator"), ({"charset": "utf-16"}, "charset"), ({"amounts": "float"}, "amounts"),
        ({"serial_of": ["nothing"]}, "serial_of"), ({"more": 1}, "more is not a key"), ({"types": {"9": "gift"}}, "must be one of"),
        ({"summary": {"at": "first", "column": [{"name": "count"}]}}, "count and sum"),
        ({"detail": {"column": [{"name": "serial"}, {"name": "serial"}]}}, "twice"),
        ({"detail": {"column": [{"name": "serial"}, {"name": "account"}]}}, "amount"),
    ],
)  # fmt: skip
def test_a_table_that_is_none_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(ProfileError, match=says):
        day_table({**document("dayfile-pipe"), **change})


DEBITS = [
    Debit(1, "DD-20261121-000001", "6222020200112233445", "A-1", 3000, "CNY"),
    Debit(2, "DD-20261121-000002", "62", "A-2", 1, "CNY"),
]


def test_the_file_to_the_bank() -> None:
    assert write_batch(PAIRS[0], "DD-icbc-20261121", date(2026, 11, 21), DEBITS) == (
        b"DD-icbc-20261121|20261121|2|3001\n"
        b"1|DD-20261121-000001|6222020200112233445|A-1|3000\n"
        b"2|DD-20261121-000002|62|A-2|1\n"
    )
    wide = write_batch(PAIRS[1], "DD-icbc-20261121", date(2026, 11, 21), DEBITS).split(b"\r\n")
    assert wide[0] == b"20261121" + b"2".rjust(8) + b"3001".rjust(16) and {len(line) for line in wide[1:3]} == {72}
    assert wide[2] == b"DD-20261121-000002".ljust(20) + b"62".ljust(40) + b"1".rjust(12)


@pytest.mark.parametrize("payer", ["6|2", "6\n2", " 62", "6" * 41, "é"])
def test_what_its_column_cannot_hold_is_not_written(payer: str) -> None:
    table = PAIRS[0] if payer in ("6|2", "6\n2", " 62") else PAIRS[1]
    with pytest.raises(BadRecord):
        write_batch(table, "b", date(2026, 11, 21), [Debit(1, "DD-20261121-000001", payer, "A-1", 1, "CNY")])


def results(table: DebitTable, data: bytes, size: int = 5) -> list[Result]:
    return list(read_results(table, [data[at : at + size] for at in range(0, len(data), size)], date(2026, 11, 21)))


def test_the_bank_s_answer() -> None:
    data = b"DD-icbc-20261121|20261121|2|3000\n1|DD-20261121-000001|3000|0000|\n2|DD-20261121-000002|1|E51|no money\n"
    assert results(PAIRS[0], data) == [
        Result("DD-20261121-000001", 3000, True, "0000", date(2026, 11, 21)),
        Result("DD-20261121-000002", 1, False, "E51 no money", date(2026, 11, 21)),
    ]
    totals = b"20261122" + b"1".rjust(8) + b"1".rjust(16) + b"\r\n"
    dated = totals + b"S".ljust(20) + b"1".rjust(12) + b"00".rjust(4) + b"20261122\r\n"
    assert results(PAIRS[1], dated) == [Result("S", 1, True, "00", date(2026, 11, 22))]


def test_another_bank_s_answer_is_not_taken_for_this_one_s() -> None:
    """Serials of two banks are the same on the same day: what tells them apart is the batch that the first line names."""
    data = b"DD-ccb-20261121|20261121|1|3000\n1|DD-20261121-000001|3000|0000|\n"
    day = date(2026, 11, 21)
    with pytest.raises(DebitFileError, match="line 1: it is about 'DD-ccb-20261121', which is no batch of this bank's"):
        list(read_results(PAIRS[0], [data], day, lambda batch: batch.startswith("DD-icbc-")))
    assert len(list(read_results(PAIRS[0], [data], day, lambda batch: batch.startswith("DD-ccb-")))) == 1
    assert len(list(read_results(PAIRS[0], [data.replace(b"DD-ccb-20261121", b"")], day, lambda batch: False))) == 1


def test_a_currency_that_the_file_names_is_the_one_that_counts() -> None:
    columns = [{"name": name} for name in ("serial", "amount", "code", "currency")]
    raw = document("debit-pipe")
    raw["result"] = {"paid": ["0000"], "summary": {"column": [{"name": "count"}]}, "detail": {"column": columns}}
    [found] = results(debit_table(raw), b"1\nS|1|0000|EUR\n")
    assert found.currency == "EUR"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty"), (b"b|20261121|2|0\n1|S|1|0000|\n", "says 2 lines, and there are 1"), (b"b|20261121|x|0\n", "line 1: 'x'"),
        (b"b|20261121|1|0\n1|S|-1|0000|\n", "line 2: '-1'"), (b"b|20261121|1|0\n1|S|1||\n", "line 2: it has no code"),
        (b"b|20261121|1|0\n1|S|1\n", "line 2: it has 3 columns"),
    ],
)  # fmt: skip
def test_a_result_file_that_is_none_books_nothing(data: bytes, says: str) -> None:
    with pytest.raises(DebitFileError, match=says):
        results(PAIRS[0], data)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text("0189AZaz", min_size=1, max_size=30), st.integers(1, 10**11)), max_size=9))
def test_what_goes_out_comes_back(lines: list[tuple[str, int]]) -> None:
    debits = [Debit(n, f"DD-20261121-{n:06d}", payer, "A-1", fen, "CNY") for n, (payer, fen) in enumerate(lines, 1)]
    for table in PAIRS:
        written = write_batch(table, "B", date(2026, 11, 21), debits).decode().splitlines()
        told = [table.out_detail.read(line.encode()) for line in written[1:]]
        found = [(each["serial"], each["payer"], int(each["amount"])) for each in told]
        assert found == [(debit.serial, debit.payer, debit.fen) for debit in debits]
        assert all(a != b for a, b in pairwise(written))
