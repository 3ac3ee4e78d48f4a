"""Partners' tables for tests: the shipped one, and one of everything the other way round."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path

from protocols.bank.iso8583_table import Dialect, dialect

CONFIG = Path(__file__).parents[3] / "config" / "banks"
KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")


def document(**top: object) -> dict[str, object]:
    """The shipped table as TOML gives it, with other values at the top."""
    return copy.deepcopy(tomllib.loads((CONFIG / "iso8583-ascii.toml").read_text("utf-8"))) | top


def shipped(**top: object) -> Dialect:
    """The shipped table."""
    return dialect(document(**top))


def packed(**top: object) -> Dialect:
    """Binary bitmaps, numbers and lengths in BCD, EBCDIC text, a header, a length that counts itself."""
    other: dict[str, object] = {
        "charset": "cp500", "bitmap": "binary", "numbers": "bcd", "lengths": "bcd", "frame": "inclusive", "header_bytes": 5,
        "mac": {"algorithm": "sm4-cmac", "without": []},
    }  # fmt: skip
    return dialect(document(**(other | top)))
