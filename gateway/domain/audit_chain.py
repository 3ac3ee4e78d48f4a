"""The chain of the audit log: what each row's hash covers, and whether rows still are what they were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring as _quoted

from gateway.domain.approvals import AuditRow
from gateway.domain.ledger import GENESIS, sha256


def canonical(row: AuditRow) -> str:
    """A row as JSON with sorted keys and no spaces, as it is hashed: all of it but the hash itself."""
    words = ",".join([f"{_quoted(key)}:{_quoted(row.data[key])}" for key in sorted(row.data)])
    return (
        f'{{"act":{_quoted(row.act)},"at_ms":{row.at_ms},"data":{{{words}}},"number":{row.number},'
        f'"previous":{_quoted(row.previous)},"subject":{_quoted(row.subject)},"who":{_quoted(row.who)}}}'
    )


def row_hash(row: AuditRow) -> str:
    """SHA-256 over the row's canonical JSON, chained to the one before; hex."""
    return sha256(canonical(row))


def chain(end: tuple[int, str], at_ms: int, who: str, act: str, subject: str, data: Mapping[str, str]) -> AuditRow:
    """The next row after this end of the log (number and hash; 0 and GENESIS where it is empty)."""
    number, previous = end
    bare = AuditRow(number + 1, at_ms, who, act, subject, dict(data), previous)
    return AuditRow(bare.number, at_ms, who, act, subject, bare.data, previous, row_hash(bare))


@dataclass(slots=True)
class AuditWalk:
    """Recomputes an audit log row by row. `finding`: the first thing wrong, in a sentence."""

    number: int = 0
    hash: str = GENESIS
    finding: str | None = None

    def take(self, rows: Iterable[AuditRow]) -> None:
        """Check the next rows in order; stops at the first finding."""
        for row in rows:
            if self.finding is None:
                self.finding = self._wrong(row)
                self.number, self.hash = row.number, row.hash

    def end(self, end: tuple[int, str]) -> None:
        """The log must end where the store says that it ends, so that no row is missing behind the last."""
        if self.finding is None and end != (self.number, self.hash):
            self.finding = f"the audit log stops at row {self.number}, but {end[0]} were written, or the last was another one"

    def _wrong(self, row: AuditRow) -> str | None:
        if row.number != self.number + 1:
            return f"after row {self.number} comes row {row.number}: the numbers are not dense"
        if row.previous != self.hash:
            return f"row {row.number} is not chained to the one before it"
        if row.hash != row_hash(row):
            return f"row {row.number} was changed: its hash does not match its content"
        return None
