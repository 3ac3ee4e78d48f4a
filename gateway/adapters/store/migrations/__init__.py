"""The history of the tables, oldest first: a new revision is a file in versions/ and a name here (a test compares the two)."""

from __future__ import annotations

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")
HEAD = REVISIONS[-1]
