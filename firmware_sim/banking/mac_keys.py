"""The key of a bank's MACs, and those that it sends in its place: noted before they leave, since their answer may get lost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random

from protocols.bank.iso8583_table import Dialect
from protocols.bank.keywrap import check_value, key_length, wrap


class MacKeys:
    """used: what seals now; None without MACs. new: was sent, and nobody has said yet that it was taken.

    of_file: the first one, which holds again as soon as it is another than it was. zone: under which new ones are sent; None where
    they are changed by hand. kept: where they are noted, a file of mode 0600. ValueError where that says nothing of use.
    """

    def __init__(self, dialect: Dialect, of_file: bytes | None, zone: bytes | None = None, kept: Path | None = None) -> None:
        self._dialect, self._of_file, self._zone, self._kept = dialect, of_file, zone, kept
        self.used: bytes | None = of_file
        self.new: bytes | None = None
        self.taken = 0
        self._read()

    @property
    def changes(self) -> bool:
        """Whether it sends new ones."""
        return self._zone is not None and self._dialect.key is not None

    @property
    def valid(self) -> list[bytes]:
        """What an answer may be sealed with."""
        return [key for key in (self.used, self.new) if key is not None]

    def brought(self, rng: Random) -> tuple[str, bytes]:
        """The field that brings a key, the same one until it is known what became of it, and the key that seals its message."""
        form, zone = self._dialect.key, self._zone
        assert form is not None and zone is not None and self.used is not None
        if self.new is None:
            self.new = rng.randbytes(key_length(self._dialect.mac))
            self._write()
        text = wrap(form.wrapped, zone, self.new).hex().upper() + check_value(self._dialect.mac, self.new)[: form.check]
        return form.prefix + text, self.new if form.by_new else self.used

    def told(self, taken: bool) -> None:
        """What became of it: taken, or refused for good."""
        if taken:
            self.used, self.taken = self.new, self.taken + 1
        self.new = None
        self._write()

    def _read(self) -> None:
        if self._kept is None or self._of_file is None or not self._kept.exists():
            return
        try:
            kept = json.loads(self._kept.read_text("ascii"))
            if kept["of"] == self._of_file.hex():
                self.used, self.new = (bytes.fromhex(kept[name]) or None for name in ("used", "new"))
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{self._kept} does not say which key was sent last: remove it, and agree on another key") from None

    def _write(self) -> None:
        if self._kept is None or self._of_file is None or self.used is None:
            return
        told = {"of": self._of_file.hex(), "used": self.used.hex(), "new": (self.new or b"").hex()}
        beside = self._kept.with_name(self._kept.name + ".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            file.write(json.dumps(told))
        os.replace(beside, self._kept)
