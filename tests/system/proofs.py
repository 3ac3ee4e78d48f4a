"""What a gateway's and a centre's databases say, read without our own code, and held against meters and banks."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.adapters.store import Store
from gateway.services.verify_ledger import verify_ledger
from tests.system.stand import PRICE

MICRO_PER_WH = int(PRICE * 1000)
AFTER_US = 5_000_000  # a command that was superseded under way may still move its contact: 200 ms, and what a busy machine adds


@contextlib.contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A database, only to be read; a gateway may run on it."""
    connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=60)
    try:
        connection.row_factory = sqlite3.Row
        yield connection
    finally:
        connection.close()


def rows(file: Path, sql: str) -> list[dict[str, Any]]:
    with opened(file) as connection:
        return [dict(row) for row in connection.execute(sql)]


def finding(store: Path) -> str | None:
    """What `ledger verify` finds in a store."""
    with Store.open(str(store), read_only=True) as opened_store:
        return opened_store.read_now(verify_ledger)[1]


def credited(store: Path) -> dict[str, list[tuple[str, int]]]:
    """By serial of the bank: the ledger's top-ups of customers, as (account, micro), read from the legs themselves."""
    found: dict[str, list[tuple[str, int]]] = {}
    sql = """SELECT ref, leg.account, micro FROM entry JOIN leg ON leg.entry = entry.number
             WHERE kind = 'topup' AND leg.account LIKE 'customer:%'"""
    for row in rows(store, sql):
        found.setdefault(json.loads(row["ref"])["serial"], []).append((row["account"].partition(":")[2], row["micro"]))
    return found


def registers(truth: Mapping[str, Any]) -> int:
    """The total register of a simulated meter, in Wh."""
    return int(Decimal(truth["registers"]["total"]) * 1000)


def billed(store: Path) -> dict[str, tuple[int, int]]:
    """By meter: where its bill began and how far it has been billed, in Wh."""
    found = rows(store, "SELECT meter, first_wh, confirmed FROM billing WHERE confirmed IS NOT NULL")
    return {row["meter"]: (row["first_wh"], json.loads(row["confirmed"])["energy_import"]) for row in found}


def charged(store: Path) -> dict[str, int]:
    """By account: what the ledger charged, in micro-units."""
    sql = """SELECT leg.account, SUM(-micro) AS micro FROM entry JOIN leg ON leg.entry = entry.number
             WHERE kind = 'charge' AND leg.account LIKE 'customer:%' GROUP BY leg.account"""
    return {row["account"].partition(":")[2]: row["micro"] for row in rows(store, sql)}


def balances(store: Path) -> dict[str, int]:
    """By account: the balance kept beside the journal, in micro-units."""
    found = rows(store, "SELECT account, micro FROM balance WHERE account LIKE 'customer:%'")
    return {row["account"].partition(":")[2]: row["micro"] for row in found}


@dataclass(slots=True)
class Contacts:
    """Every move of every contact that was seen at the simulator, by meter: unix us -> open or closed. All begin closed."""

    moves: dict[str, dict[int, str]] = field(default_factory=dict)

    def look(self, truths: Mapping[str, Mapping[str, Any]]) -> None:
        for name, truth in truths.items():
            self.moves.setdefault(name, {}).update({move["at_us"]: move["contact"] for move in truth["contact_moves"]})

    def at(self, meter: str, us: int) -> str:
        """Where the contact stood at this moment."""
        return max(((at, to) for at, to in self.moves[meter].items() if at <= us), default=(0, "closed"))[1]

    def lies(self, commands: Sequence[Mapping[str, Any]]) -> list[str]:
        """Commands whose outcome is not where the contact was, and moves that no command explains."""
        found = [f"{c['id']} ended as {c['state']} ({c['reason']})" for c in commands if c["state"] not in _ENDS]
        for c in commands:
            wanted = "open" if c["verb"] == "cut" else "closed"
            if c["state"] in ("verified", "command_only") and self.at(c["meter"], c["changed_ms"] * 1000) != wanted:
                found.append(f"{c['id']} is {c['state']}, but the contact was not {wanted}")
        for meter, moves in self.moves.items():
            unasked = {us: to for us, to in moves.items() if not _asked(commands, meter, us, to)}
            found += [f"{meter} moved to {to} at {us} us, and no command asked for it" for us, to in unasked.items()]
        return found


_ENDS = ("verified", "command_only", "superseded", "cancelled")
"""How commands may end in a street where nothing but the gateway breaks."""


def _asked(commands: Sequence[Mapping[str, Any]], meter: str, us: int, to: str) -> bool:
    return any(
        (c["meter"], c["verb"] == "cut") == (meter, to == "open")
        and c["attempts"] > 0
        and c["created_ms"] * 1000 <= us <= c["changed_ms"] * 1000 + AFTER_US
        for c in commands
    )


def central_gaps(central: Path, gateway: Path, upto: int) -> list[str]:
    """What the centre has not exactly once of the first `upto` messages of the outbox, or has otherwise than they were sent."""
    [epoch] = [row["value"] for row in rows(gateway, "SELECT value FROM meta WHERE key = 'epoch'")]
    there = rows(central, "SELECT epoch, seq, kind, subject FROM central_message ORDER BY seq")
    found = [f"epoch {row['epoch']} is none of the gateway's" for row in there if row["epoch"] != epoch]
    numbers = [row["seq"] for row in there if row["seq"] <= upto]
    if numbers != list(range(1, upto + 1)):
        found.append(f"{len(numbers)} messages of {upto}; missing {sorted(set(range(1, upto + 1)) - set(numbers))[:10]}")
    here = {row["seq"]: row for row in rows(gateway, "SELECT seq, topic, subject FROM outbox")}
    for row in there:
        sent = here.get(row["seq"])
        of = row["kind"] not in ("balance", "anchor")  # those have a pseudonym there, and none
        if sent is None or row["kind"] != sent["topic"] or (of and row["subject"] != sent["subject"]):
            found.append(f"message {row['seq']} is a {row['kind']} of {row['subject']} there, here {sent}")
    if rows(central, "SELECT message FROM central_unreadable"):
        found.append("the centre could not read some messages")
    return found
