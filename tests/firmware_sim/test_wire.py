"""Line timing against the table of what one RS-485 pair can carry, and what happens when two talk at once."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest

from firmware_sim.station import Reply
from firmware_sim.wire import MAX_PENDING_BYTES, Wire
from protocols.dlt645.master import Read
from protocols.modbus.master import ReadRegisters
from tests.firmware_sim.virtual import VirtualStreet, one_meter


@pytest.mark.parametrize(
    ("baud", "delay_ms", "read_ms"),
    [
        (1200, 100, 503),
        (2400, 20, 222),
        (2400, 100, 302),
        (2400, 500, 702),
        (9600, 20, 70),
        (9600, 50, 100),
        (9600, 500, 550),
        (115200, 20, 24),
    ],
)
def test_a_read_of_the_total_takes_its_line_time(baud, delay_ms, read_ms):
    street = VirtualStreet(one_meter(baud=baud, delay_ms=delay_ms))
    street.ask("a", Read("202611210001", "00010000"))
    assert abs(street.now_us - read_ms * 1000) < 1000


@pytest.mark.parametrize(("baud", "delay_ms"), [(2400, 100), (9600, 50)])
def test_a_modbus_read_of_20_registers_takes_its_53_bytes(baud, delay_ms):
    street = VirtualStreet(one_meter("sdm630", baud=baud, delay_ms=delay_ms))
    street.ask("a", ReadRegisters(1, 4, 0, 20))
    assert abs(street.now_us - delay_ms * 1000 - 53 * 11_000_000 // baud) < 100


def test_answers_come_in_pieces_at_the_pace_of_the_line():
    wire = Wire(lambda data, start, end: [Reply(100_000, bytes(range(24)))], 2400, Random(1), 0)
    wire.write(b"x" * 20, 0)
    moments, heard = [], b""
    while (next_us := wire.next_us) is not None:
        if piece := wire.poll(next_us):
            moments.append(next_us)
            heard += piece
    assert heard == bytes(range(24)) and len(moments) >= 8
    assert moments[-1] == 91_667 + 100_000 + 110_000
    assert all(later - earlier <= 10_000 for earlier, later in pairwise(moments))


def test_half_a_request_is_not_heard_and_nobody_answers_before_its_end():
    heard: list[tuple[bytes, int, int]] = []
    wire = Wire(lambda data, start, end: heard.append((data, start, end)) or [], 9600, Random(1), 0)
    wire.write(b"0123456789", 1000)
    wire.poll(1000 + wire.line_us(10) - 1)
    assert heard == []
    wire.poll(1000 + wire.line_us(10))
    assert heard == [(b"0123456789", 1000, 1000 + wire.line_us(10))]


def test_a_master_that_talks_into_an_answer_destroys_both():
    heard = []
    wire = Wire(
        lambda data, start, end: heard.append(data) or ([Reply(0, b"A" * 20)] if len(heard) == 1 else []), 1100, Random(1), 0
    )
    wire.write(b"question", 0)
    wire.poll(wire.line_us(8))
    wire.write(b"Q" * 8, wire.line_us(8) + wire.line_us(10))
    answer = wire.poll(10**9)
    assert answer[:10] == b"A" * 10 and b"A" * 3 not in answer[10:18] and answer[18:] == b"AA"
    assert heard[1] != b"Q" * 8 and wire.counters.collisions == 1


def test_two_meters_that_answer_one_question_destroy_each_other():
    wire = Wire(lambda data, start, end: [Reply(1000, b"A" * 20), Reply(1000, b"B" * 20)], 9600, Random(1), 0)
    wire.write(b"all of you", 0)
    heard = wire.poll(10**9)
    assert b"AAA" not in heard and b"BBB" not in heard and wire.counters.collisions == 1


def test_noise_hits_about_as_often_as_it_is_told_and_never_when_off():
    quiet, noisy = (Wire(lambda data, start, end: [Reply(0, b"\0" * 50)], 9600, Random(1), 0, noise) for noise in (0.0, 0.05))
    for wire in (quiet, noisy):
        for start in range(200):
            wire.write(b"\0" * 50, start * 10**6)
            wire.poll((start + 1) * 10**6)
    assert quiet.counters.noisy_bytes == 0
    assert 800 < noisy.counters.noisy_bytes < 1200  # of 20000 bytes


def test_utilisation_counts_both_directions():
    street = VirtualStreet(one_meter(baud=2400))
    street.ask("a", Read("202611210001", "00010000"))
    counters = street.wires["a"].counters
    assert (counters.rx_bytes, counters.tx_bytes, counters.answers) == (20, 24, 1)
    assert counters.busy_us == 91_667 + 110_000


def test_an_adapter_with_echo_hears_itself_first():
    table = one_meter()
    table["line"][0]["echo"] = True
    street = VirtualStreet(table)
    exchange = Read("202611210001", "00010000")
    answer = street.ask("a", exchange)
    assert answer.items[0].quantity == "energy_import" and exchange.skipped == 16  # the echo without its preamble


def test_more_than_the_buffer_holds_is_lost():
    wire = Wire(lambda data, start, end: [], 2400, Random(1), 0)
    wire.write(b"x" * (MAX_PENDING_BYTES + 10), 0)
    wire.write(b"y", 0)
    assert wire.counters.lost_bytes == 11
