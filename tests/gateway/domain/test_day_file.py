"""A bank's day file is read strictly: what is wrong with a line is said, and nothing that is right is lost (contract.md 3)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.day_file import (
    FIELDS,
    HEADER,
    MOST_LINE_BYTES,
    BadLine,
    DayFileError,
    DayLine,
    Record,
    Trailer,
    read_day_file,
    write_day_file,
)

AT = "2026-11-21T10:15:00+08:00"
LINE = f"S-1,A-1,50.00,CNY,topup,,{AT},app,"
TOKENS = st.text("ABCxyz0189._:-", min_size=1, max_size=20)
MAYBE = st.just("") | TOKENS
AMOUNTS = st.integers(1, 99_999_999_999).map(lambda cents: f"{cents // 100}.{cents % 100:02d}")


@st.composite
def any_line(draw: st.DrawFn) -> DayLine:
    kind = draw(st.sampled_from(("topup", "reversal", "refund")))
    original = "" if kind == "topup" else draw(TOKENS)
    account = draw(st.text("ABCxyz0189_-", min_size=1, max_size=20))
    at = draw(st.sampled_from((AT, "2026-11-21T02:15:00Z", "2024-02-29t02:15:00.123456789z")))
    return DayLine(draw(TOKENS), account, draw(AMOUNTS), "CNY", kind, original, at, draw(MAYBE), draw(MAYBE))


NOISE = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40)
FILES = st.lists(any_line(), max_size=12)


def read(text: str | bytes, size: int = 1 << 16) -> list[Record]:
    data = text.encode() if isinstance(text, str) else text
    return [*read_day_file(data[at : at + size] for at in range(0, len(data), size))]


def of(*lines: str, trailer: str = "#1,50.00") -> str:
    return "\n".join([HEADER, *lines, trailer])


@given(lines=FILES, size=st.integers(1, 90), end=st.sampled_from(("\n", "\r\n")), mark=st.booleans(), empty=st.integers(0, 3))
def test_what_is_written_is_read_however_it_is_cut(lines: list[DayLine], size: int, end: str, mark: bool, empty: int) -> None:
    text = "".join(write_day_file(lines)).replace("\n", end) + end * empty
    *found, trailer = read(("\ufeff" if mark else "") + text, size)
    assert [line[:9] for line in found] == [line[:9] for line in lines]
    assert [line.number for line in found if isinstance(line, DayLine)] == [*range(2, len(lines) + 2)]
    assert trailer == Trailer(len(lines), sum(line.cents for line in lines))


@given(lines=FILES)
def test_a_file_from_a_spreadsheet_is_the_same(lines: list[DayLine]) -> None:
    """Every field in quotes, as RFC 4180 allows."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(FIELDS)
    writer.writerows(line[:9] for line in lines)
    total = [*write_day_file(lines)][-1]
    *found, _ = read(out.getvalue() + total)
    assert [line[:9] for line in found] == [line[:9] for line in lines]


@given(lines=FILES)
def test_our_file_is_no_program(lines: list[DayLine]) -> None:
    """No cell begins as a formula with a function would, whoever opens it with a spreadsheet."""
    for text in write_day_file(lines):
        for cell in text.removeprefix("#").strip().split(","):
            assert not cell.startswith(("=", "+", "@", "\t", "\r")) and not set(cell) & set("()|!\"'")


@given(noise=st.lists(NOISE, max_size=6))
def test_noise_is_bad_lines_and_loses_none_that_is_right(noise: list[str]) -> None:
    text = of(LINE, *noise, LINE.replace("S-1", "S-2"))
    records = read(text)
    good = [record.serial for record in records if isinstance(record, DayLine)]
    assert good[0] == "S-1" and good[-1] == "S-2" and isinstance(records[-1], Trailer)
    assert len(records) == len(noise) + 3


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (LINE.replace("50.00", "50.0"), "amount does not have the right form"),
        (LINE.replace("50.00", "0.00"), "amount does not have the right form"),
        (LINE.replace("50.00", "050.00"), "amount does not have the right form"),
        (LINE.replace("50.00", "-50.00"), "amount does not have the right form"),
        (LINE.replace("50.00", "５0.00"), "amount does not have the right form"),
        (LINE.replace("50.00", "1e3"), "amount does not have the right form"),
        (LINE.replace("CNY", "XTS"), "currency does not have the right form"),
        (LINE.replace("topup", "TOPUP"), "type does not have the right form"),
        (LINE.replace("A-1", "=1+1"), "account does not have the right form"),
        (LINE.replace("S-1", ""), "serial does not have the right form"),
        (LINE.replace("2026-11-21", "2026-02-30"), "paid_at does not have the right form"),
        (LINE.replace("topup,,", "topup,S-0,"), "a topup has no original_serial"),
        (LINE.replace("topup,,", "reversal,,"), "a reversal needs the original_serial of its payment"),
        (LINE + ",", "it has 10 fields, not 9"),
        ("", "it has 1 fields, not 9"),
        ('"S-1', "it cannot be split into fields"),
        (f'"S-1,",A-1,50.00,CNY,topup,,{AT},,', "serial does not have the right form"),
        ("x" * (MOST_LINE_BYTES + 1), "it is no UTF-8, or longer than 1024 bytes"),
        (LINE + "\ud83d", "it is no UTF-8, or longer than 1024 bytes"),
        ("#1,50.00", "a line of totals that is not the last"),
    ],
)
def test_what_is_wrong_with_a_line(line: str, why: str) -> None:
    text = of(LINE, line, LINE.replace("S-1", "S-2")).encode("utf-8", "surrogatepass")
    for size in (1 << 16, 7):
        bad = [record for record in read(text, size) if isinstance(record, BadLine)]
        assert [(each.number, each.why) for each in bad] == [(3, why)]
        assert len(bad[0].text) <= 200


def test_the_amount_of_a_bad_line_is_told_where_it_can_be_read() -> None:
    found = read(of(LINE.replace("A-1", "A 1"), LINE.replace("topup,,", "reversal,,"), LINE.replace("50.00", "x")))
    assert [record.cents for record in found if isinstance(record, BadLine)] == [5000, -5000, None]


@pytest.mark.parametrize(
    "text",
    ["", "\n", HEADER, f"{HEADER}\n{LINE}", f"{LINE}\n#1,50.00", of(LINE, trailer="#1,50"), of(LINE, trailer="#01,50.00"),
     of(LINE, trailer="#1,-0,00"), HEADER.upper() + "\n#0,0.00", HEADER + ",more\n#0,0.00", of(LINE, trailer="#1,50.00,")],
)  # fmt: skip
def test_what_is_no_day_file(text: str) -> None:
    with pytest.raises(DayFileError):
        read(text)


def test_a_line_without_end_needs_no_memory() -> None:
    """Whatever length it has, it is passed over."""

    def chunks() -> Iterator[bytes]:
        yield f"{HEADER}\n".encode()
        yield from (b"x" * 65_536 for _ in range(200))
        yield f"\n{LINE}\n#2,50.00\n".encode()

    bad, good, trailer = read_day_file(chunks())
    assert isinstance(bad, BadLine) and isinstance(good, DayLine) and trailer == Trailer(2, 5000)
