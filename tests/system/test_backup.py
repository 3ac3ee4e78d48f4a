"""A backup beside a running gateway, a restore of it, and the way back to taking money; by the verbs, over real processes."""

from __future__ import annotations

import asyncio
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2

from tests.system.processes import Process, free_port, wattgate
from tests.system.proofs import credited, finding, rows
from tests.system.stand import ANSWERS_S

CONFIG = """
[gateway]
id = "G1"
data = "data"
zone = "UTC"
[store]
reserve_mib = 0
[http]
listen = "127.0.0.1:{port}"
[bank]
zone = "UTC"
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
opening = "10.00"
"""


class Town:
    """A gateway without lines, and who pays in."""

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self.folder, self.config, self.data = folder, folder / "gateway.toml", folder / "data"
        self.config.write_text(CONFIG.format(port=port))
        self.gateway = Process("gateway", "gateway", "run", "-c", self.config, "--ready", folder=folder)
        self.http = httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=ANSWERS_S, trust_env=False)
        self.today = datetime.now(UTC).date()

    async def pay(self, serial: str, amount: str = "5.00") -> tuple[int, Any]:
        body = {
            "serial": serial,
            "account": "A-1",
            "amount": amount,
            "currency": "CNY",
            "paid_at": f"{self.today}T10:00:00Z",
            "accounting_date": str(self.today),
        }
        answer = await self.http.post("/bank/v1/topups", json=body)
        return answer.status_code, answer.json()

    async def get(self, path: str) -> tuple[int, Any]:
        answer = await self.http.get(path)
        return answer.status_code, answer.json()

    def day_file(self, *paid: tuple[str, str]) -> Path:
        """A bank's list of the day."""
        file = self.folder / "demo.csv"
        lines = [f"{serial},A-1,{amount},CNY,topup,,{self.today}T10:00:00Z,app," for serial, amount in paid]
        head = "serial,account,amount,currency,type,original_serial,paid_at,channel,institution"
        file.write_text("\n".join([head, *lines, f"#{len(paid)},0.00"]) + "\n")
        return file

    async def reopen(self, *words: object) -> Any:
        return await wattgate("reopen", *words, "-c", self.config)

    async def close(self) -> None:
        await self.gateway.kill()
        await self.http.aclose()


async def test_what_a_restore_loses_comes_back_once_and_money_waits_for_it(tmp_path: Path) -> None:
    town = Town(tmp_path)
    out = tmp_path / "backup.tar"
    try:
        await town.gateway.start()
        assert (await town.pay("before"))[0] == 201
        done = asyncio.Event()
        paying = asyncio.create_task(pay_all_the_time(town, "during", done))
        made = await wattgate("backup", "-c", town.config, "--out", out)
        assert (made.code, made.err) == (0, ""), made
        done.set()
        during = await paying
        assert (await town.pay("after", "7.00"))[0] == 201
        busy = await wattgate("restore-backup", out, "-c", town.config, "--replace")
        busy.refused("is in use by process")
        await town.gateway.kill()
        assert finding(town.data / "wattgate.db") is None
        (await wattgate("restore-backup", out, "-c", town.config)).refused("holds a store", "--replace")
        epoch = epoch_of(town.data)
        restored = await wattgate("restore-backup", out, "-c", town.config, "--replace")
        assert restored.code == 0 and "is kept as" in restored.out, restored
        assert epoch_of(town.data) != epoch
        kept = [file for file in town.data.glob("wattgate.db.replaced-*") if not file.name.endswith(("-wal", "-shm"))]
        assert len(kept) == 1 and "after" in credited(kept[0])
        there = set(credited(town.data / "wattgate.db"))
        assert there >= {"before"} and "after" not in there
        lost = [(serial, "5.00") for serial in during if serial not in there] + [("after", "7.00")]

        await town.gateway.start()
        await waits(town)
        await agree(town, [("before", "5.00"), *((serial, "5.00") for serial in during), ("after", "7.00")], len(there), epoch)
        assert (await town.get("/healthz"))[0] == 200
        assert (await town.pay("new"))[0] == 201
        for serial, amount in lost:
            assert (await town.pay(serial, amount))[0] == 200, "brought in once, and a repetition is one"
        events = [event["kind"] for event in rows(town.data / "wattgate.db", "SELECT kind FROM event")]
        for kind in ("store_restored", "payments_brought_in", "bank_agreed", "centre_agreed", "money_released"):
            assert kind in events
        await town.gateway.end()
        assert finding(town.data / "wattgate.db") is None
        assert set(credited(town.data / "wattgate.db")) == {"before", "after", "new", *during}
        assert "Traceback" not in town.gateway.said()
    finally:
        await town.close()


async def pay_all_the_time(town: Town, stem: str, done: asyncio.Event) -> list[str]:
    """The serials, all answered with 201, also those while the backup was made."""
    serials: list[str] = []
    while not done.is_set():
        serials.append(f"{stem}-{len(serials)}")
        assert (await town.pay(serials[-1]))[0] == 201
        await asyncio.sleep(0.02)
    return serials


