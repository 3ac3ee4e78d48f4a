"""`wattgate users` beside a running gateway and where none runs: a token is shown once, and every verb goes by whose it is."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
import structlog

from gateway.adapters.store import Store, lock
from gateway.bootstrap.process import Gateway
from gateway.cli import app
from gateway.settings import load
from tests.gateway.cli.street import Ran
from tests.system.processes import free_port

CONFIG = """
[gateway]
id = "G1"
[http]
listen = "127.0.0.1:{port}"
[clock]
source = "vouched"
[[tariff]]
id = "flat"
currency = "CNY"
kind = "flat"
price = "0.5"
[[account]]
id = "A-1"
currency = "CNY"
tariff = "flat"
"""
FILE = ("-c", "gateway.toml")
Here = Callable[..., Ran]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WATTGATE_TOKEN", raising=False)
    (tmp_path / "gateway.toml").write_text(CONFIG.format(port=free_port()))
    return tmp_path


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Here]:
    def run(*words: object, token: str = "") -> Ran:
        monkeypatch.setattr("sys.argv", ["wattgate", *map(str, words), *FILE])
        with monkeypatch.context() as within:
            if token:
                within.setenv("WATTGATE_TOKEN", token)
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
def running(folder: Path) -> Iterator[str]:
    """A gateway in a thread of its own; its address."""
    settings, begun, loop = load(folder / "gateway.toml"), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        gateway = Gateway(settings, folder, folder / "gateway.toml")
        begun.set()
        await gateway.run(stop)

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    assert begun.wait(100)
    yield f"http://{settings.http.listen}"
    loop.call_soon_threadsafe(stop.set)
    thread.join(100)
    loop.close()
    assert not thread.is_alive()


def shown(ran: Ran) -> list[str]:
    """What the verb has printed, without what a gateway in this process logs."""
    return [line for line in ran.out.splitlines() if "[info " not in line and "[warning" not in line]


def story(here: Here) -> str:
    """The same beside a running gateway and without one. The token of li, an operator."""
    added = here("users", "add", "li", "--role", "operator", "--role", "auditor")
    assert added.code == 0 and "not shown again" in added.err, added
    (token,) = shown(added)
    assert len(token) == 43
    ran = here("users", "add", "wang", "--role", "approver", "--out", "wang.token")
    assert (ran.code, shown(ran)) == (0, []), ran
    assert Path("wang.token").stat().st_mode & 0o777 == 0o600 and len(Path("wang.token").read_text().strip()) == 43
    listed = here("users", "list", token=token)
    assert [line.split("  ")[:2] for line in shown(listed) if not line.startswith("operator")] == [
        ["li", "operator, auditor"], ["wang", "approver"],
    ]  # fmt: skip
    here("users", "add", "zhao", "--role", "admin", token=token).refused("this needs the role admin; li has operator, auditor")
    here("protect", "A-1", "--for", "1h", "--owner", "x", "--reason", "y", token=Path("wang.token").read_text().strip()).refused(
        "this needs the role operator; wang has approver"
    )
    ran = here("protect", "A-1", "--for", "1h", "--owner", "Li Wei", "--reason", "oxygen", token=token)
    assert ran.code == 0, ran
    here("users", "add", "li", "--role", "admin").refused("there is a user li")
    here("users", "add", "zhao", "--role", "admin", "--out", "wang.token").refused("cannot be written to wang.token: File exists")
    here("users", "add", "Zhao Min", "--role", "admin", "--out", "zhao.token").refused("a name is 1 to 64 letters")
    assert not Path("zhao.token").exists(), "no file is left of a token that there is not"
    (newer,) = shown(here("users", "token", "li"))
    here("users", "list", token=token).refused("not the operator's token, nor a user's")
    assert here("users", "list", token=newer).code == 0
    assert shown(here("users", "revoke", "wang")) == ["wang: revoked"]
    here("users", "list", token=Path("wang.token").read_text().strip()).refused("the token of wang is revoked")
    assert "revoked 20" in here("users", "list").out
    here("users", "revoke", "nobody").refused("there is no user nobody")
    return newer


def audit(folder: Path) -> list[tuple[str, str, str]]:
    with lock(folder / "data"), Store.open(str(folder / "data" / "wattgate.db"), inline=True) as store:
        rows = store.read_now(lambda tx: tx.audit_rows(0, 99))
    return [(row.who, row.act, row.subject) for row in rows if row.act.startswith("user")]


ACTS = [("user_added", "li"), ("user_added", "wang"), ("user_token", "li"), ("user_revoked", "wang")]


def test_beside_a_running_gateway(here: Here, running: str, folder: Path) -> None:
    token = story(here)
    with httpx2.Client(base_url=running, trust_env=False, timeout=60, headers={"authorization": f"Bearer {token}"}) as http:
        assert http.get("/api/v1/users").status_code == 200, "at once, without a restart"
    here("users", "revoke", "operator").refused("operator is the last admin")
    (chief,) = shown(here("users", "add", "chief", "--role", "admin"))
    assert here("users", "revoke", "operator", token=chief).code == 0
    assert not (folder / "data" / "operator.token").exists()
    here("users", "list").refused("send the operator's or a user's token")
    assert here("users", "list", token=chief).code == 0


def test_where_none_runs(here: Here, folder: Path) -> None:
    story(here)
    assert audit(folder) == [("console", *act) for act in ACTS]
    (chief,) = shown(here("users", "add", "chief", "--role", "admin"))
    assert here("users", "token", "li", token=chief).code == 0
    assert audit(folder)[-1] == ("operator:chief", "user_token", "li"), "a token names the person also where none runs"
    gateway = Gateway(load(folder / "gateway.toml"), folder)
    gateway._open.close()
    assert not (folder / "data" / "operator.token").exists(), "there is an admin: nobody needs the first person"


@pytest.mark.parametrize(
    ("words", "said"), [(("add", "li"), "role"), (("add", "li", "--role", "chief"), "chief"), (("revoke",), "NAME")]
)
def test_wrong_usage_is_two(here: Here, words: tuple[str, ...], said: str) -> None:
    ran = here("users", *words)
    assert ran.code == 2 and said in ran.err, ran
