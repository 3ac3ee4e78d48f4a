"""A configuration with money in meters: what is refused, each with its sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.bootstrap.examine import examine
from gateway.settings import SettingsError, load

GOOD = """
[gateway]
id = "g"

[security]
url = 'http://127.0.0.1:9000/crypto'

[[line]]
id = "a"
kind = "serial"
device = "/dev/null"

[[tariff]]
id = "flat"
currency = "CNY"
kind = "flat"
price = "0.5283"

[[account]]
id = "A"
currency = "CNY"
tariff = "flat"
authority = "meter"
customer = "000000004711"

[[meter]]
line = "a"
address = "1"
profile = "dlt645-prepaid"
account = "A"
"""


def said(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "gateway.toml"
    file.write_text(text)
    return [error for error in examine(load(file, {}), tmp_path).errors if "password" not in error]


def test_a_good_one_is_good(tmp_path: Path) -> None:
    assert said(tmp_path, GOOD) == []
    alone = GOOD.replace("[security]\nurl = 'http://127.0.0.1:9000/crypto'\n", "")
    private = alone.replace("dlt645-prepaid", "dlt645-prepaid-private")
    assert said(tmp_path, private.replace('customer = "000000004711"\n', "")) == []


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("dlt645-prepaid", "dlt645-single", "has no wallet in its profile dlt645-single"),
        ("[security]\nurl = 'http://127.0.0.1:9000/crypto'\n", "", "name a crypto service in [security] url"),
        ('customer = "000000004711"\n', "", "name it as `customer`, 12 digits"),
        ('price = "0.5283"', 'price = "0.52835"', "prices finer than 0.0001"),
        ('account = "A"\n', "", "money in a meter needs exactly one, and it has 0"),
    ],
)
def test_what_cannot_work_is_refused(tmp_path: Path, old: str, new: str, error: str) -> None:
    assert any(error in sentence for sentence in said(tmp_path, GOOD.replace(old, new)))


def test_what_opens_in_a_wallet_is_what_it_shows(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="opening is what the wallet of its meter shows"):
        said(tmp_path, GOOD.replace('authority = "meter"', 'authority = "meter"\nopening = "5.00"'))
