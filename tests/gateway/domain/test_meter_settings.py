"""What reading back proves of limits that are written into meters: every state, and every way bytes may have moved."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.meter_settings import (
    FINAL,
    MOST_TRIES,
    MeterSettings,
    Parameter,
    WriteState,
    again,
    on_read,
    on_said,
    on_sent,
    on_unsent,
    wanting,
)

S = WriteState
TARGET = {"a": "01", "b": "02"}
FRESH = MeterSettings("m", (Parameter("a", 1), Parameter("b", 2)), {}, 5)


def states(settings: MeterSettings) -> list[WriteState]:
    return [each.state for each in settings.parameters]


def sent(tries: int = 1, said: str = "") -> MeterSettings:
    """The first of two is written, and both were read as 00 before."""
    return MeterSettings("m", (Parameter("a", 1, S.SENT, tries, said), Parameter("b", 2, S.READY)), {"a": "00", "b": "00"}, 5)


@pytest.mark.parametrize(
    ("seen", "after"),
    [
        ({"a": "00", "b": "00"}, [S.READY, S.READY]),
        ({"a": "01", "b": "00"}, [S.CONFIRMED, S.READY]),
        ({"a": "01", "b": "02"}, [S.CONFIRMED, S.CONFIRMED]),
        ({"a": "", "b": "02"}, [S.UNABLE, S.CONFIRMED]),
        ({"b": "02"}, [S.UNABLE, S.CONFIRMED]),
    ],
)
def test_a_first_look(seen: dict[str, str], after: list[WriteState]) -> None:
    found = on_read(FRESH, seen, TARGET, 9)
    assert (states(found), found.seen, found.changed_ms, found.meter) == (after, seen, 9, "m")
    assert states(on_read(found, seen, TARGET, 10)) == after


@pytest.mark.parametrize(
    ("said", "tries", "seen", "after"),
    [
        ("", 1, {"a": "01", "b": "00"}, S.CONFIRMED),
        ("no", 1, {"a": "01", "b": "00"}, S.CONFIRMED),
        ("", 1, {"a": "00", "b": "00"}, S.READY),
        ("", MOST_TRIES - 1, {"a": "00", "b": "00"}, S.READY),
        ("", MOST_TRIES, {"a": "00", "b": "00"}, S.REFUSED),
        ("no", 1, {"a": "00", "b": "00"}, S.REFUSED),
        ("", 1, {"a": "03", "b": "00"}, S.UNCERTAIN),
        ("no", 1, {"a": "03", "b": "00"}, S.UNCERTAIN),
        ("", 1, {"a": "", "b": "00"}, S.UNCERTAIN),
        ("", 1, {"a": "01", "b": "02"}, S.UNCERTAIN),
        ("", 1, {"a": "00", "b": "01"}, S.UNCERTAIN),
        ("no", 1, {"a": "01", "b": ""}, S.UNCERTAIN),
    ],
)
def test_what_was_written_is_judged_by_all_bytes(said: str, tries: int, seen: dict[str, str], after: WriteState) -> None:
    found = on_read(sent(tries, said), seen, TARGET, 9)
    assert found.parameters[0] == Parameter("a", 1, after, tries, said)
    assert found.quarantined is (after is S.UNCERTAIN)
    assert (found.current is None) is (after is S.UNCERTAIN)


@pytest.mark.parametrize("state", sorted(FINAL))
def test_what_is_settled_stays_so(state: WriteState) -> None:
    settled = MeterSettings("m", (Parameter("a", 1, state),), {"a": "00"})
    assert states(on_read(settled, {"a": "07"}, TARGET, 9)) == [state]
    assert settled.failed == (() if state is S.CONFIRMED else settled.parameters)
    assert settled.current is None


def test_a_write_on_its_way() -> None:
    ready = MeterSettings("m", (Parameter("a", 1, S.READY, 1, "no"), Parameter("b", 2, S.READY)), {"a": "00"}, 5)
    assert ready.current == ready.parameters[0]
    gone = on_sent(ready, "a", 9)
    assert gone == MeterSettings("m", (Parameter("a", 1, S.SENT, 2), Parameter("b", 2, S.READY)), {"a": "00"}, 9)
    assert on_unsent(gone, "a", 10) == replace(gone, parameters=(Parameter("a", 1, S.READY, 1), gone.parameters[1]), changed_ms=10)
    told = on_said(gone, "a", "no", 11)
    assert told == replace(gone, parameters=(Parameter("a", 1, S.SENT, 2, "no"), gone.parameters[1]), changed_ms=11)
    assert on_said(gone, "c", "no", 5) == replace(gone, changed_ms=5)


def test_the_first_that_is_not_settled_is_worked_on() -> None:
    two = MeterSettings("m", (Parameter("a", 1, S.REFUSED), Parameter("b", 2)))
    assert two.current == Parameter("b", 2)
    assert MeterSettings("m").current is None
    assert two.wanted == {"a": 1, "b": 2}


def test_what_is_wanted_anew_is_read_anew() -> None:
    assert wanting(None, "m", {"a": 1, "b": 2}, 5) == FRESH
    done = MeterSettings("m", (Parameter("a", 1, S.CONFIRMED),), {"a": "01"}, 5)
    assert wanting(done, "m", {"a": 1}, 9) is done
    assert wanting(done, "m", {"a": 2}, 9) == MeterSettings("m", (Parameter("a", 2),), {}, 9)
    bad = MeterSettings("m", (Parameter("a", 1, S.UNCERTAIN),), {"a": "03"}, 5)
    assert wanting(bad, "m", {"a": 2}, 9) is bad
    assert again(bad, 9) == MeterSettings("m", (Parameter("a", 1),), {}, 9)


def test_as_it_is_where_nothing_is_said() -> None:
    assert (Parameter("a", 1), MeterSettings("m")) == (Parameter("a", 1, S.WANTED, 0, ""), MeterSettings("m", (), {}, 0))
    assert frozenset({S.CONFIRMED, S.REFUSED, S.UNABLE, S.UNCERTAIN}) == FINAL
