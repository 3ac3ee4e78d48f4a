"""What is stored and what is acknowledged: gaps, repeats, dropped numbers, epochs, strange messages; against a plain model."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as counting
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.central import ingest, report, schema
from gateway.central.arrivals import Arrival
from gateway.central.ingest import Saved, give_up, missing, save
from gateway.central.store import CentralStore
from gateway.central.streams import Asker
from protocols.uplink.messages import Ack
from tests.gateway.central.arriving import NOW_MS, arrival
from tests.gateway.central.conftest import count, rows

Span = tuple[int, int]


def dropped(seq: int, *ranges: Span, gateway: str = "G1", low: int = 1) -> Arrival:
    return arrival(seq, gateway=gateway, low=low, kind_="dropped", ranges=ranges)


def findings(store: CentralStore) -> list[tuple[object, object]]:
    return [(row["kind"], row["subject"]) for row in rows(store, schema.finding)]


def test_acks_come_from_what_is_stored_whoever_stored_it(store: CentralStore) -> None:
    assert save(store, [arrival(1), arrival(2)]).acks == {"G1": Ack(epoch="e1", upto=2)}
    other = CentralStore(store._database)  # another instance on the same store
    assert save(other, [arrival(4)]).acks == {"G1": Ack(epoch="e1", upto=2, also=((4, 4),))}
    assert save(store, [arrival(3), arrival(3)]).acks == {"G1": Ack(epoch="e1", upto=4)}
    assert save(other, [arrival(1)]) == Saved(0, {"G1": Ack(epoch="e1", upto=4)}, 0)


def test_each_gateway_for_itself(store: CentralStore) -> None:
    acks = save(store, [arrival(1), arrival(2, gateway="G2"), arrival(1, gateway="G3", epoch="old")]).acks
    assert acks == {"G1": Ack(epoch="e1", upto=1), "G2": Ack(epoch="e1", upto=0, also=((2, 2),)), "G3": Ack(epoch="old", upto=1)}


def test_pain_29_dropped_numbers_count_as_received(store: CentralStore) -> None:
    saved = save(store, [arrival(1), dropped(9, (2, 3), (5, 6)), arrival(4)])
    assert saved.acks == {"G1": Ack(epoch="e1", upto=6, also=((9, 9),))}
    assert [(r["first"], r["last"], r["why"]) for r in rows(store, schema.dropped)] == [(2, 3, "policy"), (5, 6, "policy")]
    assert [(gap.first, gap.last, gap.why) for gap in store.read(lambda c: list(report.gaps(c)))] == [
        (7, 8, "on its way"),
        (2, 3, "dropped"),
        (5, 6, "dropped"),
    ]


def test_a_dropped_number_that_arrives_all_the_same_is_stored_once(store: CentralStore) -> None:
    save(store, [arrival(1), dropped(3, (2, 2))])
    assert [save(store, [arrival(2)]).new for _ in range(2)] == [1, 0]
    assert count(store, schema.message) == 3


def test_dropped_numbers_far_away_wait_until_something_reaches_them(store: CentralStore) -> None:
    """A policy that thins out leaves every fourth number: as ranges of their own they would be more than a row holds."""
    gone = [(n, n + 2) for n in range(2, 400, 4)]
    save(store, [dropped(401, *gone)])
    assert rows(store, schema.stream)[0]["accounted"] == "[[398,401]]"
    for n in range(1, 398, 4):
        last = save(store, [arrival(n)])
    assert last.acks == {"G1": Ack(epoch="e1", upto=401)}


def test_dropped_numbers_beside_others_that_are_dropped_later_do_not_stay_a_hole(store: CentralStore) -> None:
    """Thinning goes through a month several times: what one event names lies between what the next one names."""
    save(store, [arrival(1), arrival(8)])
    save(store, [dropped(9, (4, 5))])
    assert save(store, [dropped(10, (2, 3), (6, 7))]).acks == {"G1": Ack(epoch="e1", upto=10)}


@pytest.mark.parametrize("ranges", (None, [[3, 2]], [[0, 1]], [[5, 9]], [["1", 2]], [[1, True]], [[1]], "1-2", [[1, 1]] * 1001))
def test_an_event_that_does_not_say_what_was_dropped_is_a_finding(store: CentralStore, ranges: object) -> None:
    saved = save(store, [arrival(9, kind_="dropped", ranges=ranges)])
    assert saved.acks == {"G1": Ack(epoch="e1", upto=0, also=((9, 9),))}
    assert findings(store) == [("dropped_unclear", "e1:9")]


def test_a_late_message_of_an_old_epoch_is_stored_but_not_acknowledged(store: CentralStore) -> None:
    save(store, [arrival(1), arrival(2)])
    save(store, [arrival(1, epoch="e2")])
    saved = save(store, [arrival(5, epoch="e1"), arrival(2, epoch="e2")])
    assert saved == Saved(2, {"G1": Ack(epoch="e2", upto=2)}, 0)
    assert list(store.read(missing)) == []  # what the old one misses nobody can send any more
    assert [gap.why for gap in store.read(lambda c: list(report.gaps(c)))] == ["old epoch"]


def test_a_restored_gateway_is_not_asked_for_what_was_delivered_before(store: CentralStore) -> None:
    save(store, [arrival(n) for n in range(1, 8)])
    saved = save(store, [arrival(5, epoch="e2", low=5), arrival(6, epoch="e2", low=5)])
    assert saved.acks == {"G1": Ack(epoch="e2", upto=6)}
    assert store.read(missing) == {} and list(store.read(lambda c: list(report.gaps(c)))) == []


def test_what_is_asked_for_in_vain_is_given_up_and_told(store: CentralStore) -> None:
    save(store, [arrival(1), arrival(8, low=6)])
    asker, asked = Asker(), []
    for minute in range(6):
        asked += [resend.ranges for _, resend in asker.requests(store.read(missing), 60.0 * minute)]
        give_up(store, asker.lost(), NOW_MS)
    assert asked == [((2, 5),), ((2, 5), (6, 7)), ((2, 5), (6, 7)), ((6, 7),), ((6, 7),), ((6, 7),)]
    assert findings(store) == [("numbers_lost", "e1:2-5")]
    assert save(store, [arrival(6, low=6), arrival(7, low=6)]).acks == {"G1": Ack(epoch="e1", upto=8)}
    assert save(store, [arrival(3, low=6)]).new == 1  # it comes after all


def test_a_hostile_stream_of_holes_is_bounded(store: CentralStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.central.streams.MOST_RANGES", 5)
    saved = save(store, [arrival(n) for n in range(2, 40, 2)])
    assert (saved.new, saved.left) == (5, 14)
    assert saved.acks["G1"].also == ((2, 2), (4, 4), (6, 6), (8, 8), (10, 10))
    assert save(store, [arrival(n) for n in (1, 3, 5, 12)]).left == 0


def test_a_large_batch(store: CentralStore) -> None:
    saved = save(store, [arrival(n % 700 + 1, gateway=f"G{n // 700}") for n in range(2100)])
    assert saved.new == 2100 and {ack.upto for ack in saved.acks.values()} == {700}


@pytest.fixture(scope="module")
def model_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CentralStore]:
    store = CentralStore.open(str(Path(tmp_path_factory.mktemp("model")) / "central.db"))
    yield store
    store.close()


NAMES = counting()
NUMBER = st.integers(1, 30)
MESSAGE = st.tuples(NUMBER, st.lists(st.tuples(NUMBER, st.integers(0, 4)), max_size=3))
BATCHES = st.lists(st.lists(MESSAGE, min_size=1, max_size=6), min_size=1, max_size=8)


def of(batch: list[tuple[int, list[Span]]], gateway: str) -> list[Arrival]:
    """A message with ranges is one that says what was dropped below it."""
    made = []
    for seq, begun in batch:
        ranges = [(first, min(first + more, seq - 1)) for first, more in begun if first < seq]
        made.append(dropped(seq, *ranges, gateway=gateway) if ranges else arrival(seq, gateway=gateway))
    return made


@settings(max_examples=60, deadline=None)
@given(BATCHES)
def test_whatever_comes_in_whatever_order_is_stored_once_and_acknowledged_rightly(
    model_store: CentralStore, batches: list[list[tuple[int, list[Span]]]]
) -> None:
    gateway = f"G{next(NAMES)}"
    here: set[int] = set()
    gone: set[int] = set()
    for batch in batches:
        arrivals = of(batch, gateway)
        first = {a.envelope.seq: a for a in reversed(arrivals)}
        new = first.keys() - here
        saved = save(model_store, arrivals)
        gone |= {n for seq in new for n in dropped_by(first[seq])}
        here |= new
        assert saved.new == len(new)
        ack = saved.acks[gateway]
        told = set(range(1, ack.upto + 1)) | {n for a, b in ack.also for n in range(a, b + 1)}
        assert here <= told <= here | gone
    last = save(model_store, [arrival(n, gateway=gateway) for n in range(1, 32)])
    assert last.acks == {gateway: Ack(epoch="e1", upto=31)} and last.new == 31 - len(here)


def dropped_by(a: Arrival) -> set[int]:
    spans = ingest._spans(getattr(a.content, "data", {}).get("ranges"), a.envelope.seq) or []
    return {n for first, last in spans for n in range(first, last + 1)}
