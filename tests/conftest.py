"""What all tests share: the real MQTT broker, the figures of a proof run (`make proof`), and what keeps the everyday run short."""

from __future__ import annotations

import contextlib
import datetime
import gc
import importlib
import os
import platform
import shutil
import signal
import tempfile
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

EXAMPLES, PROOF_EXAMPLES = 40, 500
"""Of a property that names no number of its own, or a share of this one: every day a look, as a proof a search."""

settings.register_profile("wattgate", deadline=None, max_examples=EXAMPLES)  # a busy machine is no finding
settings.register_profile("proof", deadline=None, max_examples=PROOF_EXAMPLES)
settings.load_profile("wattgate")

TESTS = Path(__file__).parent
PROOF = TESTS / "PROOF.md"
PROOF_SCALE = 100
"""How much longer a proof runs than the everyday tests: what takes a second then takes minutes, and an hour in all is bearable."""

MEMORY = Path("/dev/shm")
MEMORY_BYTES = 1 << 30
"""What must be free there. A whole run leaves some 300 MB behind where also what passed is kept."""

FIRST = ("system", "simulation", "entrypoints")
"""Folders whose files take longest, in this order: a long file left to the end would run alone beside an idle core."""

WAITING, ALL_BEGUN = ("system", "cli"), 0.8
"""Folders whose files mostly wait, and the share of the other files beside which they are spread: what comes last is short."""

SLOWEST_FILES = 15
TOLD_FROM_S = 60

Figure = Callable[[str, object], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--proof", action="store_true", help="run at full scale and add the figures of what passed to tests/PROOF.md")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell; what the tests start would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.getoption("proof"):
        settings.load_profile("proof")
        if not hasattr(config, "workerinput"):
            config.pluginmanager.register(Proof())
    elif MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES:
        _keep_in_memory()


def _keep_in_memory() -> None:
    """The tests' files off the disk, for whose flushes a simulated street waits a third of its time; a proof has them on the disk.

    What is durable is seen by what a process asks of the system (tests/system/test_syscalls.py), not by the disk below it.
    """
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    os.environ.setdefault("TMPDIR", str(MEMORY))
    tempfile.tempdir = None  # as it was before somebody asked


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """What 15,000 tests are made of stays to the end: no garbage collection needs to walk through it."""
    gc.disable()
    try:
        if (worker := getattr(session.config, "workerinput", None)) is not None:
            _load_share(session.config.args, int(worker["workerid"].removeprefix("gw")), worker["workercount"])
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


def _load_share(folders: Sequence[str], number: int, workers: int) -> None:
    """Each worker begins with files that the others come to later: in a new checkout one of them compiles each file, not all."""
    for folder in folders:
        for file in sorted(Path(folder).resolve().rglob("test_*.py"))[number::workers]:
            with contextlib.suppress(Exception, pytest.skip.Exception):  # told where it is collected
                importlib.import_module(".".join(file.relative_to(TESTS.parent).with_suffix("").parts))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, and beside those that wait always some that compute. Within a file the order stays."""
    items.sort(key=lambda item: next((n for n, folder in enumerate(FIRST) if folder in item.path.parts), len(FIRST)))
    files = dict.fromkeys(item.path for item in items)
    waiting = [file for file in files if not set(WAITING).isdisjoint(file.parts)]
    place = {file: n / len(files) for n, file in enumerate(files)}
    place |= {file: ALL_BEGUN * n / len(waiting) for n, file in enumerate(waiting)}
    items.sort(key=lambda item: place[item.path])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Where the time of a long run went, so that whoever makes it longer sees it."""
    spent: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                spent[report.nodeid.partition("::")[0]] += report.duration
    if (total := sum(spent.values())) >= TOLD_FROM_S:
        terminalreporter.section(f"slowest files of {total:.0f} s in all", sep="-")
        for file, seconds in sorted(spent.items(), key=lambda each: -each[1])[:SLOWEST_FILES]:
            terminalreporter.write_line(f"{seconds:7.1f} s  {file}")


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
