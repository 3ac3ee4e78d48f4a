"""Which gateway owns an account, and under which pseudonym (contract.md 5: no account id on MQTT), from the operator's table."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from protocols.uplink.topics import valid_id

COLUMNS = ("account", "gateway", "pseudonym", "currency", "holder")

LOOK_EVERY_S = 5.0
"""How often the table is looked at for a change."""

MOST_ACCOUNTS = 2_000_000
"""Rows of one table: a million meters and those that have gone; some 400 bytes of memory each."""


class BadTable(Exception):
    """The table cannot be used; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class KnownAccount:
    """An account of some gateway. holder: masked, as a bank may see it."""

    account: str
    gateway: str
    pseudonym: str
    currency: str
    holder: str


class Accounts:
    """The table as it stands in its file: read again when it changes, and as before while the new one is wrong."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp: tuple[int, int] | None = None
        self._rows: Mapping[str, KnownAccount] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def of(self, account: str) -> KnownAccount | None:
        """The account, if the table has it."""
        return self._rows.get(account)

    def refresh(self) -> bool:
        """Reads the file if it is another one than before; whether it was. BadTable, and nothing has changed."""
        try:
            state = self._file.stat()
            stamp = (state.st_mtime_ns, state.st_size)
            if stamp == self._stamp:
                return False
            self._stamp = stamp  # a wrong one is told once
            self._rows = read(self._file.read_text("utf-8").splitlines())
        except FileNotFoundError:
            how = "write it at the gateway, once that has run: wattgate accounts pseudonyms -c gateway.toml"
            raise BadTable(f"{self._file}: is not there; {how} > {self._file.name}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise BadTable(f"{self._file}: cannot be read: {error}") from None
        except BadTable as wrong:
            raise BadTable(f"{self._file}: {wrong}") from None
        return True


def read(lines: list[str]) -> dict[str, KnownAccount]:
    """A CSV with the header of COLUMNS. BadTable names the first line that is wrong."""
    rows = csv.reader(lines, strict=True)
    found: dict[str, KnownAccount] = {}
    try:
        if tuple(next(rows, ())) != COLUMNS:
            raise BadTable(f"the first line must be {','.join(COLUMNS)}")
        for row in rows:
            if not row:
                continue
            if len(row) != len(COLUMNS) or not all(map(valid_id, row[:3])) or not (len(row[3]) == 3 and row[3].isupper()):
                raise BadTable(
                    f"line {rows.line_num} is not account,gateway,pseudonym,currency,holder with ids and a currency like CNY"
                )
            if row[0] in found:
                raise BadTable(f"line {rows.line_num}: account {row[0]} stands there twice")
            if len(found) >= MOST_ACCOUNTS:
                raise BadTable(f"it has more than {MOST_ACCOUNTS} accounts")
            found[row[0]] = KnownAccount(*row)
    except csv.Error as wrong:
        raise BadTable(f"line {rows.line_num}: {wrong}") from None
    return found
