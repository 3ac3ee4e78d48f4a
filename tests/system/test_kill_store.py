"""`kill -9` of the store at 10,000 random moments: payments by many callers, bills, cuts and restores, through the writer's thread.

The books are read here without the store's own code, after every kill only what is new in them; the verifier reads all of them
at every hundredth. What was answered is there, once; what was not is repeated under its identity.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

from gateway.adapters.store import Store
from gateway.adapters.store.engine import sqlite_module
from gateway.domain.ledger import GENESIS
from gateway.services.verify_ledger import verify_ledger
from tests.system.forks import ENDS_S, Forks, Line

KILLS, PROOF_KILLS = 20, 10_000
A_STORE = 500  # kills, then a new store begins: its creation is killed at too, and its books stay short enough to be verified often
VERIFIED = 100  # kills between two looks of the verifier at all of the books
CREATING, CREATING_S = 3, 0.2  # the first kills of a store, while its tables are made
EARLY, EARLY_S = 0.2, 0.03  # the share of kills while the store is opened, its log recovered and its archive loaded
LINES, AFTER_S = 150, 0.02  # the others come when up to so many lines were said, and a moment later: commits take 1 to 20 ms
PRICE_MICRO = 500  # a Wh, in the tariff of the street


@contextmanager
def looked_at(file: Path) -> Iterator[sqlite3.Connection]:
    """The database as it lies there: a connection that may not write leaves the log to whoever opens the store next."""
    connection = sqlite_module().connect(f"file:{file}?mode=ro", uri=True)
    try:
        yield connection
    finally:
        connection.close()


class Books:
    """What the bank and the wires know of one store, and how far its books have been read."""

    def __init__(self, folder: Path) -> None:
        self.data, self.file = folder, folder / "wattgate.db"
        self.contacts: dict[str, str] = {}
        self.asked: dict[str, tuple[str, int]] = {}
        self.answered: dict[str, int] = {}
        self.unknown: set[str] = set()
        self.entry, self.hash, self.seq = 0, GENESIS, 0
        self.entries: dict[str, int] = {}
        self.sums: dict[str, int] = {}
        self.billed: dict[str, int] = {}
        self.cuts = 0

    def hear(self, said: Iterable[Line]) -> None:
        """Take in what a run said before it was killed."""
        for word, *rest in said:
            if word == "asked":
                serial, account, micro = rest
                self.asked[str(serial)] = (str(account), int(str(micro)))
                self.unknown.add(str(serial))
            elif word == "paid":
                serial, _, entry = rest
                assert self.answered.setdefault(str(serial), int(str(entry))) == entry, f"{serial} was answered otherwise before"
                self.unknown.discard(str(serial))
            elif word == "wire":
                name, contact = rest
                self.contacts[str(name)] = str(contact)
                self.cuts += contact == "open"

    def again(self, rng: Random) -> list[tuple[str, str, int]]:
        """What a bank repeats: all that it does not know the end of, and some that it does."""
        repeated = [*sorted(self.unknown), *rng.sample(sorted(self.answered), min(2, len(self.answered)))]
        return [(serial, *self.asked[serial]) for serial in repeated]

    def check(self) -> None:
        """All that was answered is there, what is new in the books hangs together, and nothing is there twice."""
        if not self.file.exists():
            assert not self.answered
            return
        with looked_at(self.file) as db:
            if db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'head'").fetchone() == (0,):
                assert not self.answered, "the store has no tables, and it had answered"
                return
            db.execute("BEGIN")
            self._read_journal(db)
            self._read_rest(db)
        wrong = {serial for serial, entry in self.answered.items() if self.entries.get(serial) != entry}
        assert not wrong, f"{wrong} were answered and are not in the ledger as answered"
        assert set(self.entries) <= set(self.asked), "in the ledger and never paid"

    def _read_journal(self, db: sqlite3.Connection) -> None:
        if self.entry:
            kept = db.execute("SELECT hash FROM entry WHERE number = ?", (self.entry,)).fetchone()
            assert kept == (self.hash,), f"entry {self.entry} was there at the last look"
        legs: dict[int, list[tuple[str, int]]] = {}
        for number, account, micro in db.execute("SELECT entry, account, micro FROM leg WHERE entry > ?", (self.entry,)):
            legs.setdefault(number, []).append((account, micro))
            self.sums[account] = self.sums.get(account, 0) + micro
        new = db.execute("SELECT number, kind, ref, previous, hash FROM entry WHERE number > ? ORDER BY number", (self.entry,))
        for number, kind, ref, previous, hash_ in new:
            assert (number, previous) == (self.entry + 1, self.hash), f"entry {number} does not follow {self.entry}"
            assert sum(micro for _, micro in legs[number]) == 0
            self.entry, self.hash = number, hash_
            if kind == "topup":
                self._topup(number, json.loads(ref)["serial"], legs[number])
            elif kind == "charge":
                self._charge(json.loads(ref), legs[number])
        assert db.execute("SELECT number, hash FROM head WHERE name = 'journal'").fetchone() == (self.entry, self.hash)

    def _topup(self, number: int, serial: str, legs: list[tuple[str, int]]) -> None:
        assert serial not in self.entries, f"{serial} was posted twice"
        self.entries[serial] = number
        account, micro = self.asked[serial]
        assert sorted(legs) == [("bank:bank", -micro), (f"customer:{account}", micro)]

    def _charge(self, ref: dict[str, Any], legs: list[tuple[str, int]]) -> None:
        start, end = map(int, ref["energy_import"].split("-"))
        assert self.billed.setdefault(ref["meter"], start) == start, f"{ref['meter']} is billed from {start}"
        assert dict(legs)[f"customer:{ref['meter']}"] == -(end - start) * PRICE_MICRO
        self.billed[ref["meter"]] = end

    def _read_rest(self, db: sqlite3.Connection) -> None:
        balances = dict(db.execute("SELECT account, micro FROM balance"))
        assert balances == self.sums
        count, last = db.execute("SELECT count(*), max(seq) FROM outbox WHERE seq > ?", (self.seq,)).fetchone()
        assert count == (last or self.seq) - self.seq, "the outbox has a hole"
        self.seq = last or self.seq
        assert db.execute("SELECT number FROM head WHERE name = 'outbox'").fetchone() == (self.seq,)

    def verify(self) -> None:
        """Everything, by the verifier and by SQLite itself."""
        with Store.open(str(self.file), read_only=True) as store:
            assert store.read_now(verify_ledger) == (self.entry, None)
        with looked_at(self.file) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    def healed(self) -> None:
        """After a run to a quiet end: nothing is unknown, and every relay stands where the books say."""
        self.check()
        self.verify()
        assert not self.unknown and set(self.entries) == set(self.answered)
        with looked_at(self.file) as db:
            seen = dict(db.execute("SELECT id, observed FROM meter"))
            assert seen == {name: self.contacts.get(name, "closed") for name in seen}
            assert db.execute("SELECT count(*) FROM command WHERE final = 0").fetchone() == (0,)
            assert db.execute("SELECT count(*) FROM payment").fetchone() == (len(self.answered),)


def suffer(forks: Forks, books: Books, kills: int, rng: Random) -> None:
    """So many kills of one store, then a run to the end."""
    for n in range(1, kills + 1):
        books.hear(killed(forks, books, n, rng))
        books.check()
        if n % VERIFIED == 0:
            books.verify()
    said, code = forks.run("storm", **arguments(books, kills + 1, rng), heal=True)
    books.hear(said)
    assert code == 0 and said[-1] == ["end"], (code, said[-1:], forks.stderr())
    books.healed()


def killed(forks: Forks, books: Books, n: int, rng: Random) -> list[Line]:
    """What one run said until it was killed."""
    early_s = CREATING_S if n <= CREATING else EARLY_S if rng.random() < EARLY else None
    forks.begin("storm", **arguments(books, n, rng), heal=False)
    forks.go()
    if early_s is None:
        forks.hear(ENDS_S, lines=rng.randrange(LINES))
    forks.hear(rng.uniform(0, early_s or AFTER_S))
    forks.kill()
    said, code = forks.ended()
    assert code == -9, f"it ended by itself with {code}: {forks.stderr()}"
    return said


def arguments(books: Books, run: int, rng: Random) -> dict[str, object]:
    seed, again = rng.getrandbits(32), books.again(rng)
    return {"data": str(books.data), "run": run, "seed": seed, "contacts": books.contacts, "again": again}


def test_a_store_killed_at_random_moments_keeps_what_it_answered_and_doubles_nothing(
    tmp_path: Path, proof_scale: int, figure: Callable[[str, object], None]
) -> None:
    kills = KILLS if proof_scale == 1 else PROOF_KILLS
    seed = int(os.environ.get("KILL_SEED") or SystemRandom().getrandbits(32))
    print(f"KILL_SEED={seed} draws the same moments again")
    rng, begun, answered, entries, cuts, done = Random(seed), time.monotonic(), 0, 0, 0, 0
    with Forks(tmp_path / "forks.log") as forks:
        while done < kills:
            books = Books(tmp_path / f"from {done}")
            suffer(forks, books, min(A_STORE, kills - done), rng)
            done += min(A_STORE, kills - done)
            answered, entries, cuts = answered + len(books.answered), entries + books.entry, cuts + books.cuts
            assert "Traceback" not in forks.stderr(), forks.stderr()
    assert answered > 3 * kills and cuts > 0
    figure("kills", kills)
    figure("seed", seed)
    figure("top-ups answered, ledger entries, cuts sent", f"{answered}, {entries}, {cuts}")
    figure("in all s", round(time.monotonic() - begun))
