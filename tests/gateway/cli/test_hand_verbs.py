"""The verbs of one line, meter or account by hand: as guests of a running gateway, and as the one act where none runs."""

from __future__ import annotations

import asyncio
import threading
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
import structlog

from gateway.adapters.store import lock
from gateway.bootstrap.process import Gateway
from gateway.cli import app, supply
from gateway.settings import Settings, load
from tests.gateway.cli.street import Ran, SimulatedLines, simulated
from tests.system.processes import free_port

METER = "202611210001"
CONFIG = """
[gateway]
id = "G1"
data = "{data}"
passwords = "passwords.toml"
[http]
listen = "127.0.0.1:{port}"
[clock]
source = "vouched"
[[scheme]]
billing_s = 60
[[tariff]]
id = "flat"
currency = "CNY"
kind = "flat"
price = "0.5"
[[account]]
id = "A-1"
currency = "CNY"
tariff = "flat"
agreement = "yes"
opening = "100.00"
[account.policy]
reconnect = "close"
[[line]]
id = "bus"
kind = "tcp"
host = "{bus[0]}"
port = {bus[1]}
baud = 9600
[[line]]
id = "rtu"
kind = "tcp"
host = "{rtu[0]}"
port = {rtu[1]}
baud = 9600
[[line]]
id = "net"
kind = "modbus-tcp"
host = "{net[0]}"
port = {net[1]}
[[meter]]
id = "m1"
line = "bus"
address = "202611210001"
profile = "dlt645-single"
account = "A-1"
[[meter]]
id = "shop"
line = "net"
address = "1"
profile = "eastron-sdm630"
"""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedLines]:
    folder = tmp_path_factory.mktemp("hand")
    with simulated(folder) as lines:
        where = {name: place.split(":")[1:] for name, place in (("bus", lines.tcp), ("rtu", lines.rtu), ("net", lines.net))}
        for file, data in (("runs.toml", "running"), ("rests.toml", "resting")):
            (folder / file).write_text(CONFIG.format(data=data, port=free_port(), **where))
        (folder / "passwords.toml").write_text('[control]\npassword = "123456"\nlevel = 2\n')
        (folder / "passwords.toml").chmod(0o600)
        yield lines


Here = Callable[..., Ran]


