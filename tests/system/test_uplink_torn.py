"""The power fails while the outbox is written: whatever of the log is torn, what is there was there after one of the commits."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from gateway.adapters.store import Store
from gateway.domain.events import Outgoing, Topic
from gateway.services.acknowledge import EPOCH, acknowledge
from gateway.services.ports import Tx
from tests.conftest import PROOF_SCALE, Figure
from tests.system.proofs import rows

NOW = 1_767_225_600_000
COMMITS = 60

State = tuple[int, int, int, int, int, int]
"""Last number, waiting, published, acknowledged, dropped; rows."""


def state(tx: Tx) -> State:
    found = tx.outbox_state()
    return found.last, found.waiting, found.published, found.acknowledged, found.dropped, tx.outbox_size().rows


def act(tx: Tx, rng: Random) -> None:
    """What happens to an outbox in one transaction."""
    for _ in range(rng.randrange(1, 30)):
        tx.add_outgoing(Outgoing(rng.choice((Topic.READING, Topic.EVENT)), "m1", NOW, {"text": "x" * rng.randrange(400)}))
    last = tx.outbox_state().last
    tx.mark_published(range(max(1, last - 40), last - 5), NOW)
    acknowledge(tx, tx.meta(EPOCH) or "", rng.randrange(last), (), NOW)
    if rng.random() < 0.3:
        tx.drop_acknowledged((Topic.READING,), NOW + 1, 20)
        tx.drop_outgoing([row.seq for row in tx.waiting_of(Topic.READING, 0, 3)])


def torn(log: bytes, rng: Random) -> bytes:
    """As a disk leaves it: an end that is missing, that was never written, that is of something else, a bit that fell over."""
    at = rng.randrange(len(log))
    bad = bytes((log[at] ^ 1 << rng.randrange(8),))
    ends = (b"", bytes(len(log) - at), rng.randbytes(len(log) - at), bad + log[at + 1 :], bytes(512) + log[at + 512 :])
    return log[:at] + rng.choice(ends)


@pytest.mark.timeout(900)
def test_a_torn_log_leaves_one_of_the_states_that_were_committed(tmp_path: Path, proof_scale: int, figure: Figure) -> None:
    rng, states = Random(4), set[State]()
    cuts = 2000 if proof_scale == PROOF_SCALE else 40
    Store.open(str(tmp_path / "store.db")).close()  # its creation is not what is torn
    with Store.open(str(tmp_path / "store.db")) as store:
        states.add(store.read_now(state))
        epoch = store.read_now(lambda tx: tx.meta(EPOCH))
        for _ in range(COMMITS):
            store.write_now(lambda tx: act(tx, rng))
            states.add(last := store.read_now(state))
        data, log = (tmp_path / "store.db").read_bytes(), (tmp_path / "store.db-wal").read_bytes()
    seen = set[State]()
    for n in range(cuts):
        folder = tmp_path / str(n % 2)
        folder.mkdir(exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        file = folder / "store.db"
        file.write_bytes(data)
        (folder / "store.db-wal").write_bytes(log if n == 0 else torn(log, rng))
        with Store.open(str(file)) as store:
            found = store.read_now(state)
            seen.add(found)
            assert found in states, n
            assert store.read_now(lambda tx: tx.meta(EPOCH)) == epoch
            numbers(file, found)
            store.write_now(lambda tx: tx.add_outgoing(Outgoing(Topic.EVENT, "gateway", NOW, {})))
            assert store.read_now(lambda tx: tx.outbox_state()).last == found[0] + 1
    assert last in seen and len(seen) > min(cuts, COMMITS) // 4
    figure("torn logs of the outbox opened, states found", f"{cuts}, {len(seen)}")


def numbers(file: Path, found: State) -> None:
    """The counters kept beside the rows are those of the rows."""
    last, waiting, _, _, dropped, count = found
    [row] = rows(file, "SELECT COUNT(*) AS n, MAX(seq) AS last, COUNT(*) - COUNT(acknowledged_ms) AS waiting FROM outbox")
    assert (row["n"], row["waiting"]) == (count, waiting)
    assert (row["last"] or last) <= last and row["n"] + dropped <= last
