"""The operator's token comes from a file that nobody else can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.adapters.http.auth import OperatorAuth, read_token


def test_a_token_from_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "operator.token"
    path.write_text("0123456789abcdef\n")
    path.chmod(0o600)
    assert read_token(path) == "0123456789abcdef"


@pytest.mark.parametrize(
    ("content", "mode", "word"),
    [
        ("0123456789abcdef", 0o644, "chmod 600"),
        ("0123456789abcdef", 0o640, "chmod 600"),
        ("short", 0o600, "shorter"),
        ("é" * 16, 0o600, "read"),
    ],
)
def test_a_file_that_holds_no_secret_is_refused(tmp_path: Path, content: str, mode: int, word: str) -> None:
    path = tmp_path / "operator.token"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(ValueError, match=word):
        read_token(path)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_token(tmp_path / "none")


def test_a_short_token_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        OperatorAuth("short")
