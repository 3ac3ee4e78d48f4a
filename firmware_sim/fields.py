"""Reading values out of parsed TOML or JSON: every complaint is one sentence, and all of them are collected."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

Table = Mapping[str, object]
ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class Fields:
    """One table whose keys are taken one by one; `where` begins every complaint.

    A getter returns its default after complaining, so that reading goes on and all errors are found at once.
    """

    def __init__(self, table: Table, where: str, errors: list[str]) -> None:
        self._table = dict(table)
        self.where = where
        self.errors = errors

    def complain(self, key: str, reason: str) -> None:
        """Note that this key cannot be used."""
        self.errors.append(f"{self.where}: {key} {reason}")

    def has(self, key: str) -> bool:
        """The key is there and has not been taken."""
        return key in self._table

    def only(self, key: str, value: str) -> bool:
        """This key with this value is all there is."""
        return self._table == {key: value}

    def names(self) -> list[str]:
        """The keys that nobody has taken yet."""
        return list(self._table)

    def value(self, key: str) -> object:
        """A key of any kind, judged by the caller; None when it is missing."""
        return self._table.pop(key, None)

    def text(self, key: str, default: str | None = None, pattern: re.Pattern[str] | None = None, form: str = "") -> str:
        """A string, of this form where a pattern is given; required without a default."""
        value = self._take(key, default)
        if isinstance(value, str) and (pattern is None or pattern.match(value)):
            return value
        if value is not None:
            self.complain(key, f"must be {form or 'a text'}, not {value!r}")
        return default or ""

    def integer(self, key: str, default: int | None, low: int, high: int) -> int:
        """A whole number within bounds; required without a default."""
        value = self._take(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        if value is not None:
            self.complain(key, f"must be a whole number from {low} to {high}, not {value!r}")
        return default if default is not None else low

    def number(self, key: str, default: str | None, low: int, high: int) -> Decimal:
        """A decimal number (or a text that is one) within bounds, exactly as written; required without a default."""
        value = self._take(key, default)
        try:
            number = Decimal(str(value)) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else Decimal("NaN")
        except InvalidOperation:
            number = Decimal("NaN")
        if number.is_finite() and low <= number <= high:
            return number
        if value is not None:
            self.complain(key, f"must be a number from {low} to {high}, not {value!r}")
        return Decimal(default if default is not None else low)

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self._take(key, default)
        if not isinstance(value, bool):
            self.complain(key, f"must be true or false, not {value!r}")
            return default
        return value

    def choice(self, key: str, choices: Iterable[str], default: str | None = None) -> str:
        """One of a few words; required without a default."""
        allowed = list(choices)
        value = self._take(key, default)
        if isinstance(value, str) and value in allowed:
            return value
        if value is not None:
            self.complain(key, f"must be one of {', '.join(allowed)}, not {value!r}")
        return default or allowed[0]

    def pair(self, key: str, default: tuple[int, int], low: int, high: int) -> tuple[int, int]:
        """Two whole numbers, the first not above the second."""
        value = self._take(key, list(default))
        first, last = value if isinstance(value, list) and len(value) == 2 else (None, None)
        if type(first) is int and type(last) is int and low <= first <= last <= high:
            return first, last
        self.complain(key, f"must be two rising whole numbers from {low} to {high}, not {value!r}")
        return default

    def table(self, key: str) -> Fields | None:
        """A table inside this one; None when it is absent or something else."""
        value = self._take(key, {}) if self.has(key) else None
        if value is None:
            return None
        if not isinstance(value, dict):
            self.complain(key, f"must be a table, not {value!r}")
            return None
        return Fields(value, f"{self.where} {key}", self.errors)

    def rows(self, key: str, most: int) -> list[object]:
        """A list of at most `most` things; empty when absent."""
        value = self._take(key, [])
        if isinstance(value, list) and len(value) <= most:
            return value
        self.complain(key, f"must be a list of at most {most}")
        return []

    def done(self) -> None:
        """Complain about every key that nobody took."""
        for key in self._table:
            self.complain(key, "is not a key that is known here")

    def _take(self, key: str, default: object) -> object:
        """The value, or the default; complains and gives None when both are missing."""
        if key in self._table:
            value = self._table.pop(key)
            if value is None:
                self.complain(key, "must not be null")
            return value
        if default is None:
            self.complain(key, "is missing")
        return default
