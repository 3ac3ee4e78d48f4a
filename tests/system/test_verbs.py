"""`wattgate topup, cut, restore, read, scan, decode, ledger verify` as processes against a running gateway and simulated meters."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.system.processes import free_port, until, wattgate
from tests.system.stand import House, Stand, copy_store, tracebacks

STREET = (
    House("m1", "201900000001", 500, "100.00"),
    House("welded", "201900000002", 500, "100.00"),
    House("coil", "21", 500, "100.00", "modbus", "sdm630", "eastron-sdm630", switch="31"),
)
SOON_S = 180.0  # some seconds; on a machine with other work, far more

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stand(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stand]:
    """A street that has been read; its broker is gone all the time."""
    made = Stand(tmp_path_factory.mktemp("verbs"), STREET, speed=1)
    try:
        await made.sim.start()
        await made.gateway.start()
        for house in STREET:
            await until(lambda house=house: made.readings(house.meter), f"a reading of {house.meter}", SOON_S)  # type: ignore[misc]
        yield made
        assert await made.gateway.end() == 0
        assert tracebacks(made.folder) == []
    finally:
        await made.close()


async def test_a_payment_at_the_counter_is_booked_once(stand: Stand) -> None:
    pay = ("topup", "A-m1", "50.00", "--receipt", "K-1", "-c", stand.config)
    first = await wattgate(*pay)
    assert (first.code, first.err) == (0, "") and "50.00 CNY booked to A-m1" in first.out, first
    again = await wattgate(*pay)
    assert again.code == 0 and "was booked before" in again.out, again
    assert first.out.split(":")[0] == again.out.split(":")[0], "the same receipt"
    (await wattgate("topup", "A-m1", "60.00", "--receipt", "K-1", "-c", stand.config)).refused("not booked", "K-1")
    asking = {"WATTGATE_TOKEN": (stand.data / "operator.token").read_text().strip()}
    for account, amount, said in (("A-nobody", "50.00", "A-nobody is not known"), ("A-m1", "50", "not booked")):
        asked = ("topup", account, amount, "--receipt", "K-2", "--url", stand.url)
        (await wattgate(*asked, environment=asking)).refused(said)
    balance = (await stand.account("m1"))["balance"]
    assert balance.startswith("149.9") or balance == "150.00", "booked once"


async def test_a_payment_without_a_receipt_or_a_gateway(stand: Stand) -> None:
    assert (await wattgate("topup", "A-m1", "50.00", "-c", stand.config)).code == 2
    nobody = f"http://127.0.0.1:{free_port()}"
    (await wattgate("topup", "A-m1", "50.00", "--receipt", "K-9", "--url", nobody)).refused(f"no gateway answers at {nobody}")
    (await wattgate("topup", "A-m1", "50.00", "--receipt", "K-9")).refused("-c FILE", code=2)


@pytest.mark.parametrize("meter", ["m1", "coil"])
async def test_cut_and_restore_wait_for_the_proof(stand: Stand, meter: str) -> None:
    cut = await wattgate("cut", meter, "--cause", "emergency", "-c", stand.config)
    assert cut.code == 0 and f"{meter}: cut verified by" in cut.out, cut
    truth = await stand.truth(meter)
    assert (truth["contact"], truth["power_w"]) == ("open", 0)
    assert cut.err.split() == [state for state in ("queued", "sent", "acknowledged", "verified") if state in cut.err.split()]
    restore = await wattgate("restore", meter, "--reason", "the fire is out", "-c", stand.config)
    assert restore.code == 0 and f"{meter}: restore verified by" in restore.out, restore
    truth = await stand.truth(meter)
    assert truth["contact"] == "closed" and truth["power_w"] > 0


async def test_a_cut_without_permission_moves_nothing(stand: Stand) -> None:
    ordered = ("-c", stand.config)
    (await wattgate("cut", "m1", "--cause", "energy_debt", *ordered)).refused("no permission to cut", "there is credit left")
    (await wattgate("cut", "m1", "--cause", "spite", *ordered)).refused("a cut names its cause")
    (await wattgate("cut", "m9", "--cause", "emergency", *ordered)).refused("m9 is not known")
    stranger = {"WATTGATE_TOKEN": "not-the-token"}
    (await wattgate("cut", "m1", "--cause", "emergency", *ordered, environment=stranger)).refused("token")
    assert (await stand.truth("m1"))["contact"] == "closed"


async def test_a_welded_relay_is_no_success(stand: Stand) -> None:
    await stand.act("welded", "fault", kind="welded")
    ran = await wattgate("cut", "welded", "--cause", "emergency", "--reason", "fire", "-c", stand.config)
    assert ran.code == 1 and "Traceback" not in ran.err
    assert ran.err.splitlines()[-1] == "cut of welded: failed: the switch did not move", ran.err
    truth = await stand.truth("welded")
    assert (truth["contact"], truth["command"]) == ("closed", "open"), "it was ordered, and it did not move"
    failed = await stand.events("command_failed")
    assert [event["meter"] for event in failed] == ["welded"]


async def test_a_meter_is_read_as_a_guest_of_the_running_gateway(stand: Stand) -> None:
    ran = await wattgate("read", "m1", "energy_import", "clock", "-c", stand.config)
    assert (ran.code, ran.err) == (0, "") and ran.out.split("  ")[1] == "energy_import", ran
    ran = await wattgate("scan", "modbus", "--modbus", "--units", "20-22", "-c", stand.config)
    assert ran.code == 0 and ran.out.startswith("unit 21  modbus"), ran


async def test_the_ledger_is_verified_beside_the_gateway_and_a_tampered_copy_is_found(stand: Stand, tmp_path: Path) -> None:
    for where in (("-c", stand.config), ("--data", stand.data)):
        clean = await wattgate("ledger", "verify", *where)
        assert clean.code == 0 and clean.out.endswith(" entries: clean\n"), clean
    copy = copy_store(stand.data, tmp_path / "copy")
    with sqlite3.connect(copy) as database:
        number, ref = database.execute("SELECT number, ref FROM entry WHERE kind = 'opening' ORDER BY number LIMIT 1").fetchone()
        for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{trigger}"')
        changed = json.dumps(json.loads(ref) | {"account": "A-other"})
        database.execute("UPDATE entry SET ref = ? WHERE number = ?", (changed, number))
    database.close()
    (await wattgate("ledger", "verify", "--data", tmp_path / "copy")).refused(f"entry {number} was changed")
    (await wattgate("ledger", "verify", "--data", tmp_path / "nowhere")).refused("nowhere")
    (await wattgate("ledger", "verify")).refused("--data DIR", code=2)


async def test_decode_reads_anything(stand: Stand) -> None:
    good = "6812907856341268910833333433AB896745CC16"
    ran = await wattgate("decode", "-", stdin=f"{good}\nzz\n\n{good[:11]}\n{good}\n".encode())
    found = [json.loads(line) for line in ran.out.splitlines()]
    assert (ran.code, len(found)) == (2, 5) and "Traceback" not in ran.err
    assert found[0] == found[4] and found[0]["frames"][0]["items"]
    assert ["error" in one for one in found] == [False, True, False, True, False]
    assert (await wattgate("decode", good)).code == 0
    assert (await wattgate("decode", "-", stdin=bytes(range(256)))).code == 2
