"""Random batches against a model of a few lines: what was answered is there, what failed is not, and nothing in between."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.adapters.store import Store
from gateway.domain.ledger import Audit, bank_clearing, customer
from gateway.domain.records import OutboxState
from gateway.domain.supply import CommandState
from gateway.services.ports import Duplicate, Tx, Unavailable
from tests.gateway.adapters.store import rows
from tests.gateway.adapters.store.contract import Boom, book
from tests.gateway.adapters.store.rows import entry

ACCOUNTS, KEYS, COMMANDS, SERIALS = "ab", "kl", "xyz", "1234"


@dataclass
class Model:
    """A store in memory."""

    balances: dict[str, int] = field(default_factory=dict)
    entries: int = 0
    payments: dict[str, int] = field(default_factory=dict)
    commands: dict[str, CommandState] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    published: list[bool] = field(default_factory=list)
    acknowledged: list[bool] = field(default_factory=list)

    def copy(self) -> Model:
        return Model(**{name: type(value)(value) for name, value in vars(self).items()})

    def outbox(self) -> OutboxState:
        last, done = len(self.published), sum(self.acknowledged)
        low = self.acknowledged.index(False) + 1 if done < last else last + 1
        return OutboxState(last, low, last - done, sum(self.published), done)


Step = Callable[[Tx, Model], None]


def top_up(account: str, micro: int, serial: str) -> Step:
    def step(tx: Tx, model: Model) -> None:
        number = book(tx, entry(micro, account)).number
        tx.add_payment(replace(rows.PAYMENT, identity=replace(rows.IDENTITY, serial=serial), amount_micro=micro, entry=number))
        assert serial not in model.payments, "the store took a payment twice"
        model.entries += 1
        assert number == model.entries
        model.payments[serial] = micro
        for name, move in ((customer(account), micro), (bank_clearing("icbc"), -micro)):
            model.balances[name] = model.balances.get(name, 0) + move
        assert tx.balance(customer(account), "CNY") == model.balances[customer(account)]

    return step


def command(ident: str, state: CommandState) -> Step:
    """Added once; where it is there already the use case notices and changes it."""

    def step(tx: Tx, model: Model) -> None:
        wanted = replace(rows.COMMAND, id=ident, state=state)
        try:
            tx.add_command(wanted)
            assert ident not in model.commands
        except Duplicate:
            assert ident in model.commands
            tx.save_command(wanted)
        model.commands[ident] = state

    return step


def remember(key: str, value: str) -> Step:
    def step(tx: Tx, model: Model) -> None:
        tx.set_meta(key, value)
        model.meta[key] = value

    return step


def message(tx: Tx, model: Model) -> None:
    model.published.append(False)
    model.acknowledged.append(False)
    assert tx.add_outgoing(rows.MESSAGE) == len(model.published)


def publish(seqs: list[int]) -> Step:
    def step(tx: Tx, model: Model) -> None:
        tx.mark_published(seqs, 1)
        for seq in seqs:
            if seq <= len(model.published):
                model.published[seq - 1] = True

    return step


def acknowledge(upto: int, also: tuple[int, int]) -> Step:
    def step(tx: Tx, model: Model) -> None:
        new = [n for n, done in enumerate(model.acknowledged, 1) if not done and (n <= upto or also[0] <= n <= also[1])]
        assert tx.acknowledge(upto, [also], 1) == len(new)
        for n in new:
            model.acknowledged[n - 1] = True
        assert tx.outbox_state() == model.outbox()

    return step


def boom(tx: Tx, model: Model) -> None:
    raise Boom


def vanish(tx: Tx, model: Model) -> None:
    """What SQLite does on a full disk: a statement ends the whole transaction, without a word to anybody but this use case."""
    tx.entries(0, 1)
    tx._session._raw.execute("ROLLBACK")  # type: ignore[attr-defined]


seq = st.integers(1, 12)
STEPS = st.one_of(
    st.builds(top_up, st.sampled_from(ACCOUNTS), st.integers(1, 10**12), st.sampled_from(SERIALS)),
    st.builds(command, st.sampled_from(COMMANDS), st.sampled_from([CommandState.QUEUED, CommandState.SENT, CommandState.VERIFIED])),
    st.builds(remember, st.sampled_from(KEYS), st.text("vw", max_size=2)),
    st.just(message),
    st.builds(publish, st.lists(seq, max_size=4)),
    st.builds(acknowledge, st.integers(0, 12), st.tuples(seq, seq)),
    st.just(message),
    st.just(boom),
)
USECASES = st.lists(STEPS, min_size=1, max_size=5)
BATCHES = st.lists(st.tuples(st.lists(USECASES, min_size=1, max_size=5), st.integers(0, 30)), min_size=1, max_size=6)


class Run:
    """A use case made of steps. It runs once, on the model's newest state; what it did to the model counts if it was answered."""

    def __init__(self, books: Books, steps: list[Step]) -> None:
        self.books, self.steps = books, steps

    def __call__(self, tx: Tx) -> str:
        attempt = self.books.running.copy()
        for step in self.steps:
            step(tx, attempt)
        self.books.running = attempt
        return "done"


@dataclass
class Books:
    """The model as it is in the running batch, and as it was after the last one."""

    running: Model = field(default_factory=Model)


async def check(file: Path, batches: list[tuple[list[list[Step]], int]]) -> None:
    store, books, settled = Store.open(str(file), inline=True), Books(), Model()
    for usecases, ruin in batches:
        runs = [Run(books, steps) for steps in usecases]
        ruined = ruin < len(runs)
        if ruined:
            runs[ruin].steps = [*runs[ruin].steps, vanish]
        answers = await asyncio.gather(*map(store.write, runs), return_exceptions=True)
        lost = any(isinstance(answer, Unavailable) for answer in answers)
        if lost:
            assert ruined and all(isinstance(answer, Unavailable) for answer in answers)
            books.running = settled
        assert all(answer == "done" or isinstance(answer, Boom | Duplicate | Unavailable) for answer in answers), answers
        settled = books.running
        compare(store, settled)
    store.close()
    with Store.open(str(file), read_only=True) as again:
        compare(again, settled)


def compare(store: Store, model: Model) -> None:
    def look(tx: Tx) -> None:
        assert {name: micro for (_, name), micro in tx.balances().items()} == model.balances
        audit = Audit()
        audit.take(tx.journal_rows(0, 1000))
        audit.compare(tx.balances())
        assert (audit.finding, audit.number) == (None, model.entries)
        for serial in SERIALS:
            known: Any = tx.payment(replace(rows.IDENTITY, serial=serial))
            assert (known and known.amount_micro) == model.payments.get(serial)
        for ident in COMMANDS:
            found = tx.command(ident)
            assert (found and found.state) == model.commands.get(ident)
        assert {c.id for c in tx.open_commands()} == {i for i, s in model.commands.items() if s is not CommandState.VERIFIED}
        assert {key: tx.meta(key) for key in KEYS if tx.meta(key) is not None} == model.meta
        assert tx.outbox_state() == model.outbox()
        assert [row.seq for row in tx.outgoing(0, 1000)] == [n for n, done in enumerate(model.acknowledged, 1) if not done]

    store.read_now(look)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES)
def test_random_batches_with_random_failures(batches: Any, empty_file: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("model") / "wattgate.db"
    shutil.copyfile(empty_file, file)
    asyncio.run(check(file, batches))
    shutil.rmtree(file.parent)
