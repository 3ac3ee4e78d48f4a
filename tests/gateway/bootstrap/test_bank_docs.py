"""The examples of docs/bank.md, run as they stand against a gateway."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.bootstrap.process import Gateway
from gateway.settings import load
from tests.gateway.bootstrap.conftest import MakeSite
from tests.ports import free_port

DOCS = Path(__file__).parents[3] / "docs" / "bank.md"


def blocks_of(text: str) -> list[tuple[str, str]]:
    """Language and text of each."""
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.M | re.S)


def examples() -> dict[str, str]:
    """The first block of each language that is a whole call, and the two lines that make a key."""
    blocks = blocks_of(DOCS.read_text().partition("## How a bank begins")[2])
    shell = [text for language, text in blocks if language == "sh"]
    return {
        "keys": next(text for text in shell if "genpkey" in text),
        "toml": next(text for language, text in blocks if language == "toml"),
        "sh": next(text for text in shell if "curl" in text),
        "python": next(text for language, text in blocks if language == "python"),
    }


async def run(folder: Path, environment: dict[str, str], *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 240)
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("openssl"), reason="the examples need curl and openssl")
async def test_the_examples_pay(site_of: MakeSite) -> None:
    shown = examples()
    url = f"http://127.0.0.1:{free_port()}"
    site = site_of(1, 1)
    site.plan.accounts = {"m0-0": "A-0007"}
    await run(site.folder, {}, "bash", "-e", "-c", shown["keys"])
    site.plan.tail += shown["toml"].replace('"https://pay.example.org"', f'"{url}"\nlisten = "{url[7:]}"')
    today = (datetime.now(UTC) + timedelta(hours=8)).date().isoformat()
    paid = {
        "account": "A-0007",
        "amount": "50.00",
        "currency": "CNY",
        "paid_at": "2026-11-21T10:15:00+08:00",
        "accounting_date": today,
    }
    async with site.running():
        first = {"URL": url, "BODY": json.dumps({"serial": "1", **paid})}
        told = [json.loads(await run(site.folder, first, "bash", "-e", "-c", shown["sh"])) for _ in range(2)]
        assert told[0] == told[1] and told[0]["payment"] == "posted" and told[0]["receipt"]["bank"] == "north"
        second = {"URL": url, "BODY": json.dumps({"serial": "2", **paid})}
        assert re.fullmatch(r"G1-\S+ posted\n", await run(site.folder, second, sys.executable, "-c", shown["python"]))


@pytest.mark.skipif(not shutil.which("openssl"), reason="the example makes its key with openssl")
async def test_a_stranger_pays_in_ten_minutes(tmp_path: Path) -> None:
    """From a fresh `wattgate init`: the tutorial's blocks in their order, nothing added but a port that is free."""
    tutorial = DOCS.read_text().partition("## A first payment")[2].partition("\n## ")[0]
    (shell, prepare), (python, pay) = blocks_of(tutorial)
    assert (shell, python) == ("sh", "python") and len(pay.splitlines()) <= 27
    port = free_port()
    verb = tmp_path / "bin" / "wattgate"
    verb.parent.mkdir()
    verb.write_text(f'#!/bin/sh\nexec {sys.executable} -m gateway "$@"\n')
    verb.chmod(0o755)
    root = str(Path(__file__).parents[3])
    path = {"PATH": f"{verb.parent}:{os.environ['PATH']}", "PYTHONPATH": root}
    told = await run(tmp_path, path, "bash", "-e", "-c", prepare)
    assert "gateway.toml: good" in told and "may not refund" not in told
    folder = tmp_path / "street-7"
    file = folder / "gateway.toml"
    text = file.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}")
    assert "\nport = 1883\n" in text
    file.write_text(text.replace("\nport = 1883\n", f"\nport = {free_port()}\n"))  # whoever listens there is not asked
    (folder / "pay.py").write_text(pay.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
    gateway, stop = Gateway(load(file), folder, file), asyncio.Event()
    running = asyncio.create_task(gateway.run(stop))
    try:
        answers = [
            await run(folder, {}, sys.executable, "pay.py", *paid)
            for paid in (("S-1", "A-0001", "50.00"), ("S-1", "A-0001", "50.00"), ("S-1", "A-0001", "60.00"))
        ]
    finally:
        stop.set()
        await running
    assert [answer[:4] for answer in answers] == ["201 ", "200 ", "409 "]
    assert answers[0][4:] == answers[1][4:] and '"bank":"north"' in answers[0]
