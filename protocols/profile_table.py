"""A TOML table being taken apart: every key asked for by its type, what is left over is an error, one sentence each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Final, TypeVar

from protocols.profiles import ProfileError

T = TypeVar("T")


class Table:
    """A table of a profile; `path` names it in errors. Every method raises ProfileError."""

    def __init__(self, data: Mapping[str, object], path: str) -> None:
        self._left = dict(data)
        self.path = path

    def fail(self, key: str, what: str) -> ProfileError:
        return ProfileError(f"{self.path}: {key} {what}")

    def take(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of this key; without a default it must be there."""
        value = self._left.pop(key, default)
        if value is None:
            raise self.fail(key, "is missing")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.fail(key, f"must be {_KINDS[kind]}, not {value!r}")
        return value

    def has(self, key: str) -> bool:
        return key in self._left

    def unasked(self) -> list[str]:
        """Those not asked for yet."""
        return list(self._left)

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self.take(key, int, default)
        if not low <= value <= high:
            raise self.fail(key, f"must be {low} to {high}, not {value}")
        return value

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        value = self.take(key, str, default)
        if value not in choices:
            raise self.fail(key, f"must be one of {', '.join(choices)}, not {value!r}")
        return value

    def number(self, key: str, default: str | None = None) -> Decimal:
        """A decimal string: a TOML float would not be exact."""
        text = self.take(key, str, default)
        try:
            value = Decimal(text)
        except InvalidOperation:
            raise self.fail(key, f"must be a decimal number in quotes, not {text!r}") from None
        if not value.is_finite():
            raise self.fail(key, f"must be a finite number, not {text!r}")
        return value

    def octets(self, key: str, default: str | None = None) -> bytes:
        text = self.take(key, str, default)
        try:
            return bytes.fromhex(text)
        except ValueError:
            raise self.fail(key, f"must be hex digits in pairs, not {text!r}") from None

    def each(self, key: str, kind: type[T], default: list[object] | None = None) -> tuple[T, ...]:
        values = self.take(key, list, default)
        for value in values:
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise self.fail(key, f"must be a list, each {_KINDS[kind]}, not {value!r}")
        return tuple(values)

    def table(self, key: str, default: dict[str, object] | None = None) -> Table:
        return Table(self.take(key, dict, default), f"{self.path}: {key}")

    def tables(self, key: str) -> list[Table]:
        return [Table(value, f"{self.path}: {key}[{n}]") for n, value in enumerate(self.each(key, dict, []))]

    def done(self) -> None:
        if self._left:
            raise self.fail(", ".join(self._left), "is not a key of this table")


_KINDS: Final[dict[type, str]] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}
