"""`wattgate central` and `central send` as processes, with a real broker and a gateway's uplink."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.domain.meters import Meter, SwitchKind
from gateway.domain.supply import CommandState
from gateway.services import announce
from gateway.services.ports import Tx
from tests.gateway.brokers import Nats, free_port, running
from tests.gateway.uplink_ends import House, gateway, until

ROOT = Path(__file__).parents[3]
VERBS = """
import typer
from gateway.cli import central
from gateway.cli.answers import Failure

app = typer.Typer()
central.register(app)
app.callback()(lambda: None)
try:
    app()
except Failure as failure:
    raise SystemExit("; ".join(failure.sentences))
"""
WITHIN_S = 100  # a second or two; on a machine with other work, far more


def write_config(folder: Path, port: int, host: str = "127.0.0.1") -> Path:
    path = folder / "central.toml"
    path.write_text(f'[central]\ndata = "central"\n[mqtt]\nhost = "{host}"\nport = {port}\n')
    return path


async def start(*words: str) -> asyncio.subprocess.Process:
    pipe, path = asyncio.subprocess.PIPE, os.environ | {"PYTHONPATH": str(ROOT)}
    return await asyncio.create_subprocess_exec(sys.executable, "-c", VERBS, "central", *words, stdout=pipe, stderr=pipe, env=path)


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_it_stores_and_acknowledges_until_it_is_told_to_stop(tmp_path: Path) -> None:
    broker = Nats(tmp_path / "broker")
    async with running(broker):
        process = await start("-c", str(write_config(tmp_path, broker.port)), "--ready")
        assert process.stdout is not None
        assert json.loads(await asyncio.wait_for(process.stdout.readline(), WITHIN_S)) == {"ready": True}
        async with gateway(tmp_path, broker.address) as g:
            await g.add(*range(20))
            await until(lambda: g.waiting() == 0, "the outbox is empty")
        process.send_signal(signal.SIGTERM)
        code, _, err = await asyncio.wait_for(ended(process), WITHIN_S)
    assert code == 0
    assert [json.loads(line)["event"] for line in err.splitlines()][-1] == "the central system was stopped"


async def test_a_broker_that_is_gone_is_one_sentence_and_no_end(tmp_path: Path) -> None:
    process = await start("-c", str(write_config(tmp_path, free_port())))
    assert process.stderr is not None
    line = json.loads(await asyncio.wait_for(process.stderr.readline(), WITHIN_S))
    assert line["level"] == "warning" and "is gone" in line["event"] and process.returncode is None
    process.send_signal(signal.SIGTERM)
    assert (await ended(process))[0] == 0


async def obey(house: House) -> None:
    """Does what the line would do: the newest command is verified."""

    def verified(tx: Tx) -> bool:
        for command in tx.open_commands():
            done = replace(command, state=CommandState.VERIFIED, evidence=("relay_bit",))
            tx.save_command(done)
            announce.result(tx, done)
        return bool(tx.commands(1))

    while not await house.store.write(verified):  # noqa: ASYNC110 - another process brings it
        await asyncio.sleep(0.05)
    house.wake.notify()


async def test_a_command_is_followed_to_its_end(tmp_path: Path) -> None:
    broker = Nats(tmp_path / "broker")
    async with running(broker), gateway(tmp_path, broker.address) as g:
        await g.link.connected.wait()
        meter = Meter("M1", "a", "000000000001", "dlt645-2007", "p", None, "P1", SwitchKind.INTERNAL, "a")
        await g.store.write(lambda tx: tx.save_meter(meter))
        config = str(write_config(tmp_path, broker.port))
        common = ("--gateway", "G1", "-c", config, "--cause", "emergency")
        process = await start("send", "cut", "M1", *common, "--reason", "fire", "--id", "c-1")
        await asyncio.wait_for(obey(g), WITHIN_S)
        code, out, err = await ended(process)
        assert code == 0, err
        assert json.loads(out.splitlines()[-1]) == json.loads(out.splitlines()[-1]) | {
            "command": "c-1",
            "meter": "M1",
            "state": "verified",
            "final": True,
            "evidence": ["relay_bit"],
        }
        again, refused = await start("send", "cut", "M1", *common, "--id", "c-1"), await start("send", "cut", "M9", *common)
        code, out, _ = await ended(again)
        assert (code, json.loads(out)["state"]) == (0, "verified")
        code, out, err = await ended(refused)
        assert (code, json.loads(out)["state"]) == (1, "refused") and "M9 is not in the archive" in err
        assert len(g.store.read_now(lambda tx: tx.commands(10))) == 1


@pytest.mark.parametrize(
    ("words", "host", "sentence"),
    (
        (("send", "cut", "M1", "--gateway", "G1"), "127.0.0.1", "a cut names its cause"),
        (("send", "restore", "M1", "--gateway", "G1"), "10.0.0.7", "go only over a broker on loopback"),
        (("send", "restore", "M 1", "--gateway", "G1"), "127.0.0.1", "this command is wrong"),
        (("send", "restore", "M1", "--gateway", "G1"), "127.0.0.1", "cannot be reached: not everything was sent"),
    ),
)
async def test_what_cannot_be_sent_is_one_sentence(tmp_path: Path, words: tuple[str, ...], host: str, sentence: str) -> None:
    config = write_config(tmp_path, free_port(), host)
    code, _, err = await ended(await start(*words, "-c", str(config)))
    assert code != 0 and sentence in err and "Traceback" not in err
