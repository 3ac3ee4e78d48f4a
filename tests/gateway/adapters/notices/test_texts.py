"""The shipped texts, and what a file of the operator's own may do."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gateway.adapters.notices.texts import Text, TextError, Texts, load_texts
from gateway.adapters.profiles import config_folder
from gateway.domain.notices import Notice

SHIPPED = config_folder() / "notices"
LEFT = {"balance": "3.00", "currency": "CNY"}


def notice(step: str, **values: str) -> Notice:
    return Notice(7, "A-1", step, "sms", "x", values or LEFT, 0)


def steps(language: str) -> set[str]:
    return set(tomllib.loads((SHIPPED / f"{language}.toml").read_text("utf-8")))


def test_both_languages_have_the_same_steps() -> None:
    assert steps("en") == steps("zh") and len(steps("en")) > 8


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_step_can_be_said_long_and_short(language: str) -> None:
    texts = load_texts(SHIPPED)
    for step in sorted(steps(language)):
        for short in (True, False):
            title, body = texts.render(notice(step, **LEFT, power_w="4200", limit_w="4000"), language, short=short)
            assert title and body.endswith("[7]") and "{" not in title + body


def test_a_sentence_without_its_value_is_left_out() -> None:
    texts = load_texts(SHIPPED)
    _, without = texts.render(notice("exhausted"), "en", short=False)
    _, with_it = texts.render(notice("exhausted", **LEFT, until="2026-11-25 10:00"), "en", short=False)
    assert "Not before" not in without and "Not before 2026-11-25 10:00." in with_it


def test_a_step_without_a_text_has_the_default_one_and_an_unknown_language_english() -> None:
    texts = load_texts(SHIPPED)
    assert texts.render(notice("something_new"), "fr", short=False) == texts.render(notice("default"), "en", short=False)


def test_a_value_is_text_and_never_a_template() -> None:
    texts = Texts({"en": {"default": Text("t", ["{balance}"], ["{balance}"])}})
    assert texts.render(notice("x", balance="{currency}{0.__class__}"), "en", short=True)[1] == "{currency}{0.__class__} [7]"


def test_own_texts_take_the_place_of_the_shipped_ones_step_by_step(tmp_path: Path) -> None:
    (tmp_path / "en.toml").write_text('[low]\ntitle = "Ours"\ntext = ["Only {balance}."]\n')
    texts = load_texts(SHIPPED, tmp_path)
    assert texts.render(notice("low"), "en", short=True) == ("Ours", "Only 3.00. [7]")
    assert texts.render(notice("cut"), "en", short=True)[0] == "Your electricity supply is cut"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[low]\ntitle = 3", "has title, text and perhaps short"),
        ('[low]\ntitle = "a"\ntext = []', "text and short are lists of sentences"),
        ('[low]\ntitle = "a"\ntext = "b"', "text and short are lists of sentences"),
        ('[low]\ntitle = "a"\ntext = ["b"]\nlong = 1', "and nothing else"),
        ("low = 1", "has title, text and perhaps short"),
        ("[low", "cannot be used"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "en.toml").write_text(content)
    with pytest.raises(TextError, match=sentence):
        load_texts(SHIPPED, tmp_path)


def test_a_language_of_ones_own_needs_a_default(tmp_path: Path) -> None:
    (tmp_path / "fr.toml").write_text('[low]\ntitle = "Solde"\ntext = ["Solde {balance}."]\n')
    with pytest.raises(TextError, match=r"texts in fr need a table \[default\]"):
        load_texts(SHIPPED, tmp_path)
    with pytest.raises(TextError, match="there is no such folder"):
        load_texts(tmp_path / "none")
