"""The journal as files that others check: JSON lines whose hashes anybody can recompute, and beancount for bean-check."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from zoneinfo import ZoneInfo

from gateway.domain.ledger import JournalRow, canonical

Balances = Mapping[tuple[str, str], int]

_ROOTS = {
    "customer": "Liabilities:Customer",
    "undelivered": "Liabilities:Undelivered",
    "pending": "Liabilities:Pending",
    "suspense": "Liabilities:Suspense",
    "bank": "Assets:Bank",
    "debt": "Assets:Debt",
    "emergency": "Assets:Emergency",
    "revenue": "Income:Revenue",
    "write_off": "Expenses:WriteOff",
    "equity": "Equity:Books",
}
_PLAIN = re.compile(r"(?!Id-|Ix-)[A-Z0-9][A-Za-z0-9-]*", re.ASCII)
_LOWER = re.compile(r"[a-z][A-Za-z0-9-]*", re.ASCII)
_ODD = re.compile(r"[^A-Za-z0-9]", re.ASCII)

OPENED = "1970-01-01"
"""Accounts open before everything: the journal's times need not rise."""


def json_lines(rows: Iterable[JournalRow]) -> Iterator[str]:
    """An entry a line: the canonical JSON that its hash is of (sorted keys, no spaces), and the hash as one more key at its end."""
    for row in rows:
        if row.ref is None:
            raise ValueError(f"entry {row.number} cannot be read: verify the ledger first")
        body = canonical(row.number, row.kind, row.currency, row.legs, row.at_ms, row.ref, row.previous)
        yield f'{body[:-1]},"hash":{json.dumps(row.hash)}}}\n'


def beancount(rows: Iterable[JournalRow], before: Balances, after: Balances, zone: ZoneInfo) -> Iterator[str]:
    """A beancount 3 file: our sign turned round (there what we owe and earn is negative), six decimals, dates of this zone.

    before: balances that the first of the rows found. after: balances that the last leaves, asserted to the micro-unit.
    """
    yield 'option "title" "wattgate"\n'
    known: set[str] = set()
    last = ""
    opening = {key: micro for key, micro in before.items() if micro}
    if opening:
        yield from _opened([account for _, account in opening], known)
        for currency in sorted({currency for currency, _ in opening}):
            yield f'\n{OPENED} * "opening" "balances before the first entry"\n'
            yield from (_posting(account, micro, money) for (money, account), micro in sorted(opening.items()) if money == currency)
    for row in rows:
        day = _day(row.at_ms, zone)
        last = max(last, day)
        yield from _opened([leg[0] for leg in row.legs], known)
        yield f"\n{day} * {_quoted(row.kind)} {_quoted(f'entry {row.number}')}\n"
        yield f"  number: {row.number}\n  time_ms: {row.at_ms}\n  hash: {_quoted(row.hash)}\n"
        yield f"  ref: {_quoted(json.dumps(row.ref, sort_keys=True, ensure_ascii=False))}\n"
        yield from (_posting(account, micro, row.currency) for account, micro, _, _ in row.legs)
    yield "\n"
    for (currency, account), micro in sorted(after.items()):
        yield from _opened([account], known)
        day = (datetime.date.fromisoformat(last or OPENED) + datetime.timedelta(days=1)).isoformat()
        yield f"{day} balance {beancount_account(account)} {_amount(-micro)} ~ 0 {currency}\n"


def beancount_account(ledger_account: str) -> str:
    """The name there, another one for each: letters, digits and `-` only, and it begins with a capital or a digit."""
    head, _, rest = ledger_account.partition(":")
    root = _ROOTS.get(head, "Equity:Other:" + _component(head))
    return f"{root}:{_component(rest)}" if rest else root


def _component(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    if _LOWER.fullmatch(name):
        return f"Id-{name}"
    return "Ix-" + _ODD.sub(lambda odd: "-" + odd[0].encode().hex().upper() + "-", name)


def _opened(accounts: Iterable[str], known: set[str]) -> Iterator[str]:
    for account in accounts:
        if account not in known:
            known.add(account)
            yield f"\n{OPENED} open {beancount_account(account)}\n  ledger: {_quoted(account)}\n"


def _posting(account: str, micro: int, currency: str) -> str:
    return f"  {beancount_account(account)}  {_amount(-micro)} {currency}\n"


def _amount(micro: int) -> str:
    whole, part = divmod(abs(micro), 1_000_000)
    return f"{'-' if micro < 0 else ''}{whole}.{part:06d}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _day(at_ms: int, zone: ZoneInfo) -> str:
    return datetime.datetime.fromtimestamp(at_ms // 1000, zone).date().isoformat()
