"""A customer's whole life at the command line, against simulated meters: beside a running gateway, and where none runs."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
import structlog

from gateway.bootstrap.process import Gateway
from gateway.cli import app
from gateway.settings import Settings, load
from tests.gateway.cli.street import Ran, SimulatedLines, simulated
from tests.system.processes import free_port

CONFIG = """
[gateway]
id = "G1"
data = "{data}"
passwords = "passwords.toml"
[store]
reserve_mib = 0
[http]
listen = "127.0.0.1:{port}"
[clock]
source = "vouched"
keep_meters = false
[[scheme]]
billing_s = 1
instant_s = 60
switch_s = 60
[[tariff]]
id = "flat"
currency = "CNY"
kind = "flat"
price = "0.5"
[[line]]
id = "bus"
kind = "tcp"
host = "{bus[0]}"
port = {bus[1]}
baud = 9600
[[line]]
id = "pty"
kind = "serial"
device = "{pty}"
baud = 19200
[[meter]]
id = "p1"
line = "pty"
address = "202611210001"
profile = "dlt645-single"
"""

Here = Callable[..., Ran]
WITHIN_S = 100.0


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatedLines]:
    folder = tmp_path_factory.mktemp("life")
    with simulated(folder) as lines:
        for file, data in (("runs.toml", "running"), ("rests.toml", "resting")):
            bus = lines.tcp.split(":")[1:]
            (folder / file).write_text(CONFIG.format(data=data, port=free_port(), bus=bus, pty=lines.pty))
        (folder / "passwords.toml").write_text('[control]\npassword = "123456"\nlevel = 2\n')
        (folder / "passwords.toml").chmod(0o600)
        yield lines


@pytest.fixture
def here(street: SimulatedLines, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    """A verb in this process; answers: what a person at a terminal types."""
    monkeypatch.chdir(street.folder)

    def run(*words: object, answers: str | None = None) -> Ran:
        monkeypatch.setattr("sys.argv", ["wattgate", *map(str, words)])
        terminal = io.StringIO(answers or "")
        monkeypatch.setattr(terminal, "isatty", lambda: answers is not None, raising=False)
        monkeypatch.setattr("sys.stdin", terminal)
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


@pytest.fixture
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
    assert begun.wait(WITHIN_S)
    yield settings
    loop.call_soon_threadsafe(stop.set)
    thread.join(WITHIN_S)
    loop.close()
    assert not thread.is_alive()


def told(street: SimulatedLines, settings: Settings, path: str) -> list[dict[str, object]]:
    token = (street.folder / "running" / "operator.token").read_text().strip()
    with httpx2.Client(base_url=f"http://{settings.http.listen}", trust_env=False, timeout=60) as http:
        found: list[dict[str, object]] = http.get(path, headers={"authorization": f"Bearer {token}"}).json()
    return found


def until(look: Callable[[], bool]) -> None:
    ends = time.monotonic() + WITHIN_S
    pause = threading.Event()
    while not look():
        assert time.monotonic() < ends
        pause.wait(0.1)


def test_a_customer_comes_has_another_meter_and_goes(running: Settings, here: Here, street: SimulatedLines) -> None:
    conf = ("-c", "runs.toml")
    where = ("--meter", "m1", "--line", "bus", "--address", "202611210001", "--profile", "dlt645-single")
    money = ("--opening", "20.00", "--receipt", "K-1")
    ran = here("accounts", "open", "house-1", "--tariff", "flat", "--agreement", "P-1", *where, "--first", "read", *money, *conf)
    assert ran.code == 0 and "house-1: open, balance 20.00 CNY" in ran.out, ran
    assert "read: total 42." in ran.out and "meter m1: nobody -> house-1 at 42." in ran.out, ran.out

    def answered() -> bool:
        meters = {each["meter"]: each for each in told(street, running, "/api/v1/meters")}
        return meters["m1"]["last_reading"] is not None

    until(answered)
    here("accounts", "open", "house-2", "--tariff", "flat", "--meter", "m1", "--yes", *conf).refused("m1 is account house-1's")
    here("accounts", "open", "house-1", "--tariff", "flat", "--yes", *conf).refused("house-1 is open already")

    device = ("--line", "pty", "--address", "202611210002", "--profile", "dlt645-three", "--set", "max_power_w=90000")
    ran = here("meters", "change", "m1", *device, "--last", "read", "--first", "read", "--yes", *conf)
    assert ran.code == 0 and "m1: exchanged, now address 202611210002 at point m1" in ran.out, ran
    here("meters", "change", "m1", "--address", "5", "--last", "99999.00", "--yes", *conf).refused("a second person")
    ran = here("meters", "change-ct", "m1", "--ct", "10", "--max-power", "900000", "--at", "read", *conf)
    assert ran.code == 0 and "m1: ratio 1 until here, 10 from now on" in ran.out, ran

    ran = here("accounts", "move", "house-1", "--from", "m1", "--to", "p1", "--final", "read", *conf)
    assert ran.code == 0 and "meter m1: house-1 -> nobody" in ran.out and "meter p1: nobody -> house-1" in ran.out, ran
    ran = here("accounts", "close", "house-1", "--id", "bye", "--final", "p1=read", "--refund", "counter", "--by", "li", *conf)
    assert ran.code == 0 and "house-1: closed, balance 0.00 CNY" in ran.out and "refund bye: " in ran.out, ran
    here("accounts", "refund", "bye", "--paid", "K-2", "--by", "li", *conf).refused("another person than li")
    ran = here("accounts", "refund", "bye", "--paid", "K-2", "--by", "wang", *conf)
    assert ran.code == 0 and "paid out" in ran.out, ran
    here("topup", "house-1", "5.00", "--receipt", "K-3", *conf).refused("closed")
    ran = here("ledger", "verify", *conf)
    assert ran.code == 0, ran


def test_whoever_is_at_a_terminal_is_asked_and_may_answer_again(running: Settings, here: Here) -> None:
    said = ["no id", "house-3", "Li Wei", "flat", "", "", "", "", "y"]
    ran = here("accounts", "open", "-c", "runs.toml", answers="\n".join(said) + "\n")
    assert ran.code == 0 and "house-3: open, balance 0.00 CNY" in ran.out, ran
    assert "an id is 1 to 64" in ran.err
    ran = here("accounts", "open", "-c", "runs.toml", answers="house-4\nLi\nflat\n\n\n\n\nn\n")
    ran.refused("nothing was done")
    here("accounts", "open", "house-4", "--yes", "-c", "runs.toml").refused("say --tariff", code=2)
    here("accounts", "open", "house-4", "--tariff", "night", "--yes", "-c", "runs.toml").refused("nothing was changed")


def test_files_come_and_go_beside_a_running_gateway_and_without_one(here: Here, street: SimulatedLines, tmp_path: Path) -> None:
    conf = ("-c", "rests.toml")
    people, houses = tmp_path / "people.csv", tmp_path / "houses.toml"
    people.write_text("id,currency,tariff,holder,policy.low\nH-1,CNY,flat,Li Wei,5.00\nH-2,CNY,flat,Wang,\n")
    houses.write_text('[[meter]]\nid = "h1"\nline = "bus"\naddress = "202611210001"\nprofile = "dlt645-single"\naccount = "H-1"\n')
    for changed in (2, 0):
        ran = here("accounts", "import", people, *conf)
        assert ran.code == 0 and f"2 accounts, {changed} of them new or different" in ran.out, ran
    ran = here("meters", "import", houses, *conf)
    assert ran.code == 0 and "1 meters, 1 of them" in ran.out, ran
    (tmp_path / "bad.csv").write_text("id,line,address,profile\nh2,bus,x,dlt645-single\nh3,tram,5,dlt645-single\n")
    ran = here("meters", "import", tmp_path / "bad.csv", *conf)
    ran.refused("nothing was changed")
    assert "bad.csv:2:3: address: String should match pattern" in ran.err, ran.err
    ran = here("meters", "export", tmp_path / "all.csv", "--all", *conf)
    assert ran.code == 0 and (tmp_path / "all.csv").read_text().splitlines() == [
        "id,line,address,profile,account",
        "p1,pty,202611210001,dlt645-single,",
        "h1,bus,202611210001,dlt645-single,H-1",
    ], ran
    here("meters", "export", tmp_path / "all.csv", *conf).refused("File exists")
    prices = tmp_path / "prices.toml"
    prices.write_text('[[tariff]]\nid = "night"\ncurrency = "CNY"\n[[tariff.version]]\nfrom = "2020-01-01"\nprice = "0.30"\n')
    for changed in (1, 0):
        ran = here("tariffs", "import", prices, *conf)
        assert ran.code == 0 and f"1 tariffs, {changed} of them new or different" in ran.out, ran
    ran = here("tariffs", "export", tmp_path / "again.toml", *conf)
    assert ran.code == 0 and 'version = [{ from = "2020-01-01", price = "0.30" }]' in (tmp_path / "again.toml").read_text(), ran
    here("meters", "import", tmp_path / "no.csv", *conf).refused("cannot be read")
    ran = here("accounts", "export", tmp_path / "people.toml", *conf)
    assert ran.code == 0 and 'policy = { low = "5.00" }' in (tmp_path / "people.toml").read_text(), ran
    ran = here("accounts", "open", "H-3", "--tariff", "flat", "--meter", "p1", "--first", "read", *conf)
    assert ran.code == 0 and "meter p1: nobody -> H-3 at" in ran.out, ran
    ran = here("accounts", "close", "H-1", "--final", "h1=43.00", *conf)
    assert ran.code == 0 and "H-1: closed" in ran.out, ran
    assert here("ledger", "verify", *conf).code == 0
