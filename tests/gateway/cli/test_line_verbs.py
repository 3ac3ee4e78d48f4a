"""`wattgate read, scan, doctor, capture, replay, bench meter` as processes against simulated meters on real ptys and ports."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.adapters.lines import late
from gateway.cli import app
from gateway.settings import load
from tests.gateway.adapters.crypto_peer import crypto_peer
from tests.gateway.cli.street import ROOT, Ran, SimulatedLines, simulated, wattgate
from tests.ports import free_port

METER = "202611210001"
CONFIG = """
[gateway]
id = "G1"
passwords = "passwords.toml"
[http]
listen = "127.0.0.1:{http}"
[[line]]
id = "bus"
kind = "tcp"
host = "{host}"
port = {port}
baud = 9600
[[line]]
id = "net"
kind = "modbus-tcp"
host = "{net_host}"
port = {net_port}
[[meter]]
id = "m1"
line = "bus"
address = "202611210001"
profile = "dlt645-single"
[[meter]]
id = "shop"
line = "net"
address = "1"
profile = "eastron-sdm630"
"""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedLines]:
    folder = tmp_path_factory.mktemp("lines")
    with simulated(folder) as lines:
        host, port = lines.tcp.removeprefix("tcp:").split(":")
        net_host, net_port = lines.net.removeprefix("modbus-tcp:").split(":")
        where = {"http": free_port(), "host": host, "port": port, "net_host": net_host, "net_port": net_port}
        (folder / "gateway.toml").write_text(CONFIG.format(**where))
        (folder / "passwords.toml").write_text('[control]\npassword = "123456"\nlevel = 2\n')
        (folder / "passwords.toml").chmod(0o600)
        yield lines


Here = Callable[..., Ran]


@pytest.fixture
def here(street: SimulatedLines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Run a verb in this process, which is quicker where it is about its words alone."""
    monkeypatch.chdir(street.folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(street.folder / "state"))

    def run(*words: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["wattgate", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            app.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


def test_read_by_line_and_address(street: SimulatedLines) -> None:
    ran = street.wattgate("read", "--line", street.tcp, "--baud", 9600, "--address", METER, "energy_import", "02010100", "clock")
    assert (ran.code, ran.err) == (0, ""), ran
    rows = [line.split("  ") for line in ran.out.splitlines()]
    assert rows[0][:2] == ["00010000", "energy_import"] and rows[0][2].startswith("42.") and rows[0][2].endswith(" kWh")
    assert rows[1][1] == "voltage_a" and [row[0] for row in rows[2:]] == ["04000101", "04000102"]


def test_read_on_a_pseudo_terminal_as_json(street: SimulatedLines) -> None:
    ran = street.wattgate("read", "--line", street.pty, "--address", "202611210002", "voltage_a", "--json")
    assert ran.code == 0 and set(json.loads(ran.out)) == {"item", "quantity", "value", "unit"}


def test_read_a_configured_meter_by_its_name(street: SimulatedLines, here: Here) -> None:
    ran = street.wattgate("read", "m1", "-c", "gateway.toml")
    assert ran.code == 0 and "energy_import  42." in ran.out and "energy_import_t1" in ran.out
    ran = here("read", "shop", "voltage_a", "-c", "gateway.toml")
    assert ran.code == 0 and "voltage_a" in ran.out and " V" in ran.out
    profile = ("--profile", "hiking-dds238-zn-sr")
    ran = here("read", "--line", street.rtu, "--baud", 9600, "--address", 3, *profile, "voltage_a")
    assert ran.code == 0 and "voltage_a" in ran.out


def test_what_a_meter_refuses_is_said_and_the_rest_is_read(
    street: SimulatedLines, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = here("read", "--line", street.tcp, "--address", METER, "FFFFFFFF", "energy_import")
    assert "energy_import" in ran.out
    ran.refused("FFFFFFFF", "no requested data")
    monkeypatch.setattr(late, "LATEST_MS", 1000)  # nobody is there to answer later
    here("read", "--line", street.tcp, "--address", "7", "energy_import").refused("energy_import: no answer")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["read"], "name a meter"),
        (["read", "m1"], "add -c FILE"),
        (["read", "m9", "-c", "gateway.toml"], "no meter 'm9'"),
        (["read", "--line", "bus", "--address", "1"], "'bus' is no line"),
        (["read", "--line", "tcp:x", "--address", "1"], "no TCP port"),
        (["read", "--line", "tcp:127.0.0.1:1", "--address", "12a"], "1 to 12 digits"),
        (["read", "--line", "tcp:127.0.0.1:1", "--address", "1", "volts"], "neither an identifier"),
        (["read", "--line", "tcp:127.0.0.1:1", "--address", "1", "00012"], "5 hex digits"),
        (["read", "--address", "1"], "name a line"),
        (["read", "--line", "tcp:127.0.0.1:1", "--address", "1", "--profile", "nobody"], "no meter profile"),
        (["read", "--line", "bus9", "--address", "1", "-c", "gateway.toml"], "no line 'bus9'; it has bus, net"),
        (["scan", "nowhere"], "'nowhere' is no line"),
        (["scan", "tcp:127.0.0.1:1", "--modbus", "--units", "0-9"], "no Modbus units"),
        (["scan", "modbus-tcp:127.0.0.1:1"], "--modbus"),
        (["doctor", "tcp:127.0.0.1:1", "--address", "1234567890123"], "1 to 12 digits"),
        (["capture", "--line", "tcp:127.0.0.1:1", "-o", "gateway.toml"], "is there already"),
        (["capture", "--line", "tcp:127.0.0.1:1", "-o", "x", "--di", "00010000"], "add --address"),
        (["capture", "--line", "tcp:127.0.0.1:1", "-o", "x", "--address", "1", "--di", "what"], "neither an identifier"),
        (["replay", "gateway.toml"], "no recording"),
        (["bench", "meter", "tcp:127.0.0.1:1", "abc"], "1 to 12 digits"),
        (["bench", "meter", "tcp:127.0.0.1:1", "1", "--only", "nothing"], "no case 'nothing'"),
        (["bench", "meter", "tcp:127.0.0.1:1", "1", "--operator", "12"], "--operator takes 8 digits"),
        (["bench", "meter", "tcp:127.0.0.1:1", "1", "-c", "gateway.toml", "--password-class", "x"], "no class x"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_sentence(here: Here, words: list[str], said: str) -> None:
    ran = here(*words)
    ran.refused(said, code=2)
    assert len(ran.err.splitlines()) == 1 and not Path("x").exists()


@pytest.mark.parametrize("verb", [["read", "--address", "1", "--line"], ["scan"], ["doctor"], ["capture", "-o", "y", "--line"]])
def test_a_line_that_is_not_there_is_one_sentence(here: Here, verb: list[str]) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        where = f"tcp:127.0.0.1:{held.getsockname()[1]}"
        here(*verb, where).refused("Nothing listens")
    Path("y").unlink(missing_ok=True)
    here(*verb, "/dev/ttyNONE").refused("/dev/ttyNONE does not exist")
    Path("y").unlink(missing_ok=True)


def test_where_a_gateway_has_the_line_one_sentence_says_so(street: SimulatedLines, here: Here) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys; from pathlib import Path; from gateway.adapters.store import lock\n"
         "with lock(Path('data')): print('held', flush=True); sys.stdin.read()"],
        cwd=street.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        address = load(street.folder / "gateway.toml").http.listen
        for verb in (["read", "m1"], ["scan", "bus"], ["doctor", "bus"]):
            here(*verb, "-c", "gateway.toml").refused(f"process {holder.pid}", f"no gateway answers at http://{address}")
        for verb in (["bench", "meter", "bus", METER], ["capture", "--line", "bus", "-o", "y"]):
            here(*verb, "-c", "gateway.toml").refused("a gateway has this line", f"process {holder.pid}")
        assert here("read", "--line", street.tcp, "--address", METER).code == 0, "without its configuration"
    finally:
        holder.communicate("")
    assert here("read", "m1", "-c", "gateway.toml").code == 0


def test_a_port_that_another_program_has_is_one_sentence(street: SimulatedLines, here: Here) -> None:
    import serial

    with contextlib.closing(serial.Serial(street.pty, exclusive=True)):
        here("doctor", street.pty).refused("in use by another program")


@pytest.mark.system
def test_scan_finds_colliding_meters(street: SimulatedLines) -> None:
    ran = street.wattgate("scan", street.pty, "--dialect", "2007", "--patience", 150, "--json")
    assert ran.code == 0, ran
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert [(row["address"], row["protocol"], row["confirmed"]) for row in found] == [
        ("202611210001", "dlt645-2007", True), ("202611210002", "dlt645-2007", True),
    ]  # fmt: skip


def test_scan_finds_modbus_units_and_says_when_nobody_is_there(street: SimulatedLines, here: Here) -> None:
    ran = here("scan", street.rtu, "--baud", 9600, "--modbus", "--units", "2-3")
    assert ran.code == 0 and ran.out.startswith("unit 3  modbus"), ran
    ran = here("scan", "net", "--modbus", "--units", "1", "-c", "gateway.toml")
    assert ran.code == 0 and ran.out.startswith("unit 1  modbus"), ran
    here("scan", street.rtu, "--baud", 9600, "--patience", 100).refused("nobody was found", "wattgate doctor")


def test_doctor_says_what_is_wrong(street: SimulatedLines) -> None:
    ran = street.wattgate("doctor", street.tcp, "--baud", 9600)
    assert ran.code == 0 and METER in ran.out and "nothing is wrong" in ran.out
    ran = street.wattgate("doctor", street.tcp, "--baud", 9600, "--address", METER, "--json")
    assert ran.code == 0 and json.loads(ran.out)["finding"] == "good"


def test_what_is_captured_can_be_replayed_compared_and_served(street: SimulatedLines) -> None:
    ran = street.wattgate(
        "capture", "--line", street.tcp, "--baud", 9600, "--for", 1, "-o", "bus.jsonl",
        "--address", METER, "--di", "energy_import", "--di", "02010100", "--every", "0.2",
    )  # fmt: skip
    assert ran.code == 0 and "reads answered, 0 not" in ran.out, ran
    ran = street.wattgate("replay", "bus.jsonl", "--save", "bus.expected")
    assert ran.code == 0 and "0 bytes outside" in ran.err
    assert "as expected" in street.wattgate("replay", "bus.jsonl", "--expect", "bus.expected").out
    lines = (street.folder / "bus.expected").read_text().splitlines()
    answered = next(json.loads(line) for line in lines if '"outcome": "answered"' in line)
    assert answered["values"]["energy_import"].startswith("42.") and answered["took_us"] > 20_000
    (street.folder / "bus.expected").write_text("\n".join(lines).replace("42.", "43.") + "\n")
    street.wattgate("replay", "bus.jsonl", "--expect", "bus.expected").refused("differs")
    for where in ("tcp:127.0.0.1:0", "replayed"):
        _serve(street, where)


def _serve(street: SimulatedLines, where: str) -> None:
    server = subprocess.Popen(
        [sys.executable, "-m", "gateway", "replay", "bus.jsonl", "--serve", where],
        cwd=street.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        place = server.stdout.readline().strip()
        line = place if place.startswith("tcp:") else str(street.folder / place)
        ran = street.wattgate("read", "--line", line, "--address", METER, "energy_import")
        assert ran.code == 0 and "energy_import  42." in ran.out, ran
    finally:
        server.send_signal(2)
        _, said = server.communicate(timeout=100)
    assert "questions heard" in said and "Traceback" not in said, said


def test_capture_only_listens_unless_told(street: SimulatedLines) -> None:
    ran = street.wattgate("capture", "--line", street.pty, "--for", 0.5, "-o", "quiet.jsonl")
    assert ran.code == 0 and ran.out == "quiet.jsonl: 0 bytes in 0 pieces\n", ran
    assert len((street.folder / "quiet.jsonl").read_text().splitlines()) == 1


def test_bench_writes_a_report_and_never_over_one(street: SimulatedLines, proof_scale: int) -> None:
    words = ["bench", "meter", street.tcp, METER, "--baud", 9600, "--report", "rep", "--by", "Li Wei", "--note", "first"]
    only = [word for name in ("link.read", "link.checksum", "time.td", "control.cut") for word in ("--only", name)]
    ran = street.wattgate(*words, *only, "--passwords", "passwords.toml")
    assert ran.code == 0, ran
    assert "4 passed, 0 failed, 0 not run" in ran.err
    found = json.loads((street.folder / "rep" / "report.json").read_text())
    assert found["who"]["by"] == "Li Wei" and found["meter"]["address"] == METER and found["uncertainty"]["bound_ms"] > 0
    td = next(case for case in found["cases"] if case["id"] == "time.td")
    low, high = (next(f["value"] for f in td["figures"] if f["name"] == f"Td {name}") for name in ("least", "most"))
    slack = td["figures"][0]["uncertainty"] + 5
    assert 20 - slack <= low <= high and (proof_scale == 1 or high <= 60 + slack), td
    page = (street.folder / "rep" / "report.html").read_text()
    assert "Li Wei" in page and "Signature" in page and "Td most" in page
    street.wattgate(*words, *only).refused("holds a report already", code=2)
    street.wattgate("bench", "meter", street.tcp, "9", "--only", "link.read").refused("failed link.read")


def test_passwords_that_others_may_read_are_not_used(street: SimulatedLines, tmp_path: Path) -> None:
    (tmp_path / "open.toml").write_text('[control]\npassword = "123456"\n')
    (tmp_path / "open.toml").chmod(0o644)
    ran = wattgate(tmp_path, "bench", "meter", street.tcp, METER, "--passwords", "open.toml", "--only", "control.cut")
    ran.refused("chmod 600")


def test_the_bench_takes_its_macs_from_a_crypto_service(street: SimulatedLines, here: Here) -> None:
    wallet = ("bench", "meter", street.pty, "202611210002", "--wallet", "--only", "wallet.next")
    here(*wallet, "--crypto", "http://crypto.example/").refused("no URL of a service to trust", code=2)
    here(*wallet, "--crypto", "http://127.0.0.1:1/").refused("crypto service at http://127.0.0.1:1 cannot be asked")
    with crypto_peer() as peer:
        ran = here(*wallet, "--crypto", peer.url, "--report", "with-service")
        assert ran.code == 0 and "wallet.next" in ran.out and "the repetition was refused" in ran.out, ran
        assert {path for path, _ in peer.asked} == {"/crypto", "/crypto/identify", "/crypto/mac"}
        told = [line for line in ran.err.splitlines() if "crypto_asked" in line]
        assert told and all("TEST security module" in line and peer.url in line for line in told)
        report = json.loads((street.folder / "with-service" / "report.json").read_text())
        assert report["security_module"].startswith("TEST security module")
        peer.answer = lambda path, body: (503, b'{"detail": "the module is being serviced"}') if body else peer.right(path, body)
        ran = here(*wallet, "--crypto", peer.url)
    assert ran.code == 1 and "not run" in ran.out and "the module is being serviced" in ran.out, ran
