"""The configuration: every error at once, each with its key and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.bootstrap.archive import archive_of
from gateway.bootstrap.examine import examine
from gateway.domain.debt_terms import DebtTerms
from gateway.domain.price_list import Terms
from gateway.settings import Settings, SettingsError, load, secret_file

GOOD = """
[gateway]
id = "g"

[[line]]
id = "a"
kind = "serial"
device = "/dev/null"

[[tariff]]
id = "flat"
currency = "CNY"
kind = "flat"
price = "0.5"

[[account]]
id = "A"
currency = "CNY"
tariff = "flat"

[[meter]]
line = "a"
address = "1"
profile = "dlt645-single"
account = "A"
"""


def settings(tmp_path: Path, text: str, environment: dict[str, str] | None = None) -> Settings:
    path = tmp_path / "gateway.toml"
    path.write_text(text)
    return load(path, environment or {})


def errors(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        settings(tmp_path, text)
    return [error.removeprefix(f"{tmp_path}/gateway.toml: ") for error in caught.value.errors]


def debt(**changes: str) -> str:
    """A table of an account's debt."""
    values = {"opening": "120.00", "share": "20%", "weekly_cap": "30.00", "agreement": "A 1", "since": "2025-12-20", **changes}
    return "[account.debt]\n" + "".join(f'{key} = "{value}"\n' for key, value in values.items())


def test_what_a_tariff_and_an_agreement_must_know_of_an_account(tmp_path: Path) -> None:
    terms = 'tariff = "flat"\nsince = "2024-02-29"\npersons = 5\nkva = "31.5"\n'
    [opening] = archive_of(settings(tmp_path, GOOD.replace('tariff = "flat"\n', terms + debt())), tmp_path).accounts
    assert opening.account.terms == Terms("2024-02-29", 5, 31_500)
    assert opening.account.debt == DebtTerms("A 1", 200, "2025-12-20", 30_000_000)
    assert opening.debt_micro == 120_000_000


def test_a_good_file_loads_and_a_meter_is_named_by_its_place(tmp_path: Path) -> None:
    assert settings(tmp_path, GOOD).meter[0].name == "a-1"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('id = "g"', 'id = "g"\ncolour = "red"', "gateway.colour: is not a known key"),
        ('id = "g"', "id = 7", "gateway.id: Input should be a valid string"),
        ('id = "g"', 'id = "a b"', "gateway.id: an id is 1 to 64 letters, digits, _ or -"),
        (
            'id = "g"',
            'id = "g"\nzone = "Mars/Olympus"',
            "gateway.zone: 'Mars/Olympus' is no time zone; write one like Asia/Shanghai",
        ),
        ('[gateway]\nid = "g"', "", "gateway: is missing"),
        ('device = "/dev/null"', "", "line[0]: a serial line needs a device, like /dev/serial/by-id/..."),
        ('kind = "serial"', 'kind = "tcp"', "line[0]: a tcp line needs host and port"),
        ('price = "0.5"', "price = 0.5", "tariff[0].price: Input should be a valid string"),
        ('price = "0.5"', "", "tariff[0]: a flat tariff has a price and no rates"),
        ('currency = "CNY"\ntariff', 'currency = "XXX"\ntariff', "account[0].currency: currency 'XXX' is not known here"),
        ('currency = "CNY"\ntariff', 'currency = "EUR"\ntariff', "account A: is in EUR, but tariff flat prices in CNY"),
        ('tariff = "flat"', 'tariff = "none"', "account A: there is no tariff none"),
        ('tariff = "flat"', 'tariff = "flat"\nopening = "1"', "account[0]: money in CNY is written with exactly 2 decimals"),
        ('tariff = "flat"', 'tariff = "flat"\nsince = "2026-02-30"', "account[0].since: '2026-02-30' is no date"),
        ('tariff = "flat"', 'tariff = "flat"\nkva = 315', "account[0].kva: a contract is a string in kVA"),
        ('tariff = "flat"', 'tariff = "flat"\npersons = -1', "account[0].persons: Input should be greater than or equal to 0"),
        ('tariff = "flat"', f'tariff = "flat"\n{debt()}'.replace('agreement = "A 1"', ""), "account[0].debt.agreement: is missing"),
        ('tariff = "flat"', f'tariff = "flat"\n{debt(share="0%")}', "account[0].debt: share must lie between 0.1% and 100%"),
        ('tariff = "flat"', f'tariff = "flat"\n{debt(opening="0.00")}', "account[0]: debt.opening must be above zero"),
        ('tariff = "flat"', f'tariff = "flat"\n{debt(weekly_cap="30")}', "account[0]: money in CNY is written with exactly"),
        ('tariff = "flat"', 'tariff = "flat"\npolicy = {low = "-1.00"}', "account[0]: policy.low must not lie below cut"),
        ('account = "A"', 'account = "B"', "meter a-1: there is no account B"),
        ('line = "a"\naddress', 'line = "b"\naddress', "meter b-1: there is no line b"),
        (
            'account = "A"',
            'account = "A"\n[[meter]]\nid = "other"\nline = "a"\naddress = "000001"\nprofile = "dlt645-single"',
            "meter other: address 000001 on line a is already meter a-1",
        ),
        (
            'id = "g"',
            'id = "g"\n[http]\nlisten = "0.0.0.0:80"',
            'bank: signatures = "off" is allowed only where http.listen is on loopback',
        ),
        ('id = "g"', 'id = "g"\n[http]\nlisten = "8080"', "http.listen: '8080' is no address to listen on"),
        ('id = "g"', 'id = "g"\n[mqtt]\nhost = "far"\n[uplink]\nsignatures = "off"', 'uplink: signatures = "off" is allowed only'),
    ],
)
def test_each_mistake_is_named_with_its_key(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    assert old in GOOD
    (error,) = errors(tmp_path, GOOD.replace(old, new, 1))
    assert error.startswith(sentence)


def test_two_houses_do_not_share_a_switch(tmp_path: Path) -> None:
    coil = 'switch = {line = "a", address = "9", profile = "relay-module-8"}'
    both = GOOD + f'{coil}\n[[meter]]\nline = "a"\naddress = "2"\nprofile = "eastron-sdm630"\n{coil}\n'
    both += '[[meter]]\nline = "a"\naddress = "9"\nprofile = "eastron-sdm630"\n'
    told = errors(tmp_path, both)
    assert "meter a-2: its switch, channel 0 of 9 on line a, is that of meter a-1" in told
    assert "meter a-1: its switch has the address of meter a-9 on line a" in told


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    wrong = (
        GOOD.replace('id = "g"', 'id = "g"\ncolour = 1')
        .replace('price = "0.5"', "price = 1")
        .replace('kind = "serial"', 'kind = "x"')
    )
    assert len(errors(tmp_path, wrong)) == 3


def test_what_is_not_toml_or_not_there_is_one_sentence(tmp_path: Path) -> None:
    (error,) = errors(tmp_path, "[gateway")
    assert error.startswith("is not TOML")
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path / "none.toml", {})


