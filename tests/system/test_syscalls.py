"""A top-up, a bill, a cut and a restore, with a kill, an I/O error or a full disk at every system call that touches the store.

strace stops the process at the n-th call of a kind on the store's files. Afterwards: nothing that was answered is lost, nothing is
doubled when all is repeated under the same identities, and nobody is answered whose answer the disk does not hold.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gateway.adapters.store import Store, store_file
from gateway.domain.ledger import EntryKind
from gateway.domain.meters import Contact
from gateway.domain.requests import PaymentIdentity
from gateway.services.ports import Tx
from gateway.services.verify_ledger import verify_ledger
from tests.gateway.services.house import TUESDAY_TEN
from tests.system.bodies import FATAL, NO_STORE
from tests.system.forks import Forks, Line

WRITES = ("openat", "write", "pwrite64", "fsync", "fdatasync", "ftruncate", "rename", "unlink")
SYNCS = ("fsync", "fdatasync")
FAULTS = {
    "signal=KILL": WRITES,
    "error=EIO": (*WRITES, "pread64"),
    "error=ENOSPC": ("openat", "write", "pwrite64", "ftruncate"),
}
EVERYDAY = 6  # calls of each fault that `make test` takes, evenly over the run; `make proof` takes all
FIRST_MS, LATER_MS = TUESDAY_TEN + 600_000, TUESDAY_TEN + 1_200_000


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: install the Debian package strace to fail at every system call.")
    with Forks(tmp_path_factory.mktemp("forks") / "log") as running:
        yield running


@pytest.fixture(scope="module")
def seeded(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a house of a little credit, its meter read once."""
    data = tmp_path_factory.mktemp("seed") / "data"
    assert forks.run("seed", data=str(data)) == ([], 0), forks.stderr()
    return data


@dataclass(slots=True)
class Told:
    """What a run said: receipts by serial, whether they were new, where the relay was sent to, how often it could not."""

    receipts: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, str] = field(default_factory=dict)
    contact: str = "closed"
    unavailable: int = 0
    words: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, said: Sequence[Line], contact: str = "closed") -> Told:
        told = cls(contact=contact)
        for word, *rest in said:
            told.words[str(word)] += 1
            if word == "paid":
                serial, told.verdicts[str(serial)], told.receipts[str(serial)] = (str(part) for part in rest)
            elif word == "wire":
                told.contact = "open" if rest == ["cut"] else "closed"
            elif word == "unavailable":
                told.unavailable += 1
        return told