@pytest.fixture
def here(street: SimulatedLines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    monkeypatch.chdir(street.folder)

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

    yield run
    structlog.reset_defaults()


# Beside a running gateway


@pytest.fixture(scope="module")
def running(street: SimulatedLines) -> Iterator[Settings]:
    """A gateway on the street, in a thread of its own."""
    settings = load(street.folder / "runs.toml")
    begun, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        gateway = Gateway(settings, street.folder, street.folder / "runs.toml")
        begun.set()
        await gateway.run(stop)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert begun.wait(60)
    with httpx2.Client(base_url=f"http://{settings.http.listen}", trust_env=False, timeout=60) as http:
        assert http.get("/healthz").status_code in (200, 503)
    yield settings
    loop.call_soon_threadsafe(stop.set)
    thread.join(10)
    loop.close()
    assert not thread.is_alive()


@pytest.fixture
def token(running: Settings, street: SimulatedLines, monkeypatch: pytest.MonkeyPatch) -> str:
    text = (street.folder / "running" / "operator.token").read_text().strip()
    monkeypatch.setenv("WATTGATE_TOKEN", text)
    return text


def test_a_meter_is_read_as_a_guest(running: Settings, here: Here) -> None:
    ran = here("read", "m1", "energy_import", "clock", "-c", "runs.toml")
    assert (ran.code, ran.err) == (0, ""), ran
    rows = [line.split("  ") for line in ran.out.splitlines()]
    assert rows[0][1] == "energy_import" and rows[0][2].startswith("42.") and len(rows) == 3
    ran = here("read", "shop", "voltage_a", "-c", "runs.toml")
    assert ran.code == 0 and "voltage_a" in ran.out, "Modbus TCP"
    profile = ("--profile", "hiking-dds238-zn-sr")
    ran = here("read", "--line", "rtu", "--address", 3, *profile, "voltage_a", "-c", "runs.toml")
    assert ran.code == 0 and "voltage_a" in ran.out, "Modbus RTU"
    here("read", "--line", "bus", "--address", METER, "FFFFFFFF", "-c", "runs.toml").refused("no requested data")


def test_a_gateway_elsewhere_is_named_by_its_url(running: Settings, here: Here, token: str) -> None:
    url = ("--url", f"http://{running.http.listen}")
    ran = here("read", "m1", "energy_import", *url)
    assert ran.code == 0 and "  42." in ran.out, ran
    here("read", "shop", *url).refused("--profile NAME", code=2)
    here("read", "m9", *url).refused("m9 is not known")
    here("read", "--line", "bus9", "--address", 1, *url).refused("bus9 is not known")
    here("read", "--address", 1, *url).refused("--line LINE", code=2)
    here("scan", "bus", "-c", "runs.toml", *url).refused("either", code=2)
    here("read", "m1", "--url", f"http://127.0.0.1:{free_port()}").refused("no gateway answers at")


def test_a_stranger_is_not_let_in(running: Settings, here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTGATE_TOKEN", "not-the-token-at-all")
    here("read", "m1", "-c", "runs.toml").refused("not the operator's token")


def test_a_line_is_searched_as_a_guest(running: Settings, here: Here) -> None:
    ran = here("scan", "bus", "--dialect", "2007", "-c", "runs.toml")
    assert ran.code == 0, ran
    address, protocol, setting, delay = ran.out.strip().split("  ")
    assert (address, protocol, setting) == (METER, "dlt645-2007", "speed not ours to tell")
    assert 15 <= int(delay.removeprefix("answers after ").removesuffix(" ms")) <= 100, "as the gateway saw it, without its queue"
    ran = here("scan", "net", "--modbus", "--units", "1-2", "-c", "runs.toml")
    assert ran.code == 0 and ran.out.startswith("unit 1  modbus  through the running gateway"), ran
    ran = here("scan", "rtu", "--modbus", "--units", "3", "-c", "runs.toml")
    assert ran.code == 0 and ran.out.startswith("unit 3  modbus"), ran


def test_a_line_is_examined_as_a_guest_at_its_own_setting(running: Settings, here: Here, street: SimulatedLines) -> None:
    ran = here("doctor", "bus", "--address", METER, "-c", "runs.toml")
    assert ran.code == 0 and "through the running gateway" in ran.out and "nothing is wrong" in ran.out, ran
    ran = here("doctor", "bus", "-c", "runs.toml")
    assert ran.code == 0 and "nothing is wrong" in ran.out, "waiting for all meters is not a late answer"
    here("doctor", "bus", "--baud", 2400, "-c", "runs.toml").refused("cannot be chosen", code=2)
    here("scan", street.pty, "-c", "runs.toml").refused("name one of its lines (bus, rtu, net), or leave -c out", code=2)


def test_what_needs_the_line_alone_says_so(running: Settings, here: Here) -> None:
    for verb in (["bench", "meter", "bus", METER], ["capture", "--line", "bus", "-o", "y"]):
        here(*verb, "-c", "runs.toml").refused("a gateway has this line", "stop it for this act")


@pytest.mark.parametrize(
    ("line", "body", "status", "said"),
    [
        ("bus", {"hex": "FEFEFEFE68", "protocol": "dlt645"}, 422, "not one DL/T 645 frame"),
        ("bus", {"hex": "zz", "protocol": "dlt645"}, 422, "hex does not have the right form"),
        ("bus", {"hex": "01060000000089CA", "protocol": "modbus-rtu"}, 422, "function 6 may change something"),
        ("bus", {"hex": "010300000001840A", "protocol": "modbus-tcp"}, 422, "does not carry modbus-tcp"),
        ("net", {"hex": "010300000001840A", "protocol": "modbus-rtu"}, 422, "does not carry modbus-rtu"),
        ("bus", {"hex": "00", "protocol": "dlt645", "first_byte_timeout_ms": 60_000}, 422, "first_byte_timeout_ms"),
        ("bus", {"hex": "00", "protocol": "dlt645", "password": "1"}, 422, "not a field"),
        ("far", {"hex": "00", "protocol": "dlt645"}, 404, "far is not known"),
    ],
)
def test_nothing_but_a_read_of_a_line_goes_through(
    running: Settings, token: str, line: str, body: dict[str, object], status: int, said: str
) -> None:
    with httpx2.Client(base_url=f"http://{running.http.listen}", trust_env=False, timeout=60) as http:
        path = f"/api/v1/lines/{line}/exchange"
        assert http.post(path, json=body).status_code == 401
        answer = http.post(path, json=body, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == status and said in answer.json()["detail"], answer.json()


def test_an_account_is_protected_at_the_running_gateway(running: Settings, here: Here) -> None:
    by = ("--owner", "Li Wei", "--reason", "oxygen concentrator", "-c", "runs.toml")
    ran = here("protect", "A-1", "--for", "1h", *by)
    assert ran.code == 0 and "A-1: protected until 20" in ran.out, ran
    here("cut", "m1", "--cause", "emergency", "-c", "runs.toml").refused("supply protect is on")
    assert here("unprotect", "A-1", *by).code == 0


# Where none runs


def test_cut_and_restore_are_done_by_hand_and_proved(here: Here) -> None:
    ran = here("cut", "m1", "--cause", "emergency", "-c", "rests.toml")
    assert ran.code == 0 and "m1: cut verified by relay_bit" in ran.out, ran
    assert "acknowledged" in ran.err and "verified" in ran.err
    ran = here("restore", "m1", "-c", "rests.toml")
    assert ran.code == 0 and "m1: restore verified by relay_bit" in ran.out, ran


def test_by_hand_the_same_is_refused_as_by_a_gateway(here: Here, street: SimulatedLines) -> None:
    named = ("-c", "rests.toml")
    here("cut", "m1", "--cause", "energy_debt", *named).refused("no permission to cut", "there is credit left", "(F1)", "(F2)")
    here("cut", "m1", "--cause", "spite", *named).refused("a cut names its cause")
    here("cut", "m9", "--cause", "emergency", *named).refused("m9 is not known")
    here("topup", "A-1", "50", "--receipt", "K-3", *named).refused("not booked", "amount")
    here("topup", "A-9", "50.00", "--receipt", "K-4", *named).refused("A-9 is not known")
    with lock(street.folder / "resting"):
        ran = here("cut", "m1", "--cause", "emergency", *named)
    ran.refused("is in use by process", "no gateway answers at")


def test_a_payment_by_hand_is_booked_once(here: Here) -> None:
    pay = ("topup", "A-1", "50.00", "--receipt", "K-1", "-c", "rests.toml")
    first, again = here(*pay), here(*pay)
    assert (first.code, first.err) == (0, "") and "balance 150.00 CNY; supply: none" in first.out, first
    assert again.code == 0 and "was booked before" in again.out, again


def test_the_stop_switch_and_the_quarantine_by_hand(here: Here) -> None:
    config = ("-c", "rests.toml")
    assert here("stop-cuts", "--reason", "a wrong tariff", *config).out == "cuts are stopped\n"
    here("cut", "m1", "--cause", "emergency", *config).refused("cuts are stopped: a wrong tariff (console)")
    assert here("resume-cuts", "--reason", "it is right again", *config).out == "cuts go on\n"
    here("resume-cuts", "--reason", "again", *config).refused("cuts are not stopped")
    here("cut", "m1", "--cause", "theft_by_two_people", *config).refused("it needs a second person", "wattgate quarantine release")
    listed = here("quarantine", "list", *config).out
    assert "m1 theft_by_two_people  by console" in listed
    command = listed.split()[0]
    here("quarantine", "release", command, *config).refused("another person must approve it")
    assert here("quarantine", "refuse", command, "--reason", "no", *config).out == f"{command}: refused\n"
    assert here("quarantine", "list", *config).out == ""


def test_protection_by_hand(here: Here) -> None:
    by = ("--owner", "Li Wei", "--reason", "oxygen concentrator", "-c", "rests.toml")
    ran = here("protect", "A-1", "--for", "7d", *by)
    assert ran.code == 0 and "A-1: protected until 20" in ran.out, ran
    here("cut", "m1", "--cause", "emergency", "-c", "rests.toml").refused("supply protect is on")
    here("protect", "A-1", "--until", "2020-01-01T00:00:00Z", *by).refused("ends in the future")
    here("protect", "A-1", "--for", "99999d", *by).refused("at most 366 days")
    here("protect", "A-1", "--until", "tomorrow", *by).refused("until is a moment")
    here("protect", "A-1", *by).refused("--for 7d", code=2)
    here("protect", "A-1", "--for", "long", *by).refused("no span", code=2)
    here("protect", "A-9", "--for", "1h", *by).refused("A-9 is not known")
    waits = here("unprotect", "A-1", *by).out
    assert waits.startswith("A-1: waits for a second person: wattgate approve yes ")
    ident = waits.split()[-1]
    assert f"{ident}  unprotect A-1  by console" in here("approve", "list", "-c", "rests.toml").out
    here("approve", "yes", ident, "-c", "rests.toml").refused("console asked for it: another person must approve it")
    assert here("approve", "no", ident, "--reason", "not yet", "-c", "rests.toml").out == f"{ident}: refused\n"
    here("approve", "yes", ident, "-c", "rests.toml").refused("it is decided already: refused")


def test_what_is_not_over_in_time_waits_for_the_next_start(
    here: Here, street: SimulatedLines, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (street.folder / "rests.toml").read_text()
    port = tomllib.loads(text)["line"][0]["port"]
    (street.folder / "away.toml").write_text(text.replace(f"port = {port}", f"port = {free_port()}").replace("resting", "away"))
    monkeypatch.setattr(supply, "WAIT_S", 1)
    ran = here("cut", "m1", "--cause", "emergency", "-c", "away.toml")
    ran.refused("still queued after 1 s", "waits for the gateway's next start")
