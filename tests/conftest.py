"""What all tests share: the real MQTT broker, and the figures of a proof run (`make proof`)."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

settings.register_profile("wattgate", deadline=None)  # a busy machine is no finding
settings.load_profile("wattgate")

PROOF = Path(__file__).parent / "PROOF.md"
PROOF_SCALE = 100
"""How much longer a proof runs than the everyday tests: what takes a second then takes minutes, and an hour in all is bearable."""

Figure = Callable[[str, object], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--proof", action="store_true", help="run at full scale and add the figures of what passed to tests/PROOF.md")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("proof") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Proof())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole systems first: they wait more than they work, and one left to the end would run alone."""
    items.sort(key=lambda item: "system" not in item.path.parts)


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """A program that ran within a test leaves no log behind that writes to the test's own, closed files."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def proof_scale(pytestconfig: pytest.Config) -> int:
    """What a test multiplies its rounds, rows or virtual days by: 1 every day, PROOF_SCALE under --proof."""
    return PROOF_SCALE if pytestconfig.getoption("proof") else 1


@pytest.fixture
def figure(record_property: Figure) -> Figure:
    """figure(name, value) keeps what the test has measured; under --proof it is a line of PROOF.md, unit in the name."""
    return record_property


class Proof:
    """Collects the figures of passed tests, from all workers, and adds one section for the run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.lines += [f"| `{report.nodeid}` | {name} | {value} |" for name, value in report.user_properties]

    def pytest_sessionfinish(self) -> None:
        if self.lines:
            machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
            head = [f"\n## {datetime.date.today()}, {machine}\n", "| test | figure | value |", "| --- | --- | --- |"]
            with PROOF.open("a") as file:
                file.write("\n".join([*head, *self.lines]) + "\n")


@pytest.fixture(scope="session")
def mosquitto() -> str:
    """The path of the real Mosquitto, which each test starts on a port of its own; where it is missing the test is skipped."""
    path = shutil.which("mosquitto", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")
    if path is None:
        pytest.skip("Mosquitto is not installed: install the Debian package mosquitto to run the tests against it.")
    return path