def traced(forks: Forks, data: Path, out: Path, *options: str, all_files: bool = False) -> tuple[Told, int]:
    """A run on this data directory under strace, which looks at nothing but the store's files unless told otherwise."""
    file = store_file(data)
    paths = [str(data), str(data / "lock"), *(f"{file}{end}" for end in ("", "-wal", "-shm", "-journal"))]
    watched = () if all_files else (word for path in paths for word in ("-P", path))
    pid = forks.begin("canonical", data=str(data), now_ms=FIRST_MS, contact="closed")
    command = ["strace", "-f", "-y", "-s", "16", "-o", str(out), *watched, *options, "-p", str(pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        if "attached" not in (heard := strace.stderr.readline()):
            forks.kill()
            pytest.skip(f"this machine does not let strace look at a process: {heard.strip()}")
        forks.go()
        said, code = forks.ended()
        strace.wait(240)
    return Told.of(said), code


@dataclass(frozen=True, slots=True)
class Call:
    """A system call of a run: the n-th of its name; whether it is the sync that a commit waits for."""

    name: str
    n: int
    file: str
    commits: bool


def calls(trace: Path) -> list[Call]:
    """In the order of the run. A sync of the log that was written to is a commit's, every other one a checkpoint's."""
    found: list[Call] = []
    count: Counter[str] = Counter()
    unsynced = False
    for line in trace.read_text().splitlines():
        if (call := re.match(r"\d+ +(\w+)\((?:\w+<([^>]*)>)?", line)) is None:
            continue
        name, path = call[1], call[2] or ""
        count[name] += 1
        of_log = path.endswith(("-wal", "-journal"))
        found.append(Call(name, count[name], Path(path).name, of_log and unsynced and name in SYNCS))
        unsynced = (unsynced and not (of_log and name in SYNCS)) or (of_log and name == "pwrite64")
    return found


def commits(found: Sequence[Call]) -> list[Call]:
    """The syncs that commits wait for."""
    return [call for call in found if call.commits]


@dataclass(frozen=True, slots=True)
class Books:
    """What must be the same after every fault and its repetition."""

    entries: tuple[tuple[str, tuple[tuple[str, int], ...]], ...]
    receipts: tuple[str | None, ...]
    contact: Contact
    open_commands: int


def read_books(data: Path) -> Books:
    """The books of a store that verifies."""

    def look(tx: Tx) -> Books:
        assert verify_ledger(tx)[1] is None
        payments = [tx.payment(PaymentIdentity("bank", "", "", serial)) for serial in ("S-1", "S-2")]
        entries = tuple((e.entry.kind.value, tuple((g.account, g.micro) for g in e.entry.legs)) for e in tx.entries(0, 1000))
        meter = tx.meter("m1")
        assert meter is not None
        return Books(entries, tuple(p.receipt if p else None for p in payments), meter.observed, len(tx.open_commands()))

    with Store.open(str(store_file(data)), read_only=True) as store:
        with store.database.reader.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").fetchall() == [("ok",)]
        return store.read_now(look)


def heal(forks: Forks, data: Path, told: Told) -> Books:
    """What was answered is there; all is repeated; then the books are those of a run without a fault."""
    before = dict(zip(("S-1", "S-2"), read_books(data).receipts, strict=True))
    assert {serial: before[serial] for serial in told.receipts} == told.receipts, "answered, and not in the store as answered"
    said, code = forks.run("canonical", data=str(data), now_ms=LATER_MS, contact=told.contact)
    again = Told.of(said, told.contact)
    assert (code, again.words["end"], again.words["unavailable"]) == (0, 1, 0), (code, said, forks.stderr())
    posted = {serial: "posted" if receipt is None else "repeated" for serial, receipt in before.items()}
    assert again.verdicts == posted
    books = read_books(data)
    assert dict(zip(("S-1", "S-2"), books.receipts, strict=True)) == again.receipts
    assert again.contact == "closed" and books.contact is Contact.CLOSED and books.open_commands == 0
    return books


EXPECTED = (
    (EntryKind.OPENING.value, (("customer:A-1", 2_000_000), ("equity:opening", -2_000_000))),
    (EntryKind.TOPUP.value, (("customer:A-1", 5_000_000), ("bank:bank", -5_000_000))),
    (EntryKind.CHARGE.value, (("customer:A-1", -10_000_000), ("revenue:energy", 10_000_000))),
    (EntryKind.TOPUP.value, (("customer:A-1", 50_000_000), ("bank:bank", -50_000_000))),
)


@pytest.mark.parametrize("fault", FAULTS, ids=["killed", "I/O error", "disk full"])
def test_a_fault_at_every_call_that_touches_the_store_loses_and_doubles_nothing(
    fault: str, forks: Forks, seeded: Path, tmp_path: Path, proof_scale: int, figure: Callable[[str, object], None]
) -> None:
    data = Path(shutil.copytree(seeded, tmp_path / "counted"))
    told, code = traced(forks, data, tmp_path / "trace", "-e", f"trace={','.join(FAULTS[fault])}")
    assert (code, told.words["wire"]) == (0, 2), "a top-up, a bill, a cut and a restore"
    moments = sorted(calls(tmp_path / "trace"), key=lambda call: (call.name, call.n))
    outcomes: Counter[str] = Counter()
    for call in moments if proof_scale > 1 else [*moments[:: -(-len(moments) // EVERYDAY)], *commits(moments)[::5]]:
        data = Path(shutil.copytree(seeded, tmp_path / "data"))
        trace = tmp_path / "fault"
        told, code = traced(forks, data, trace, "-e", f"trace={call.name}", "-e", f"inject={call.name}:{fault}:when={call.n}")
        try:
            outcomes[judged(fault, call, told, code, trace.read_text())] += 1
            assert heal(forks, data, told).entries == EXPECTED
        except AssertionError as found:
            raise AssertionError(f"{fault} at {call}: {found}") from found
        shutil.rmtree(data)
    figure(f"{fault}: system calls", outcomes.total())
    figure(f"{fault}: what came of it", ", ".join(f"{many} {what}" for what, many in sorted(outcomes.items())))


def judged(fault: str, call: Call, told: Told, code: int, trace: str) -> str:
    """What came of a fault, in a few words; fails where it is not what may come of it.

    A checkpoint that fails has no effect: what it would have carried over is in the log, synced, until one succeeds.
    """
    if fault == "signal=KILL":
        assert code == -9
        return "killed"
    assert "INJECTED" in trace
    assert code in (0, FATAL, NO_STORE), code
    if code == NO_STORE:
        assert told.words["paid"] == 0 and told.words["refused"] == 1
        return "did not open"
    if call.commits:
        assert code == FATAL, "a commit's sync failed, and the process went on (F6)"
    if code == FATAL:
        assert told.unavailable == 1
        return "unavailable, and the process ended"
    return "unavailable and repeated" if told.unavailable else "without effect"


def test_nobody_is_answered_before_the_log_is_synced(forks: Forks, seeded: Path, tmp_path: Path) -> None:
    """Read from the system calls themselves: before each line to the bank the last write to the log was followed by its sync."""
    data, trace = Path(shutil.copytree(seeded, tmp_path / "data")), tmp_path / "trace"
    told, code = traced(forks, data, trace, "-e", "trace=write,pwrite64,fsync,fdatasync", all_files=True)
    assert (code, len(told.receipts)) == (0, 2)
    unsynced, answers = False, 0
    for call, line in zip(calls(trace), (line for line in trace.read_text().splitlines() if "(" in line), strict=False):
        unsynced = (unsynced and not call.commits) or (call.file.endswith("-wal") and call.name == "pwrite64")
        if call.name == "write" and "paid" in line:
            assert not unsynced, f"answered before it was on disk: {line}"
            answers += 1
    assert answers == 2 and len(commits(calls(trace))) >= 10
