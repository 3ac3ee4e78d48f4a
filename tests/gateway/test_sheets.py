"""Files of meters and accounts: the keys of the configuration, every error with line and column, and the way back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.settings import Account, Meter
from gateway.settings.sheets import BadSheet, Raw, check_rows, read_rows, write_csv, write_toml

METERS: list[Raw] = [
    {"id": "m1", "line": "bus", "address": "1", "profile": "dlt645-single", "account": "A-1", "max_power_w": 8000, "ct": "300/5"},
    {
        "line": "bus",
        "address": "2",
        "profile": "dds",
        "cut_with_account": False,
        "switch": {"line": "bus", "address": "9", "profile": "rly", "channel": 3},
    },
]
ACCOUNTS: list[Raw] = [
    {"id": "A-1", "currency": "CNY", "tariff": "flat", "holder": 'Li "Wei", 3,\n5', "kva": "31.5", "persons": 2},
    {"id": "A-2", "currency": "CNY", "tariff": "flat", "opening": "12.00", "policy": {"low": "5.00"}},
]


def meters(text: str, kind: str) -> list[Meter]:
    name = f"f.{kind}"
    return [each.table for each in check_rows(read_rows(text, kind, "meter", name), Meter, name, as_text=kind == "csv")]


@pytest.mark.parametrize("kind", ["csv", "toml"])
def test_what_is_written_is_read_again(kind: str) -> None:
    text = write_csv(METERS) if kind == "csv" else write_toml(METERS, "meter")
    assert meters(text, kind) == [Meter.model_validate(each) for each in METERS]
    text = write_csv(ACCOUNTS) if kind == "csv" else write_toml(ACCOUNTS, "account")
    rows = check_rows(read_rows(text, kind, "account", "f"), Account, "f", as_text=kind == "csv")
    assert [row.table for row in rows] == [Account.model_validate(each) for each in ACCOUNTS]


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40).filter(lambda text: text.strip() == text and text != ""))
def test_any_name_comes_back(holder: str) -> None:
    table: Raw = {"id": "A", "currency": "CNY", "tariff": "flat", "holder": holder}
    for kind, text in (("csv", write_csv([table])), ("toml", write_toml([table], "account"))):
        if kind == "csv" and ("\r" in holder or "\x00" in holder):
            continue  # no spreadsheet keeps them
        [row] = check_rows(read_rows(text, kind, "account", "f"), Account, "f", as_text=kind == "csv")
        assert row.table.holder == holder


def test_a_spreadsheet_s_own_ways_are_understood() -> None:
    text = "\ufeffid;line;address;profile;max_power_w;cut_with_account\r\nm1;bus;1;dlt645-single;8000;no\r\n;;;;;\r\n"
    assert meters(text, "csv") == [Meter.model_validate(METERS[0] | {"account": None, "ct": "1", "cut_with_account": False})]


@pytest.mark.parametrize(
    ("kind", "text", "errors"),
    [
        ("csv", "", ["f.csv:1:1: the first line names the columns, like id,line,address,profile"]),
        ("csv", "id,,id\n", ["f.csv:1:1: column id is there twice", "f.csv:1:2: a column has no name"]),
        ("csv", "switch,switch.line\n", ["f.csv:1:1: column switch is a table and a value"]),
        ("csv", "id,line\nm1,bus,3\n", ["f.csv:2:3: there are more cells than columns"]),
        ("csv", 'id,line\n"m1,bus\n', ["f.csv:2:1: is not CSV: unexpected end of data"]),
        (
            "csv",
            "id,line,address,profile,max_power_w,colour\nm1,bus,1,p,many,\nm 2,bus,x1,p,0,red\n",
            [
                "f.csv:2:5: max_power_w: Input should be a valid integer",
                "f.csv:3:3: address: String should match pattern '^([0-9]{1,12})$'",
                "f.csv:3:1: id: an id is 1 to 64 letters, digits, _ or -",
                "f.csv:3:5: max_power_w: Input should be greater than or equal to 1",
                "f.csv:3:6: colour: is not a known key",
            ],
        ),
        ("toml", "[[meter]]\nid = m1\n", ["f.toml:2:6: is not TOML: Invalid value"]),
        (
            "toml",
            'x = 1\n[[meter]]\nid = "m"\n',
            ["f.toml:1:1: x does not belong here: such a file has [[meter]] and nothing else"],
        ),
        ("toml", '[meter]\nid = "m"\n', ["f.toml:1:1: meter does not belong here: such a file has [[meter]] and nothing else"]),
        (
            "toml",
            '[[meter]]\nid = "a"\nline = "b"\naddress = "1"\nprofile = "p"\n\n[[meter]]\nid = "c"\n  address = 5\nprofile = "p"\n'
            '[meter.switch]\nline = "b"\nprofile = "p"\n  channel = 900\naddress = "3"\n',
            [
                "f.toml:7:1: line: is missing",
                "f.toml:9:3: address: Input should be a valid string",
                "f.toml:14:3: switch.channel: Input should be less than or equal to 255",
            ],
        ),
        ("xlsx", "", ["f.xlsx: is neither CSV nor TOML"]),
    ],
)
def test_every_error_is_named_where_it_is(kind: str, text: str, errors: list[str]) -> None:
    with pytest.raises(BadSheet) as bad:
        meters(text, kind)
    assert sorted(bad.value.errors) == sorted(errors)


def test_a_file_that_is_too_long_is_named() -> None:
    with pytest.raises(BadSheet, match="has 20001 rows; at most 20000"):
        read_rows("id\n" + "m\n" * 20_001, "csv", "meter", "f.csv")
