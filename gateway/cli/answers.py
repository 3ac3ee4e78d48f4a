"""How a verb ends when it does not end well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.settings import Settings


class Failure(Exception):
    """One or more clear sentences and the exit code: 1 refused or not achieved, 2 wrong usage."""

    def __init__(self, sentences: str | Sequence[str], code: int = 1) -> None:
        self.sentences = [sentences] if isinstance(sentences, str) else list(sentences)
        self.code = code
        super().__init__("; ".join(self.sentences))


def settings_of(file: Path) -> Settings:
    """The configuration of a verb's -c FILE; every error at once, exit code 1."""
    from gateway.settings import SettingsError, load

    try:
        return load(file)
    except SettingsError as problem:
        raise Failure(problem.errors) from None
