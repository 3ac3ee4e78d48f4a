"""Topics: what is built is parsed back, and nothing else is taken for ours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.errors import RequestError
from protocols.uplink.topics import NATIVE, Down, DownTopic, StatusTopic, Topics, Up, UpTopic

IDS = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
BAD_IDS = ("", "a b", "a/b", "+", "#", "a" * 65, "meter\n", "ä", "１", "a\x00", "..", "$SYS")


@given(IDS, st.sampled_from(Up), IDS)
def test_up_comes_back(gateway: str, kind: Up, subject: str) -> None:
    there = "" if kind is Up.ANCHOR else subject
    assert NATIVE.parse(NATIVE.up(gateway, kind, subject)) == UpTopic(gateway, kind, there)


@given(IDS, st.sampled_from(Down))
def test_down_comes_back(gateway: str, kind: Down) -> None:
    topics = Topics("utility/east")
    assert topics.parse(topics.down(gateway, kind)) == DownTopic(gateway, kind)
    assert topics.parse(topics.status(gateway)) == StatusTopic(gateway)
    assert NATIVE.parse(topics.status(gateway)) is None


def test_they_stand_where_the_contract_says() -> None:
    assert NATIVE.up("G1", Up.READING, "M-7") == "wattgate/v1/G1/up/reading/M-7"
    assert NATIVE.up("G1", Up.RESULT, "c-1") == "wattgate/v1/G1/up/result/c-1"
    assert [NATIVE.down("G1", kind) for kind in Down] == [f"wattgate/v1/G1/down/{k}" for k in ("command", "ack", "resend")]
    assert (NATIVE.status("G1"), NATIVE.all_up(), NATIVE.all_down("G1")) == (
        "wattgate/v1/G1/status",
        "wattgate/v1/+/up/#",
        "wattgate/v1/G1/down/#",
    )


@pytest.mark.parametrize("bad", BAD_IDS)
def test_no_topic_is_built_of_it(bad: str) -> None:
    for build in (lambda: NATIVE.up(bad, Up.EVENT, "M"), lambda: NATIVE.up("G", Up.EVENT, bad), lambda: NATIVE.status(bad)):
        with pytest.raises(RequestError, match="ids are 1 to 64"):
            build()


@pytest.mark.parametrize("root", ("", "/a", "a/", "a//b", "a b", "a/+", "#", "/".join("a" * 9)))
def test_no_root(root: str) -> None:
    with pytest.raises(RequestError, match="no root of topics"):
        Topics(root)


@pytest.mark.parametrize(
    "topic",
    (
        "",
        "wattgate/v1",
        "wattgate/v1/G1",
        "wattgate/v2/G1/status",
        "wattgate/v1/G1/status/x",
        "wattgate/v1/G1/up/reading",
        "wattgate/v1/G1/up/reading/M/x",
        "wattgate/v1/G1/up/other/M",
        "wattgate/v1/G1/down/command/x",
        "wattgate/v1/G1/down/other",
        "wattgate/v1/G 1/down/ack",
        "wattgate/v1//down/ack",
    ),
)
def test_none_of_ours(topic: str) -> None:
    assert NATIVE.parse(topic) is None


@given(st.text())
def test_any_text_is_parsed_without_failing(text: str) -> None:
    NATIVE.parse(text)
    NATIVE.parse(f"wattgate/v1/{text}")
