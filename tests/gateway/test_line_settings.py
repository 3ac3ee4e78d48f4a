"""Lines in the configuration: one sentence for each wrong combination, and what a good one means."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.adapters.clock import Clock
from gateway.adapters.lines.listen import ListenTransport
from gateway.bootstrap.examine import examine
from gateway.bootstrap.transports import transport_of
from tests.gateway.test_settings import errors, settings

HEAD = '[gateway]\nid = "g"\n'
FAR = '[[line]]\nid = "far"\nkind = "tcp-listen"\nlisten = "0.0.0.0:7700"\n'
OTHER = FAR.replace('"far"', '"other"')
SERIAL = '[[line]]\nid = "near"\nkind = "serial"\ndevice = "/dev/null"\n'


def test_a_line_that_is_dialled_into_takes_calls_from_nearby_and_waits_for_slow_networks(tmp_path: Path) -> None:
    (line,) = settings(tmp_path, HEAD + FAR).line
    assert line.added_ms() == 3000 and "10.0.0.0/8" in line.sources() and line.first_words() == b""
    transport = transport_of(line, Clock())
    assert isinstance(transport, ListenTransport) and (transport.host, transport.port) == ("0.0.0.0", 7700)


def test_what_is_written_reaches_the_transport(tmp_path: Path) -> None:
    more = 'registration_hex = "01 02"\nsource = "203.0.113.7"\n'
    more += 'heartbeat_hex = "FE"\nheartbeat_answer_hex = "4F4B"\nlatency_ms = 800\n'
    (line,) = settings(tmp_path, HEAD + FAR.replace("0.0.0.0", "[::]") + more).line
    transport = transport_of(line, Clock())
    assert isinstance(transport, ListenTransport) and transport.host == "::"
    caller = transport.caller
    assert (caller.registration, caller.heartbeat, caller.answer) == (b"\x01\x02", b"\xfe", b"OK")
    assert [str(network) for network in caller.sources] == ["203.0.113.7/32"] and line.added_ms() == 800


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (FAR.replace('listen = "0.0.0.0:7700"', ""), "line[0]: a tcp-listen line needs the port that its device dials"),
        (FAR.replace("7700", "0"), "line[0]: a tcp-listen line needs the port that its device dials"),
        (FAR.replace(":7700", ""), "line[0].listen: '0.0.0.0' is no address to listen on"),
        (FAR + 'host = "h"\nport = 1', "line[0]: a tcp-listen line has no host; a tcp-listen line has no port"),
        (SERIAL + 'registration = "x"\nallow = ["::1"]', "line[0]: a serial line has no registration; a serial line has no allow"),
        (FAR + "rs485 = {}", "line[0]: a tcp-listen line has no rs485"),
        (SERIAL + "rs485 = { delay_tx_ms = 500 }", "line[0].rs485.delay_tx_ms: Input should be less than or equal to 100"),
        (FAR + 'registration = "a"\nregistration_hex = "41"', "line[0]: write registration or registration_hex, not both"),
        (FAR + 'registration = ""', "line[0]: registration is 1 to 256 ASCII characters; write other bytes as registration_hex"),
        (FAR + 'registration = "č"', "line[0]: registration is 1 to 256 ASCII characters; write other bytes as registration_hex"),
        (FAR + 'registration_hex = "0x41"', "line[0].registration_hex: '0x41' is not 1 to 256 bytes in hex, like 48 42 0D"),
        (FAR + 'heartbeat_hex = ""', "line[0].heartbeat_hex: '' is not 1 to 256 bytes in hex, like 48 42 0D"),
        (FAR + 'heartbeat_answer_hex = "41"', "line[0]: heartbeat_answer_hex needs heartbeat_hex, which it answers"),
        (
            FAR + 'source = "10.1.2.3/8"',
            "line[0].source: '10.1.2.3/8' is no address or network; write one like 10.1.2.3 or 10.1.2.0/24",
        ),
        (FAR + 'source = "10.1.2.3"\nallow = ["10.2.0.0/16"]', "line[0]: source 10.1.2.3 is not within allow"),
        (FAR + "allow = []", "line[0].allow: List should have at least 1 item"),
        (FAR + OTHER, "line other: shares 0.0.0.0:7700 with line far; both need a registration, or a source each"),
        (FAR + 'registration = "A"\n' + OTHER, "line other: shares 0.0.0.0:7700 with line far; both need a registration"),
        (
            FAR + 'registration = "FAR-1"\n' + OTHER + 'registration = "FAR-12"\n',
            "line other: its registration and that of line far on the same port begin alike; one hides the other",
        ),
        (
            FAR + OTHER.replace("0.0.0.0", "127.0.0.1"),
            "line other: 127.0.0.1:7700 and 0.0.0.0:7700 of line far are one port; write them alike",
        ),
        (FAR.replace("7700", "8080"), "line far: 0.0.0.0:8080 is the port of http.listen"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (error,) = errors(tmp_path, HEAD + text)
    assert error.startswith(sentence)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ('registration = "FAR-1"', 'registration_hex = "46 41 52 2D 32"'),
        ('source = "10.1.0.0/16"', 'source = "10.2.0.1"'),
        ('source = "10.1.0.0/16"\nregistration = "A"', 'allow = ["10.2.0.0/16", "::1"]'),
    ],
)
def test_lines_that_can_be_told_apart_share_a_port(tmp_path: Path, one: str, two: str) -> None:
    assert len(settings(tmp_path, HEAD + FAR + one + "\n" + OTHER + two + "\n").line) == 2


@pytest.mark.parametrize(
    ("profile", "address", "beat", "wrong"),
    [
        ("eastron-sdm630", "1", "01", True),
        ("eastron-sdm630", "1", "01 03", True),
        ("eastron-sdm630", "1", "01 83", True),
        ("eastron-sdm630", "1", "01 7F", False),
        ("eastron-sdm630", "1", "FE", False),
        ("dlt645-single", "112233445566", "68", True),
        ("dlt645-single", "112233445566", "68 66 55 44", True),
        ("dlt645-single", "112233445566", "68 65 6C 6C 6F", False),
        ("dlt645-single", "112233445566", "FE", False),
    ],
)
def test_a_heartbeat_that_an_answer_could_begin_with_is_refused(
    tmp_path: Path, profile: str, address: str, beat: str, wrong: bool
) -> None:
    meter = f'[[meter]]\nline = "far"\naddress = "{address}"\nprofile = "{profile}"\n'
    report = examine(settings(tmp_path, HEAD + FAR + f'heartbeat_hex = "{beat}"\n' + meter), tmp_path)
    told = "an answer of it begins like the heartbeat of line far, which would be taken out of it"
    assert any(told in error for error in report.errors) is wrong