async def waits(town: Town) -> None:
    """No money is taken, and everything says so; what is known is answered as before."""
    status, health = await town.get("/healthz")
    assert status == 503 and "restored from a backup of" in health["reasons"][0]
    assert any("no cut for debt" in hold for hold in health["holds"])
    status, problem = await town.pay("new")
    assert (status, problem["code"], problem["final"], problem["action"]) == (503, "unavailable", False, "repeat_same_serial")
    assert "restored from a backup" in problem["detail"]
    assert (await town.pay("before"))[0] == 200
    assert (await town.get("/bank/v1/topups/before"))[1]["payment"] == "posted"
    status, problem = await town.get("/bank/v1/topups/after")
    assert (status, problem["final"]) == (503, False), "that it is not booked proves nothing now"
    assert (await town.get("/bank/v1/accounts/A-1"))[0] == 200


async def agree(town: Town, paid: list[tuple[str, str]], there: int, epoch: str) -> None:
    """Every way to be wrong is one sentence; then bank and centre agree, and money is released."""
    by = ("--by", "Li Wei")
    day, before, after = town.today, town.today - timedelta(days=1), town.today + timedelta(days=1)
    (await town.reopen("release", *by)).refused("bank demo (CNY) is not compared for", "how far the centre", sentences=2)
    total = f"{sum(float(amount) for _, amount in paid):.2f}"
    figures = ("bank", "demo", "--date", before, "--until", after, "--count", len(paid), "--total", total, *by)
    missing = len(paid) - there
    (await town.reopen(*figures)).refused(f"{there} payments of", f"{len(paid)} of {total} there", f"missing here: {missing} of ")
    wrong = town.day_file(("before", "6.00"), *paid[1:])
    listed = ("--bank", "demo", "--date", day, *by)
    (await town.reopen("payments", wrong, *listed)).refused("serial before of bank demo is booked here with another amount")
    brought = await town.reopen("payments", town.day_file(*paid), *listed)
    assert (brought.code, brought.out.split("\n")[0]) == (0, f"{missing} payments booked, {there} were known"), brought
    assert (await town.reopen(*figures)).code == 0
    (await town.reopen("centre", "--epoch", "0" * 16, "--seq", 5, *by)).refused(f"the backup is of epoch {epoch}")
    assert (await town.reopen("centre", "--epoch", epoch, "--seq", 500, *by)).code == 0
    released = await town.reopen("release", *by)
    assert (released.code, released.out) == (0, "money is taken again\n"), released
    (await town.reopen("release", *by)).refused("money is taken here")


def epoch_of(data: Path) -> str:
    return str(rows(data / "wattgate.db", "SELECT value FROM meta WHERE key = 'epoch'")[0]["value"])


async def test_what_is_no_sound_backup_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    town = Town(tmp_path)
    out, store = tmp_path / "backup.tar", town.data / "wattgate.db"
    try:
        (await wattgate("backup", "-c", town.config, "--out", out)).refused("No such file")
        await town.gateway.start()
        assert (await town.pay("before"))[0] == 201
        await town.gateway.end()
        (await wattgate("backup", "-c", town.config, "--out", store)).refused("is there and is no backup")
        assert (await wattgate("backup", "-c", town.config, "--out", out)).code == 0
        assert (out.stat().st_mode & 0o777) == 0o600
        assert json.loads(await asyncio.to_thread(manifest, out))["gateway"] == "G1"
        content, before = bytearray(out.read_bytes()), store.read_bytes()
        content[len(content) // 2] ^= 1
        damaged = tmp_path / "damaged.tar"
        damaged.write_bytes(content)
        (await wattgate("restore-backup", damaged, "--data", town.data, "--replace")).refused("is damaged")
        (await wattgate("restore-backup", town.config, "--data", town.data, "--replace")).refused("is no backup")
        other = tmp_path / "other.toml"
        other.write_text(town.config.read_text().replace('"G1"', '"G2"'))
        (await wattgate("restore-backup", out, "-c", other, "--replace")).refused("of gateway G1, not of G2")
        assert store.read_bytes() == before
        assert {file.name for file in town.data.iterdir()} <= {"wattgate.db", "lock", "operator.token", "identity.jwk"}
        (town.data / "wattgate.db.restoring").touch()
        (await wattgate("run", "-c", town.config)).refused("was interrupted: run `wattgate restore-backup` again")
        assert (await wattgate("restore-backup", out, "-c", town.config)).code == 0
        fresh = tmp_path / "fresh"
        assert (await wattgate("restore-backup", out, "--data", fresh)).code == 0
        assert set(credited(fresh / "wattgate.db")) == {"before"} and finding(fresh / "wattgate.db") is None
        before_mark = epoch_of(fresh)
        marked = await wattgate("restore-backup", "--mark", "--data", fresh)
        assert marked.code == 0 and before_mark != epoch_of(fresh) in marked.out, marked
        shutil.rmtree(fresh)
    finally:
        await town.close()


def manifest(out: Path) -> bytes:
    import tarfile

    with tarfile.open(out) as tar:
        member = tar.extractfile("manifest.json")
        assert member is not None
        return member.read()
