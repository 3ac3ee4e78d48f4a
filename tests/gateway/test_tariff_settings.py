"""Tariffs in the settings: what is written becomes the domain's price list, and what is wrong gets one sentence."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.bootstrap import tariffs
from gateway.domain.price_list import (
    Band,
    CountedOn,
    Fee,
    FeeBasis,
    GapSplit,
    LateFee,
    Rate,
    Reset,
    Rounding,
    RoundingMode,
    RoundingPlace,
    Season,
    StepKind,
    Steps,
    Switch,
    Tariff,
    Zone,
)
from gateway.domain.readings import TOTAL
from gateway.settings import Account, SettingsError
from gateway.settings.tariffs import Tariff as Entry

HEAD = 'currency = "CNY"\nzone = "Asia/Shanghai"\n'
FLAT = '[[version]]\nfrom = "2026-01-01"\nprice = "0.5"\n'
TOU = """
[[version]]
from = "2026-01-01"
prices = {peak = "0.8", valley = "0.3"}
[version.tou]
tables.day = {peak = ["06:00-22:00"], valley = ["22:00-06:00"]}
"""


def loaded(tmp_path: Path, text: str) -> Tariff:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return tariffs.load_file(path)


def errors(tmp_path: Path, text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        loaded(tmp_path, text)
    return [error.removeprefix(f"{tmp_path}/mine.toml: ") for error in caught.value.errors]


def entry(text: str) -> Entry:
    return Entry.model_validate(tomllib.loads(text))


# What is written


def test_the_short_forms_become_one_version_for_ever() -> None:
    flat = entry('id = "f"\ncurrency = "CNY"\nkind = "flat"\nprice = "0.5"').tariff("Asia/Shanghai", {})
    [version] = flat.versions
    assert (flat.id, flat.currency, flat.zone, version.from_day) == ("f", "CNY", "Asia/Shanghai", "1970-01-01")
    assert version.seasons == (Season("year", 1, 1, {Rate.SINGLE: 500_000}),)
    assert version.registers == {Rate.SINGLE: (TOTAL,)} and version.tou is None

    rates = 'peak = {registers = [2], price = "0.617"}\nvalley = {registers = [3, 4], price = "0.307"}'
    [version] = entry(f'id = "t"\ncurrency = "CNY"\nkind = "two_rate"\n{rates}').tariff("Asia/Shanghai", {}).versions
    assert version.seasons[0].prices == {Rate.PEAK: 617_000, Rate.VALLEY: 307_000}
    assert version.registers == {Rate.PEAK: ("energy_import_t2",), Rate.VALLEY: ("energy_import_t3", "energy_import_t4")}


WHOLE = """
id = "all"
currency = "CNY"
zone = "Asia/Shanghai"
rounding = {place = "rate", mode = "half_even", unit = "0.01"}
split = "billing_months"
late_fee = {per_day = "2‰", next_year = "0.3%", least = "1.00"}

[[version]]
from = "2025-01-01"
price = "0.5"

[[version]]
id = "new"
from = "2026-07-01"
registers = {peak = [2]}
period = ["07-01", "12-21 08:00"]
free = "15"
minimum = "10.00"
bands = [{over = "0", fixed = "30"}, {over = "30.5", surcharge = "40%"}]
fees = [{id = "pole", basis = "day", amount = "0.123456"}, {id = "kw", basis = "demand", amount = "42", least_kw = 40}]
power_factor = {standard = "0.85"}

[version.steps]
kind = "adder"
every = ["07-01", "12-21 08:00"]
up_to = ["2880", "4800.5"]
amounts = ["0", "0.05", "0.3"]
persons = 4
per_person = "100"
per_days = 30
by_service = false

[[version.season]]
id = "summer"
from = "05-01"
prices = {peak = "1.2", valley = "0.3"}

[[version.season]]
id = "winter"
from = "11-01"
prices = {peak = "1.1", valley = "0.2"}

