"""The words of notices, as data: config/notices/LANGUAGE.toml, or files of the operator's own in the same form."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.domain.notices import Notice

DEFAULT = "default"
"""The text of a step that has none of its own."""

FALLBACK = "en"
"""The language of accounts whose own has no file."""

LONGEST = 500
"""Characters of a sentence: what follows would be a mistake in writing, and a text message costs by length."""

_NAME = re.compile(r"\{([a-z_]+)\}")


class TextError(ValueError):
    """A file of texts that cannot be used, in one sentence."""


@dataclass(frozen=True, slots=True)
class Text:
    """Of one step. short: for channels that charge by length, by default as `sentences`."""

    title: str
    sentences: Sequence[str]
    short: Sequence[str]


class Texts:
    """Language -> step -> text."""

    def __init__(self, languages: Mapping[str, Mapping[str, Text]]) -> None:
        self._languages = languages

    def render(self, notice: Notice, language: str, *, short: bool) -> tuple[str, str]:
        """Title and body. A sentence that names a value which there is none of is left out. TextError where nothing is left.

        The notice's number stands at the end: whoever gets it twice sees that it is one.
        """
        steps = self._languages.get(language) or self._languages[FALLBACK]
        text = steps.get(notice.step) or steps[DEFAULT]
        values = {**notice.values, "account": notice.account, "step": notice.step, "number": str(notice.number)}
        chosen = text.short if short else text.sentences
        said = [filled for sentence in chosen if (filled := _filled(sentence, values)) is not None]
        title = _filled(text.title, values)
        if not said or title is None:
            raise TextError(f"the {language} text of {notice.step} names only values that this notice does not have")
        return title, (" " if short else "\n").join([*said, f"[{notice.number}]"])


def _filled(sentence: str, values: Mapping[str, str]) -> str | None:
    if any(name not in values for name in _NAME.findall(sentence)):
        return None
    return _NAME.sub(lambda match: values[match[1]], sentence)


def load_texts(*folders: Path) -> Texts:
    """All languages of these folders; what stands in a later one takes the place of an earlier one's. Raises TextError."""
    languages: dict[str, dict[str, Text]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise TextError(f"{folder}: there is no such folder of texts")
        for path in sorted(folder.glob("*.toml")):
            languages.setdefault(path.stem, {}).update(_file(path))
    for language, steps in languages.items():
        if DEFAULT not in steps:
            raise TextError(f"the texts in {language} need a table [{DEFAULT}] for every step that has none of its own")
    if FALLBACK not in languages:
        raise TextError(f"there are no texts in {FALLBACK}")
    return Texts(languages)


def _file(path: Path) -> dict[str, Text]:
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise TextError(f"{path}: cannot be used: {problem}") from None
    return {step: _text(f"{path}: [{step}]", table) for step, table in document.items()}


def _text(where: str, table: object) -> Text:
    if not isinstance(table, dict) or not {"title", "text"} <= table.keys() <= {"title", "text", "short"}:
        raise TextError(f"{where}: has title, text and perhaps short, and nothing else")
    title, sentences = table["title"], _sentences(where, table["text"])
    if not isinstance(title, str) or not title:
        raise TextError(f"{where}: title is a sentence")
    return Text(title, sentences, _sentences(where, table["short"]) if "short" in table else sentences)


def _sentences(where: str, value: object) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and 0 < len(each) <= LONGEST for each in value):
        raise TextError(f"{where}: text and short are lists of sentences of at most {LONGEST} characters")
    return value
