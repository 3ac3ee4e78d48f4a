"""`wattgate tariffs`: files checked and shown, charges explained, profiles priced, sales quoted."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.adapters.store import Store, store_file
from gateway.cli import app
from gateway.cli.tariffs import tariffs
from gateway.domain.price_list import Terms
from tests.gateway.cli.street import Ran
from tests.gateway.services.house import House, account, meter

VECTORS = {
    vector["id"]: vector for vector in json.loads((Path(__file__).parents[2] / "vectors/prepayment.json").read_text())["tariffs"]
}
HEAD = 'currency = "CNY"\nzone = "Asia/Shanghai"\n[[version]]\nfrom = "2010-01-01"\n'
Here = Callable[..., Ran]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """The verb, run in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Ran:
        monkeypatch.setattr("sys.argv", ["wattgate", "tariffs", *map(str, words)])
        capsys.readouterr()
        code = 0
        try:
            app.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A store in which meter m1 was charged 2 and 3 kWh at 0.5, on 24 November 2026 from 10:00 in Shanghai."""
    with Store.open(str(store_file(tmp_path))) as store:
        house = House(store).settle(meter("m1"), accounts=[account(terms=Terms(persons=3))], balance="100")
        for total in ("1.00", "3.00", "6.00"):
            house.block("m1", total)
            house.later(minutes=1)
    return tmp_path


def test_every_verb_has_help_with_an_example() -> None:
    verbs = [command.name or command.callback.__name__ for command in tariffs.registered_commands if command.callback]
    assert verbs == ["check", "show", "explain", "simulate", "vend", "import", "export"]
    for verb in verbs:
        assert f"Example: wattgate tariffs {verb}" in " ".join(CliRunner().invoke(tariffs, [verb, "--help"]).output.split())


# check and show


def test_check(here: Here, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(HEAD + 'price = "0.5"')
    assert here("check", "t.toml").out == "t.toml: good: tariff t in CNY, versions from 2010-01-01\n"


def test_check_says_which_minute(here: Here, tmp_path: Path) -> None:
    day = '[version.tou]\ntables.day = {peak = ["06:00-22:00"], valley = ["22:30-06:00"]}'
    (tmp_path / "t.toml").write_text(f'{HEAD}prices = {{peak = "1", valley = "0.3"}}\n{day}')
    ran = here("check", "t.toml")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err == "t.toml: version[0].tou: day table day: no rate holds from 22:00 to 22:30\n"


def test_show_a_year(here: Here) -> None:
    said = here("show", "commercial-five-rates-example").out
    for line in (
        "commercial-five-rates-example: prices in CNY, times of Asia/Shanghai",
        "rounded: each line, half up, to 0.01",
        "late fee: 0.2% a day, 0.3% after the year's end, at least 1.00",
        "version 2026: from 2026-01-01",
        "  season summer, from 07-01: sharp 1.452, peak 1.21, flat 0.702, valley 0.301, deep_valley 0.226 per kWh",
        "  zone 02-01 to 06-30: day table mild",
        "  zone 12-01 to 12-31: day table cold",
        "  Sun: day table sunday",
        "  day table holiday: 00:00-06:00 valley, 06:00-10:00 flat, 10:00-14:00 deep_valley, 14:00-22:00 flat, 22:00-24:00 valley",
        "  fee capacity: 28.00 per kVA and period",
        "  power factor: standard 0.90, from -0.75% at 0.95 to 145% at 0.00",
    ):
        assert f"{line}\n" in said


def test_show_steps_bands_and_versions(here: Here, tmp_path: Path) -> None:
    said = here("show", "ceb-domestic-2013").out
    for line in (
        "  steps (price of the energy), counted on what was used since day 1 of every month 00:00:",
        "    1. to 30 kWh: 3.00",
        "    6. above: 36.00",
        "    thresholds scale with the days of the period / 30",
        "  a period of more than 30 kWh: surcharge 35%, fixed 60.00 LKR",
    ):
        assert f"{line}\n" in said
    (tmp_path / "two.toml").write_text(
        HEAD + 'price = "0.5"\nfree = "15"\n[[version]]\nfrom = "2026-01-01"\nprice = "0.6"\nminimum = "3.00"'
    )
    said = here("show", "two.toml").out
    assert "version 2010-01-01: from 2010-01-01 to before 2026-01-01\n" in said and "version 2026-01-01: from 2026-01-01\n" in said
    assert "  free: the first 15 kWh of each period\n" in said and "  minimum of a period: 3.00\n" in said


def test_show_as_json_and_what_there_is(here: Here) -> None:
    tariff = json.loads(here("show", "beijing-residential-2012", "--json").out)
    assert tariff["versions"][0]["steps"]["thresholds_wh"] == [240_000, 400_000]
    assert "beijing-residential-2012" in here("show").out.split() and "power-factor-1983" not in here("show").out
    ran = here("show", "nowhere")
    assert ran.code == 1 and ran.err.startswith("there is no tariff nowhere; write a path that ends with .toml, or one of ")


def test_show_one_of_a_configuration(here: Here, tmp_path: Path) -> None:
    (tmp_path / "gateway.toml").write_text(
        '[gateway]\nid = "g"\n[[tariff]]\nid = "mine"\ncurrency = "CNY"\nkind = "two_rate"\n'
        'peak = {registers = [1], price = "0.8"}\nvalley = {registers = [2], price = "0.3"}'
    )
    said = here("show", "mine", "-c", "gateway.toml").out
    assert "  all year: peak 0.80, valley 0.30 per kWh\n" in said and "  valley energy is read from energy_import_t2\n" in said
    assert here("show", "-c", "gateway.toml").out == "mine\n"


# explain what is typed


def explained(here: Here, *words: object) -> dict[str, object]:
    ran = here("explain", *words, "--json")
    assert ran.code == 0, ran.err
    found: dict[str, object] = json.loads(ran.out)
    return found


def test_the_steps_of_beijing(here: Here, tmp_path: Path) -> None:
    vector = VECTORS["beijing-increment-formula"]
    steps = {"up_to": [str(kwh) for kwh in vector["thresholds"]], "amounts": ["0", *vector["adders"]]}
    (tmp_path / "t.toml").write_text(
        f'{HEAD}price = "{vector["base"]}"\n[version.steps]\nkind = "adder"\nevery = "month"\n'
        + "\n".join(f"{key} = {json.dumps(value)}" for key, value in steps.items())
    )
    found = explained(here, "--tariff", "t.toml", "--from", "2026-01-01T00:00", "0", "--to", "2026-02-01T00:00", vector["kwh"])
    assert found["total"] == vector["total"]
    said = here("explain", "--tariff", "t.toml", "--from", "2026-01-01", "0", "--to", "2026-02-01", "1000").out
    assert said == (
        "2026-01-01T00:00:00+08:00 to 2026-02-01T00:00:00+08:00, 2 values\n"
        "  energy_import: 0 to 1000, 1000 kWh\n"
        "period 2026-01-01T00:00\n"
        "  energy single  1000 kWh  x 0.53  530.00  energy at its rate's price\n"
        "  step 1          240 kWh  x 0.00    0.00  step 1, up to 240 kWh\n"
        "  step 2          160 kWh  x 0.05    8.00  step 2, up to 400 kWh\n"
        "  step 3          600 kWh  x 0.30  180.00  step 3, over 400 kWh\n"
        "total: 718.00 CNY for 1000 kWh\n"
    )


def test_the_registers_of_shanghai(here: Here) -> None:
    vector = VECTORS["shanghai-tier1-tou"]
    peak, valley = vector["peak_kwh"], vector["valley_kwh"]
    end = f"{peak + valley},t1=0,t2={peak},t3=0,t4={valley}"
    found = explained(
        here, "--tariff", "shanghai-residential-2012", "--from", "2026-01-01", "0,t1=0,t2=0,t3=0,t4=0", "--to", "2026-06-01", end
    )  # fmt: skip
    assert Decimal(str(found["total"])) == Decimal(vector["total"])


def test_the_blocks_and_the_surcharge_of_sri_lanka(here: Here) -> None:
    vector = VECTORS["ceb-2013-210kwh-31days"]
    found = explained(here, "--tariff", "ceb-domestic-2013", "--from", "2013-05-01", "100", "--to", "2013-06-01", "310")
    lines = found["lines"]
    assert isinstance(lines, list)
    blocks = [line for line in lines if line["component"] == "energy"]
    assert [line["kwh"] for line in blocks] == [str(kwh) for kwh in vector["blocks_kwh"]]
    assert [line["amount"] for line in blocks] == vector["energy"]
    assert [line["amount"] for line in lines if line["component"] == "surcharge"] == [vector["fac_40pct"]]


def test_steps_go_on_from_what_was_used(here: Here, tmp_path: Path) -> None:
    vector = VECTORS["meter-step-boundary"]
    (tmp_path / "t.toml").write_text(
        f'{HEAD}price = "{vector["rate"]}"\n[version.steps]\nkind = "adder"\nevery = "year"\n'
        f"up_to = {json.dumps([str(kwh) for kwh in vector['thresholds']])}\namounts = {json.dumps(vector['adders'])}"
    )
    span = "--from", "2026-11-01", "0", "--to", "2026-11-02", vector["consume"]
    assert explained(here, "--tariff", "t.toml", *span, "--used", vector["used_before"])["total"] == vector["deduct_yuan"]


def test_fees_demand_and_power_factor(here: Here, tmp_path: Path) -> None:
    fees = 'fees = [{id = "kva", basis = "kva", amount = "28"}, {id = "kw", basis = "demand", amount = "40"}]'
    (tmp_path / "t.toml").write_text(f'{HEAD}price = "1"\n{fees}\npower_factor = {{standard = "0.90"}}')
    words = "--tariff", "t.toml", "--from", "2026-01-01", "0", "--to", "2026-02-01", "800"
    lines = explained(here, *words, "--kva", "100", "--demand", "2.5", "--reactive", "600")["lines"]
    assert isinstance(lines, list)
    assert {line["name"] or line["component"]: line["amount"] for line in lines} == {
        "energy": "800.00",
        "kva": "2800.00",
        "kw": "100.00",
        "power_factor": "185.00",  # 0.80 against 0.90: 5 % of 3700
    }


def test_what_is_shared_by_time_is_called_estimated(here: Here, tmp_path: Path) -> None:
    (tmp_path / "t.toml").write_text(HEAD + 'price = "0.5"\n[[version]]\nfrom = "2026-01-11"\nprice = "0.6"')
    ran = here("explain", "--tariff", "t.toml", "--from", "2026-01-01", "0", "--to", "2026-01-21", "20")
    assert "estimated: 20 kWh (shared by time)\n" in ran.out and "total: 11.00 CNY for 20 kWh\n" in ran.out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--tariff", "flat-example"], 2, "name --entry N with -c FILE or --data DIR, or --tariff with --from TIME KWH"),
        (["--entry", "1"], 2, "name either a configuration (-c FILE) or a data directory (--data DIR)"),
        (["--entry", "1", "--tariff", "flat-example"], 2, "--entry explains what is in the ledger"),
        (["--tariff", "flat-example", "--from", "now", "0", "--to", "2026-01-01", "1"], 2, "now: is no time; write one like"),
        (["--tariff", "flat-example", "--from", "2026-01-01", "x", "--to", "2026-01-02", "1"], 2, "'x' is not a number like 12.5"),
        (["--tariff", "flat-example", "--from", "2026-01-01", "0,t0=1", "--to", "2026-01-02", "1"], 2, "t0=1: a rate register is"),
        (["--tariff", "flat-example", "--from", "2026-01-01", "t1=1", "--to", "2026-01-02", "1"], 2, "t1=1: the total comes first"),
        (
            ["--tariff", "flat-example", "--from", "2026-01-01", "5", "--to", "2026-01-02", "1"],
            1,
            "energy_import goes back from 5000",
        ),
        (["--tariff", "flat-example", "--from", "2026-01-03", "0", "--to", "2026-01-02", "1"], 1, "cannot follow"),
        (["--tariff", "beijing-residential-2012", "--from", "2010-01-03", "0", "--to", "2010-02-02", "1"], 1, "2012-07-01"),
        (["--tariff", "two-rate-example", "--from", "2026-01-01", "0", "--to", "2026-01-02", "1"], 1, "energy_import_t"),
    ],
)
def test_what_cannot_be_explained(here: Here, words: list[str], code: int, sentence: str) -> None:
    ran = here("explain", *words)
    assert (ran.code, ran.out) == (code, "") and sentence in ran.err and ran.err.count("\n") == 1


# explain what is in the ledger


def test_an_entry_explains_itself(here: Here, data: Path) -> None:
    said = here("explain", "--data", data, "--entry", 2).out
    assert "entry 2: charge, posted 2026-11-24T02:01:00+00:00\n" in said
    assert "  meter: m1\n" in said and "  energy_import: 1 to 3 kWh\n" in said
    assert "period 2026-11-01T00:00\n  energy single  2 kWh  x 0.50  1.00  energy at its rate's price\n" in said
    assert "  customer:A-1: -1.00 CNY\n" in said
    entry = json.loads(here("explain", "--data", data, "--entry", 2, "--json").out)
    assert entry["lines"][0]["amount"] == "1.00" and entry["legs"][0] == {"account": "customer:A-1", "amount": "-1.00"}
    ran = here("explain", "--data", data, "--entry", 9)
    assert (ran.code, ran.err) == (1, "there is no entry 9; the journal has 3\n")


# simulate


def test_a_stored_profile_beside_its_charges(here: Here, data: Path) -> None:
    words = "simulate", "--tariff", "beijing-residential-2012", "--meter", "m1", "--data", data
    said = here(*words).out
    for line in (
        "meter m1 of account A-1",
        "2026-11-24T10:00:00+08:00 to 2026-11-24T10:02:00+08:00, 3 values",
        "total: 2.4415 CNY for 5 kWh",
        "charged: 2.50 CNY for 5 kWh, in 2 entries",
        "difference: -0.0585 CNY",
    ):
        assert f"{line}\n" in said
    found = json.loads(here(*words, "--from", "2026-11-24T10:01", "--json").out)
    assert (found["kwh"], found["total"], found["left_out"]) == ("3", "1.4649", 0)
    assert found["charged"] == {"entries": 1, "kwh": "3", "amount": "1.50", "currency": "CNY"} and found["difference"] == "-0.0351"
    other = json.loads(here("simulate", "--tariff", "ceb-domestic-2013", "--meter", "m1", "--data", data, "--json").out)
    assert other["currency"] == "LKR" and other["difference"] is None


def test_the_terms_of_the_account_hold_unless_others_are_given(here: Here, data: Path) -> None:
    steps = 'kind = "adder", every = "month", up_to = ["1"], amounts = ["0", "1"], persons = 1, per_person = "1"'
    (data / "persons.toml").write_text(f'{HEAD}price = "0.1"\nsteps = {{{steps}}}')
    words = "simulate", "--tariff", "persons.toml", "--meter", "m1", "--data", data, "--json"
    assert [json.loads(here(*words, *more).out)["total"] for more in ((), ("--persons", "1"))] == ["2.50", "4.50"]


def test_rates_without_registers_go_by_the_clock(here: Here, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("time,kwh\n2026-01-01T21:00,1\n2026-01-01T22:00,2\n2026-01-01T23:00,4\n")
    found = json.loads(here("simulate", "--tariff", "zhejiang-residential-tou", "--profile", "p.csv", "--json").out)
    rates = {line["rate"]: line["kwh"] for line in found["lines"] if line["component"] == "energy"}
    assert (rates, found["to"]) == ({"peak": "1", "valley": "6"}, "2026-01-02T00:00:00+08:00")
    assert Decimal(found["total"]) == Decimal("0.568") + 6 * Decimal("0.288")
    (tmp_path / "r.csv").write_text("time, register\n2026-01-01T21:00, 5\n2026-01-01T22:00, 6\n2026-01-02T00:00, 12\n")
    again = json.loads(here("simulate", "--tariff", "zhejiang-residential-tou", "--profile", "r.csv", "--json").out)
    assert again["total"] == found["total"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "p.csv: its first line must be time,kwh (used from then to the next line) or time,register"),
        ("2026-01-01,1\n", "p.csv: its first line must be time,kwh"),
        ("time,kwh\n2026-01-01,1\n", "p.csv: a profile has at least two lines"),
        ("time,kwh\n2026-01-01,1\n2026-01-01,1\n", "p.csv: line 3 is not later than the one before"),
        ("time,kwh\n2026-01-01,1\n2026-01-02\n", "p.csv: line 3 has not two columns"),
        ("time,kwh\n2026-01-01,1\n2026-01-02,-1\n", "p.csv: line 3: '-1' is not a number like 12.5 with at most 3 decimals"),
        ("time,kwh\n2026-01-01,1\n2026-01-02,0.0001\n", "p.csv: line 3: '0.0001' is not a number"),
        ("time,kwh\n2026-01-01,1\nsoon,1\n", "soon: is no time; write one like 2026-01-01T00:00"),
        ("time,register\n2026-01-01,2\n2026-01-02,1\n", "p.csv: line 3 shows less than the one before"),
    ],
)
def test_what_is_no_profile(here: Here, tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "p.csv").write_text(text)
    ran = here("simulate", "--tariff", "flat-example", "--profile", "p.csv")
    assert ran.code in (1, 2) and ran.err.startswith(sentence) and ran.err.count("\n") == 1


def test_what_cannot_be_simulated(here: Here, data: Path) -> None:
    for words, code, sentence in (
        ((), 2, "name either a meter (--meter M, with -c FILE or --data DIR) or a file (--profile CSV)"),
        (("--meter", "m9", "--data", data), 1, "there is no meter m9 in the archive"),
        (("--meter", "m1", "--data", data, "--from", "2027-01-01"), 1, "there is no energy to price: it takes two good values"),
    ):
        ran = here("simulate", "--tariff", "flat-example", *words)
        assert (ran.code, ran.err) == (code, f"{sentence}\n")


# vend


def test_what_money_buys_in_johannesburg(here: Here) -> None:
    vector = VECTORS["johannesburg-2018-R2000"]
    sold = json.loads(here("vend", "--tariff", "johannesburg-prepaid-2018", "--amount", vector["spend"], "--json").out)
    amounts = [block[2] for block in vector["blocks"]] + [vector["remainder"]]
    assert [line["amount"] for line in sold["lines"]] == amounts
    assert sold["lines"][2]["kwh"] == vector["vended_kwh_of_remainder"] and sold["kwh"] == "1240.5"
    said = here("vend", "--tariff", "johannesburg-prepaid-2018", "--amount", "100.00", "--bought", "1000").out
    assert said == "  energy single step 3  55.1 kWh  x 1.8154  100.00  step 3, over 1000 kWh\n100.00 ZAR buy 55.1 kWh\n"


def test_purchases_move_the_step_of_eskom(here: Here) -> None:
    vector = VECTORS["eskom-homelight20A"]
    money = vector["split"][0] * Decimal("1.09") + vector["split"][1] * Decimal("1.23")
    sold = json.loads(here("vend", "--tariff", "eskom-homelight-20a-example", "--amount", f"{money:.2f}", "--json").out)
    assert [line["kwh"] for line in sold["lines"]] == [str(kwh) for kwh in vector["split"]] and sold["kwh"] == str(vector["kwh"])


def test_what_cannot_be_sold(here: Here) -> None:
    for tariff, amount, sentence in (
        ("beijing-residential-2012", "50.00", "count what is used, so that nobody can say what energy ahead costs"),
        ("two-rate-example", "50.00", "depends on when energy is used: it cannot be sold ahead"),
        ("johannesburg-prepaid-2018", "50", "money in ZAR is written with exactly 2 decimals, like 50.00"),
    ):
        ran = here("vend", "--tariff", tariff, "--amount", amount)
        assert ran.code == 1 and sentence in ran.err