def test_the_environment_overrides_single_keys(tmp_path: Path) -> None:
    environment = {"WATTGATE_STORE__URL": "postgresql+psycopg://x/y", "WATTGATE_HTTP__OPEN_GET": "true", "WATTGATE_TOKEN": "no key"}
    changed = settings(tmp_path, GOOD, environment)
    assert (changed.store.url, changed.http.open_get) == ("postgresql+psycopg://x/y", True)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("hush\n")
    path.chmod(0o644)
    with pytest.raises(SettingsError, match="chmod 600"):
        secret_file(path)
    path.chmod(0o600)
    assert secret_file(path) == "hush"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('profile = "dlt645-single"', 'profile = "dlt645-double"', "there is no meter profile 'dlt645-double'"),
        ("", "", "its switch needs the password class control"),
        (
            'profile = "dlt645-single"',
            'profile = "eastron-sdm630"\nswitch = {line = "a", address = "9", profile = "eastron-sdm630"}',
            "profile eastron-sdm630 has no switch",
        ),
        ('kind = "serial"\ndevice = "/dev/null"', 'kind = "modbus-tcp"\nhost = "h"\nport = 1', "(modbus-tcp) does not carry"),
        ('profile = "dlt645-single"', 'profile = "hiking-dds238-zn-sr"', "its switch has no button"),
        ('address = "1"', 'address = "999999999999"', "999999999999 is the broadcast address, which no meter answers"),
        (
            'profile = "dlt645-single"',
            'profile = "eastron-sdm630"\nswitch = {line = "a", address = "500", profile = "relay-module-8"}',
            "its switch: a Modbus address is a unit from 1 to 247",
        ),
        (
            'profile = "dlt645-single"',
            'profile = "eastron-sdm630"\nswitch = {line = "a", address = "9", profile = "relay-module-8", channel = 8}',
            "profile relay-module-8 has 8 channels, counted from 0",
        ),
        (
            'profile = "dlt645-single"\naccount = "A"',
            'profile = "eastron-sdm630"\naccount = "A"\n[[account]]\nid = "B"\ncurrency = "CNY"\ntariff = "two"\n'
            '[[tariff]]\nid = "two"\ncurrency = "CNY"\nkind = "two_rate"\npeak = {registers = [1], price = "1"}\n'
            'valley = {registers = [2], price = "1"}\n'
            '[[meter]]\nline = "a"\naddress = "7"\nprofile = "eastron-sdm630"\naccount = "B"',
            "account B: tariff two prices energy_import_t1, which meter a-7 does not give",
        ),
        (
            'tariff = "flat"\n\n[[meter]]\nline = "a"\naddress = "1"\nprofile = "dlt645-single"',
            'tariff = "flat"\nlimit = {power_w = 9, delay_s = 90}\n'
            '[[meter]]\nline = "a"\naddress = "1"\nprofile = "eastron-sdm630"',
            "it has a load limit, but no meter with a switch",
        ),
        ('tariff = "flat"', 'tariff = "flat"\nlimit = {power_w = 9, delay_s = 30}', "is shorter than scheme.instant_s (60 s)"),
        ('address = "1"\nprofile = "dlt645-single"', 'address = "300"\nprofile = "eastron-sdm630"', "a unit from 1 to 247"),
    ],
)
def test_check_sees_what_profiles_say(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    report = examine(settings(tmp_path, GOOD.replace(old, new, 1)), tmp_path)
    assert any(sentence in error for error in report.errors)


def test_check_tells_the_round_time_and_refuses_a_shorter_limit_delay(tmp_path: Path) -> None:
    limited = GOOD.replace('tariff = "flat"', 'tariff = "flat"\nlimit = {power_w = 100, delay_s = 1}').replace(
        "dlt645-single", "dlt645-three"
    )
    slow = limited.replace('device = "/dev/null"', 'device = "/dev/null"\nbaud = 300')
    report = examine(settings(tmp_path, slow), tmp_path)
    assert report.lines[0].round_ms > 3000
    assert any("shorter than a round of its line" in error for error in report.errors)
