"""Adapters that are unplugged and come back under other names, on real ptys behind links as udev makes them."""

from __future__ import annotations

import asyncio
import os
import pty
import random
import tty
from pathlib import Path

import pytest

from gateway.adapters.clock import Clock
from gateway.adapters.lines.driver import Driver
from gateway.adapters.lines.serial import SerialTransport
from gateway.adapters.lines.transport import LineDown
from protocols.modbus.frames import rtu_pack
from protocols.modbus.master import ReadRegisters
from tests.conftest import Figure

REPLUGS, PROOF_REPLUGS = 50, 1000
LINES, PROOF_LINES, NAMES = 10, 40, 128
RECOVERED_S, PROOF_RECOVERED_S = 120.0, 3.0


class Dev:
    """A folder like /dev, with by-id and by-path links."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.folders = (folder / "serial/by-id", folder / "serial/by-path")
        for links in self.folders:
            links.mkdir(parents=True)

    def another_name(self, rng: random.Random, old: Path) -> Path:
        free = [path for n in range(NAMES) if not (path := self.folder / f"ttyUSB{n}").is_symlink()]
        return rng.choice([path for path in free if path != old])


class Adapter:
    """A USB adapter with unit 1 behind it, whose register 0 is its own number."""

    def __init__(self, dev: Dev, number: int) -> None:
        self.dev, self.number = dev, number
        self.link = dev.folders[0] / f"usb-FTDI_FT232R_A{number:04}-if00-port0"
        self.node: Path | None = None

    def plug(self, node: Path, socket: str | None = None) -> None:
        self.near, self.far = pty.openpty()
        tty.setraw(self.far)
        node.symlink_to(os.ttyname(self.far))
        self.node, self.socket = node, self.dev.folders[1] / (socket or f"pci-usb-0:{self.number}")
        for link in (self.link, self.socket):
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../{node.name}")
        asyncio.get_running_loop().add_reader(self.near, self._answer)

    def unplug(self) -> None:
        assert self.node is not None
        asyncio.get_running_loop().remove_reader(self.near)
        os.close(self.near)
        os.close(self.far)
        for path in (self.node, self.link, self.socket):
            path.unlink()
        self.node = None

    def _answer(self) -> None:
        if os.read(self.near, 100):
            os.write(self.near, rtu_pack(1, b"\x03\x02" + self.number.to_bytes(2, "big")))


@pytest.fixture
def dev(tmp_path: Path) -> Dev:
    return Dev(tmp_path / "dev")


def line(dev: Dev, port: Path) -> Driver:
    return Driver(SerialTransport(str(port), baud=9600, folders=dev.folders), baud=9600, clock=Clock())


async def read(driver: Driver) -> int:
    return (await driver.run(ReadRegisters(1, 3, 0, 1))).value[0]


async def recover(driver: Driver) -> None:
    for _ in range(100):
        if await driver.ensure_open() is None:
            return
        await asyncio.sleep(driver.reopen_pause_s)
    raise AssertionError("it was not found again")


async def _replugged(dev: Dev, number: int, times: int, longest_away_s: float) -> list[float]:
    """Seconds from each return of the adapter to its next answer."""
    rng, loop = random.Random(number), asyncio.get_running_loop()
    adapter = Adapter(dev, number)
    adapter.plug(dev.folder / f"ttyUSB{number}")
    driver, took = line(dev, adapter.node or Path()), []
    await recover(driver)
    assert await read(driver) == number
    for _ in range(times):
        old = adapter.node or Path()
        adapter.unplug()
        with pytest.raises(LineDown):
            await read(driver)
        back = loop.create_task(_plugged_later(dev, adapter, old, rng, longest_away_s))
        await recover(driver)
        answer = await read(driver)
        took.append(loop.time() - await back)
        assert answer == number
    await driver.close()
    adapter.unplug()
    return took


async def _plugged_later(dev: Dev, adapter: Adapter, old: Path, rng: random.Random, longest_s: float) -> float:
    await asyncio.sleep(rng.uniform(0, longest_s))
    adapter.plug(dev.another_name(rng, old))
    return asyncio.get_running_loop().time()


async def test_pain_09_adapters_that_come_back_under_other_names_are_found_again(
    dev: Dev, pytestconfig: pytest.Config, figure: Figure
) -> None:
    proof = bool(pytestconfig.getoption("proof"))
    replugs, count, away_s = (PROOF_REPLUGS, PROOF_LINES, 3.0) if proof else (REPLUGS, LINES, 0.1)
    await asyncio.sleep(0)
    before = set(os.listdir("/proc/self/fd"))
    lines = await asyncio.gather(*(_replugged(dev, n, replugs // count, away_s) for n in range(count)))
    took = sorted(seconds for line in lines for seconds in line)
    assert len(took) == replugs and took[-1] < (PROOF_RECOVERED_S if proof else RECOVERED_S)
    assert set(os.listdir("/proc/self/fd")) == before
    figure("replugs, all renamed, all recovered", replugs)
    figure("recovery after the return, longest [s]", round(took[-1], 3))
    figure("recovery after the return, median [s]", round(took[replugs // 2], 3))


async def test_pain_09_the_name_of_a_lost_adapter_does_not_lead_to_another_one(dev: Dev) -> None:
    mine, other = Adapter(dev, 1), Adapter(dev, 2)
    node = dev.folder / "ttyUSB0"
    mine.plug(node)
    driver = line(dev, node)
    await recover(driver)
    mine.unplug()
    other.plug(node)
    with pytest.raises(LineDown):
        await read(driver)
    assert await driver.ensure_open() == f"{node} is another adapter now than the one that was opened; is that one plugged in?"
    mine.plug(dev.folder / "ttyUSB1")
    assert await driver.ensure_open() is None and await read(driver) == 1
    await driver.close()
    mine.unplug()
    other.unplug()


async def test_pain_09_a_new_adapter_in_the_same_socket_takes_the_place_of_the_old_one(dev: Dev) -> None:
    old, new = Adapter(dev, 1), Adapter(dev, 2)
    old.plug(dev.folder / "ttyUSB0", "pci-usb-0:7")
    driver = line(dev, dev.folder / "ttyUSB0")
    await recover(driver)
    old.unplug()
    new.plug(dev.folder / "ttyUSB5", "pci-usb-0:7")
    with pytest.raises(LineDown):
        await read(driver)
    assert await driver.ensure_open() is None and await read(driver) == 2
    await driver.close()
    new.unplug()


async def test_pain_09_a_link_that_was_configured_is_not_left_for_another(dev: Dev) -> None:
    mine, other = Adapter(dev, 1), Adapter(dev, 2)
    mine.plug(dev.folder / "ttyUSB0", "pci-usb-0:7")
    driver = line(dev, mine.link)
    await recover(driver)
    mine.unplug()
    other.plug(dev.folder / "ttyUSB0", "pci-usb-0:7")
    with pytest.raises(LineDown):
        await read(driver)
    assert "does not exist" in (await driver.ensure_open() or "")
    await driver.close()
    other.unplug()