[version.tou]
zones = [{from = "01-01", table = "cold"}, {from = "05-01", table = "warm"}]
weekend = ["sun", "sat"]
weekend_table = "rest"
holiday_table = "rest"
holidays = ["2026-10-01", "2026-10-02 warm"]
holidays_until = "2026-12-31"
[version.tou.tables]
cold = {peak = ["08:00-12:00", "17:30-22:00"], valley = ["22:00-08:00", "12:00-17:30"]}
warm = {peak = ["00:00-24:00"]}
rest = {valley = ["00:00-12:00", "12:00-24:00"]}
"""


def test_every_key_reaches_the_price_list(tmp_path: Path) -> None:
    tariff = loaded(tmp_path, WHOLE)
    assert (tariff.id, tariff.split, tariff.late_fee) == ("all", GapSplit.BILLING_MONTHS, LateFee(2, 3, 1_000_000))
    assert tariff.rounding == Rounding(RoundingPlace.RATE, RoundingMode.HALF_EVEN, 10_000)
    old, new = tariff.versions
    assert (old.id, old.from_day, new.id, new.from_day) == ("2025-01-01", "2025-01-01", "new", "2026-07-01")
    resets = (Reset(1, 0, 7), Reset(21, 8, 12))
    assert new.registers == {Rate.PEAK: ("energy_import_t2",)} and new.period == resets
    assert (new.free_wh, new.minimum_micro) == (15_000, 10_000_000)
    assert new.bands == (Band(0, 0, 30_000_000), Band(30_500, 400, 0))
    assert new.fees == (Fee("pole", FeeBasis.DAY, 123_456), Fee("kw", FeeBasis.DEMAND, 42_000_000, 40))
    assert new.power_factor == tariffs.power_factors()[85]
    assert new.steps == Steps(
        StepKind.ADDER, resets, (2_880_000, 4_800_500), (0, 50_000, 300_000), CountedOn.USE, 4, 100_000, 30, by_service=False
    )
    assert [(s.id, s.month, s.day, s.prices[Rate.PEAK]) for s in new.seasons] == [
        ("summer", 5, 1, 1_200_000),
        ("winter", 11, 1, 1_100_000),
    ]
    assert new.tou is not None
    assert new.tou.zones == (Zone(1, 1, "cold"), Zone(5, 1, "warm"))
    assert (new.tou.weekend, new.tou.weekend_table, new.tou.holidays_until) == ((6, 7), "rest", "2026-12-31")
    assert new.tou.holidays == {"2026-10-01": "rest", "2026-10-02": "warm"}
    assert new.tou.tables["cold"] == tuple(
        Switch(minute, rate)
        for minute, rate in ((0, Rate.VALLEY), (480, Rate.PEAK), (720, Rate.VALLEY), (1050, Rate.PEAK), (1320, Rate.VALLEY))
    )
    assert new.tou.tables["rest"] == (Switch(0, Rate.VALLEY),)


def test_a_table_alone_needs_no_zone_and_a_file_is_named_like_its_tariff(tmp_path: Path) -> None:
    tariff = loaded(tmp_path, HEAD + TOU)
    assert tariff.id == "mine"
    assert tariff.versions[0].tou is not None and tariff.versions[0].tou.zones == (Zone(1, 1, "day"),)
    assert tariff.versions[0].registers == {}, "no register is named: the split is by time"


def test_blocks_need_no_other_price(tmp_path: Path) -> None:
    steps = 'steps = {kind = "block", every = "month", up_to = ["350"], amounts = ["1.09", "1.23"], counted_on = "purchases"}'
    [version] = loaded(tmp_path, HEAD + f'[[version]]\nfrom = "2026-01-01"\n{steps}').versions
    assert version.steps is not None and version.steps.counted_on is CountedOn.PURCHASES
    assert version.seasons == (Season("year", 1, 1, {}),), "the blocks are the price"


# Files


def test_every_shipped_tariff_loads() -> None:
    assert len(tariffs.shipped()) >= 8
    for name, path in tariffs.shipped().items():
        assert tariffs.load_file(path).id == name


def test_the_power_factor_tables_of_1983() -> None:
    ninety, eighty_five, eighty = (dict(tariffs.power_factors()[standard].adjust) for standard in (90, 85, 80))
    assert {factor: ninety[factor] for factor in (95, 94, 90, 89, 70, 69, 65, 64, 63)} == {
        95: -75, 94: -60, 90: 0, 89: 50, 70: 1000, 69: 1100, 65: 1500, 64: 1700, 63: 1900,
    }  # fmt: skip
    assert {factor: eighty_five[factor] for factor in (94, 90, 85, 84, 65, 64, 60, 59)} == {
        94: -110, 90: -50, 85: 0, 84: 50, 65: 1000, 64: 1100, 60: 1500, 59: 1700,
    }  # fmt: skip
    assert {factor: eighty[factor] for factor in (92, 90, 80, 79, 60, 59, 55, 54)} == {
        92: -130, 90: -100, 80: 0, 79: 50, 60: 1000, 59: 1100, 55: 1500, 54: 1700,
    }  # fmt: skip
    for table in tariffs.power_factors().values():
        factors = [factor for factor, _ in table.adjust]
        assert factors == list(range(factors[0], -1, -1)), "every hundredth down to nothing has its row"


def test_a_configuration_names_files_shipped_or_beside_it(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('currency = "CNY"\n' + FLAT)
    entries = [
        entry('id = "a"\nfile = "beijing-residential-2012"'),
        entry('id = "b"\nfile = "own.toml"'),
        entry('id = "c"\ncurrency = "CNY"\nkind = "flat"\nprice = "1"'),
    ]
    found = tariffs.tariffs_of(entries, tmp_path, "Asia/Urumqi")
    assert [(t.id, t.zone) for t in found] == [("a", "Asia/Shanghai"), ("b", "Asia/Urumqi"), ("c", "Asia/Urumqi")]
    assert replace(found[0], id="beijing-residential-2012") == tariffs.load_file(tariffs.shipped()["beijing-residential-2012"])


def test_every_wrong_tariff_of_a_configuration_is_named(tmp_path: Path) -> None:
    (tmp_path / "two.toml").write_text('file = "own.toml"')
    with pytest.raises(SettingsError) as caught:
        tariffs.tariffs_of(
            [entry(f'id = "{n}"\nfile = "{f}"') for n, f in (("a", "nowhere"), ("b", "no.toml"), ("c", "two.toml"))],
            tmp_path,
            "UTC",
        )
    first, second, third = caught.value.errors
    assert first.startswith("tariff a: there is no tariff nowhere; write a path that ends with .toml, or one of beijing-")
    assert second == f"tariff b: {tmp_path}/no.toml: cannot be read: No such file or directory"
    assert third == f"tariff c: {tmp_path}/two.toml: names another file; a tariff's file holds the tariff itself"


def test_accounts_in_another_currency_than_their_tariff_in_a_file(tmp_path: Path) -> None:
    entries = [entry('id = "a"\nfile = "ceb-domestic-2013"'), entry('id = "b"\nfile = "flat-example"')]
    accounts = [Account(id=f"A-{tariff}", currency="CNY", tariff=tariff) for tariff in ("a", "b", "c")]
    found = tariffs.examine_tariffs(entries, accounts, tmp_path, "UTC")
    assert found == ["account A-a: is in CNY, but tariff a prices in LKR"]
    assert tariffs.examine_tariffs([entry('id = "a"\nfile = "x.toml"')], accounts, tmp_path, "UTC")[0].endswith(
        "No such file or directory"
    )


def test_the_registers_that_a_meter_must_give() -> None:
    needed = {name: tariffs.priced_registers(tariffs.load_file(path)) for name, path in tariffs.shipped().items()}
    assert needed["commercial-five-rates-example"] == needed["flat-example"] == (TOTAL,)
    assert needed["two-rate-example"] == (TOTAL, *(f"energy_import_t{n}" for n in (1, 2, 3, 4)))


def test_the_example_of_the_manual_loads(tmp_path: Path) -> None:
    manual = (Path(__file__).parents[2] / "docs" / "tariffs.md").read_text()
    whole, *others = (block.partition("```")[0] for block in manual.split("```toml\n")[1:])
    assert len(loaded(tmp_path, whole).versions) == 2
    for entries in (found["tariff"] for text in others if "tariff" in (found := tomllib.loads(text))):
        assert tariffs.tariffs_of([Entry.model_validate(table) for table in entries], tmp_path, "UTC")


# What is wrong


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"06:00-22:00"', '"06:00-21:00"', "day table day: no rate holds from 21:00 to 22:00"),
        ('"22:00-06:00"', '"22:00-05:59"', "day table day: no rate holds from 05:59 to 06:00"),
        ('"22:00-06:00"', '"21:30-06:00"', "day table day: from 21:30 to 22:00 hold peak and valley"),
        ('"06:00-22:00"', '"06:00-22:00", "07:00-08:00"', "day table day: from 07:00 to 08:00 hold peak and peak"),
        ('"06:00-22:00"', '"06:00-25:00"', "day table day: '06:00-25:00' is no part of a day; write one like"),
        ('"06:00-22:00"', '"6-22"', "day table day: '6-22' is no part of a day; write one like 08:00-22:00 or 22:00-06:00"),
        ("{peak = [", "{night = [", "version[0].tou.tables.day.night: 'night' is no rate; they are single, sharp, peak, flat, "),
        ("tables.day", "zones = []\ntables.day", "version[0].tou.zones: List should have at least 1 item"),
        ("tables.day", 'zones = [{from = "01-01", table = "night"}]\ntables.day', "there is no day table night"),
        ("tables.day", 'zones = [{from = "02-30", table = "day"}]\ntables.day', "'02-30' is no day of a year"),
        ("tables.day", 'tables.rest = {flat = ["00:00-24:00"]}\ntables.day', "zones are missing: with more than one table, write"),
        ("tables.day", 'weekend = ["sun"]\ntables.day', "weekend and weekend_table go together"),
        ("tables.day", 'weekend = ["Sunday"]\ntables.day', "'Sunday' is no day of the week; they are mon, tue"),
        ("tables.day", 'holidays = ["2026-10-01 day"]\ntables.day', "holidays_until is missing"),
        ("tables.day", 'holidays = ["2026-10-01"]\nholidays_until = "2026-12-31"\ntables.day', "2026-10-01 needs a table"),
        ("tables.day", 'holidays = ["2026-13-01 day"]\nholidays_until = "2026-12-31"\ntables.day', "'2026-13-01' is no date"),
        ('prices = {peak = "0.8", valley = "0.3"}', "", "version[0]: has no prices: write price, prices or [[...season]]"),
        ('"0.8"', "0.8", 'version[0].prices.peak: must be written in quotes, like "0.617"'),
        ('"0.8"', '"0.8000001"', "version[0].prices.peak: a price per kWh is a decimal string with at most 6 decimals"),
        ('"2026-01-01"', '"2026-1-1"', "version[0].from: '2026-1-1' is no date; write one like 2026-01-01"),
        ('"2026-01-01"', "2026-01-01", 'version[0].from: must be written in quotes, like "2026-01-01"'),
        ('from = "2026-01-01"', "", "version[0].from: is missing"),
        ('"CNY"', '"DEM"', "currency: currency 'DEM' is not known here"),
        ('zone = "Asia/Shanghai"', "", "zone is missing: write one like Asia/Shanghai"),
        ("[version.tou]", 'colour = "red"\n[version.tou]', "version[0].colour: is not a known key"),
        ("[version.tou]", 'free = "-1"\n[version.tou]', "version[0].free: an energy is a string in kWh with at most 3 decimals"),
        ("[version.tou]", 'minimum = "1.005"\n[version.tou]', "money in CNY is written with exactly 2 decimals, like 50.00"),
        ("[version.tou]", 'bands = [{over = "0", surcharge = "0.25%"}]\n[version.tou]', "no finer than 0.1%, not '0.25%'"),
        ("[version.tou]", 'bands = [{over = "0", surcharge = "40"}]\n[version.tou]', "a share is a string like 40%, 0.75% or 2‰"),
        ("[version.tou]", 'period = ["29"]\n[version.tou]', "version[0].period: '29': every month has the days 01 to 28 only"),
        ("[version.tou]", 'period = "week"\n[version.tou]', 'version[0].period: is "month", "year", or a list like'),
        ("[version.tou]", 'power_factor = {standard = "0.95"}\n[version.tou]', "for 0.95, only for 0.80, 0.85, 0.90; write rows"),
        (
            "[version.tou]",
            'steps = {kind = "adder", every = "month", up_to = ["240", "240"], amounts = ["0", "1", "2"]}\n[version.tou]',
            "version[0].steps: the thresholds in up_to must rise",
        ),
        (
            "[version.tou]",
            'steps = {kind = "adder", every = "month", up_to = ["240"], amounts = ["0"]}\n[version.tou]',
            "version[0].steps: 1 thresholds in up_to need one amount more, not 1",
        ),
        ("[[version]]", 'kind = "flat"\nprice = "1"\n[[version]]', "a tariff has either kind, file or [[...version]]"),
        ("[[version]]", 'file = "x"\n[[version]]', "a tariff in a file of its own has no currency, version, zone here"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    text = HEAD + TOU
    assert text.count(old) == 1
    [error] = errors(tmp_path, text.replace(old, new))
    assert sentence in error


def test_every_fault_of_a_file_at_once(tmp_path: Path) -> None:
    text = (HEAD + TOU).replace('"0.8"', "0.8").replace('"06:00-22:00"', '"06:00-12:00", "13:00-21:00"').replace('"CNY"', '"X"')
    found = errors(tmp_path, text)
    assert len(found) == 3
    assert "no rate holds from 12:00 to 13:00; no rate holds from 21:00 to 22:00" in "\n".join(found)


def test_what_is_no_toml_or_no_file(tmp_path: Path) -> None:
    assert "is not TOML" in errors(tmp_path, "currency = ")[0]
    with pytest.raises(SettingsError, match=r"gone\.toml: cannot be read"):
        tariffs.load_file(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('id = "f"\ncurrency = "CNY"\nkind = "flat"', "a flat tariff has a price and no rates"),
        ('id = "f"\ncurrency = "CNY"\nkind = "two_rate"\nprice = "1"', r"a two_rate tariff has \[peak\] and \[valley\]"),
        ('id = "f"\ncurrency = "CNY"\nkind = "flat"\nprice = 0.5', "Input should be a valid string"),
        (
            'id = "f"\ncurrency = "CNY"\nkind = "two_rate"\n'
            'peak = {registers = [1], price = "1"}\nvalley = {registers = [1], price = "1"}',
            "a rate register stands in both peak and valley",
        ),
    ],
)
def test_the_short_forms_are_checked_as_ever(text: str, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        entry(text)
