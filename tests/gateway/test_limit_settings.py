"""Load limits in the configuration: the shipped examples, what they mean, and every mistake with its reason."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from gateway.bootstrap.archive import archive_of
from gateway.bootstrap.examine import examine
from gateway.bootstrap.limits import limit_asked
from gateway.domain.limit_body import limit_body, limit_from, told
from gateway.domain.limits import LoadLimit
from gateway.domain.load_caps import Cap, CapTable, MonthCap
from gateway.domain.malignant_load import MalignantMode, MalignantRule, Permitted, PowerWindow
from gateway.settings.limits import LoadPolicy
from tests.gateway.test_settings import GOOD, errors, settings

EXAMPLES = Path(__file__).parents[2] / "config" / "limits"
CONTRACT = "contract 17 of 2026"


def limit(tmp_path: Path, text: str, more: str = "") -> LoadLimit | None:
    """What this `limit` of the account means."""
    file = GOOD.replace('tariff = "flat"\n\n[[meter]]', f'tariff = "flat"\nlimit = {text}\n\n[[meter]]') + more
    (opening,) = archive_of(settings(tmp_path, file), tmp_path).accounts
    return opening.account.limit


def example(name: str) -> LoadLimit:
    (table,) = tomllib.loads((EXAMPLES / f"{name}.toml").read_text())["load_policy"]
    return LoadPolicy.model_validate(table).limit(table["id"])


def test_a_limit_as_it_always_was(tmp_path: Path) -> None:
    assert limit(tmp_path, "{power_w = 3000, delay_s = 60}") == LoadLimit(3000, 60_000, 60_000, 3)
    assert limit(tmp_path, "{power_w = 3000, delay_s = 60, pause_s = 5, recloses = 0}") == LoadLimit(3000, 60_000, 5_000, 0)


def test_the_shipped_examples_mean_what_they_say() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.toml")) == ["contract", "dormitory", "flat"]
    assert example("flat") == LoadLimit(
        *(13_800, 120_000, 120_000, 3, 3_600_000), current_ma=60_000, warn=900, lockout_ms=1_800_000, policy="flat"
    )
    caps = CapTable(
        "house rules 2026, signed with the room's agreement",
        workday=(Cap(360, 1000), Cap(1380, 200)),
        holiday=(Cap(420, 1200), Cap(1439, 200)),
        rest=(6, 7),
    )
    kettle = Permitted("kettle of the tea kitchen", 1500, 60)
    rule = MalignantRule(MalignantMode.TRIP, (PowerWindow(300, 3000),), 970, (kettle,), 60_000, 3)
    assert example("dormitory") == LoadLimit(1500, 60_000, 60_000, 3, caps=caps, malignant=rule, policy="dormitory")
    assert example("contract") == LoadLimit(
        *(8_000, 120_000, 60_000, 2),
        caps=CapTable(f"{CONTRACT}, annex 2", (Cap(0), Cap(60, off=True), Cap(300))),
        month=MonthCap(200_000, f"{CONTRACT}, annex 1", 1_100),
        written={"trip_current_limit": 60_000, "trip_guard_delay": 2},
        policy="contract",
    )


@pytest.mark.parametrize("name", ["flat", "dormitory", "contract"])
def test_a_limit_goes_through_an_approval_unchanged(name: str) -> None:
    assert limit_from(limit_body(example(name))) == example(name)


@pytest.mark.parametrize(
    "body",
    [{}, {"colour": 1}, {**limit_body(LoadLimit(1, 1, 1, 1)), "caps": 7}, {**limit_body(LoadLimit(1, 1, 1, 1)), "month": {}}],
)
def test_what_is_no_limit_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="this is no load limit"):
        limit_from(body)  # type: ignore[arg-type]


def test_a_limit_in_a_few_words() -> None:
    assert told(None) == "none"
    assert told(LoadLimit(3000, 60_000, 5_000, 2)) == "power_w 3000, delay_ms 60000, pause_ms 5000, recloses 2, forget_ms 3600000"


def test_an_account_names_a_policy(tmp_path: Path) -> None:
    policy = (EXAMPLES / "flat.toml").read_text()
    assert limit(tmp_path, '{policy = "flat"}', policy) == example("flat")


POLICY = '[[load_policy]]\nid = "p"\npower_w = 9\ndelay_s = 90\n'
CAPS = POLICY + '[load_policy.caps]\nplan = "x"\n'
HEATERS = POLICY + "[load_policy.malignant]\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[load_policy]]\nid = "p"\ndelay_s = 5\n', "load_policy[0]: limits nothing: write power_w, current_a, caps, month"),
        ('[[load_policy]]\nid = "p"\npower_w = 5\n', "load_policy[0]: delay_s is missing"),
        ('[[load_policy]]\nid = "p"\ncurrent_a = "0"\ndelay_s = 5\n', "load_policy[0]: current_a must be above zero"),
        ('[[load_policy]]\nid = "p"\ncurrent_a = 5\ndelay_s = 5\n', "load_policy[0].current_a: a current is a string in A"),
        (POLICY + 'warn = "100%"\n', "load_policy[0]: warn is a share of what is allowed, like 90%"),
        (POLICY + POLICY, "load_policy p: is there twice"),
        (CAPS + "workday = []\n", "load_policy[0].caps.workday: List should have at least 1 item"),
        (CAPS + "workday = [" + '{from = "01:00"},' * 9 + "]\n", "load_policy[0].caps.workday: List should have at most 8 items"),
        (
            CAPS + 'workday = [{from = "02:00"}, {from = "01:00"}]\n',
            "load_policy[0].caps: workday: the periods stand in order of their",
        ),
        (
            CAPS + 'workday = [{from = "02:00"}, {from = "02:00"}]\n',
            "load_policy[0].caps: workday: the periods stand in order of their",
        ),
        (CAPS + 'workday = [{from = "24:00"}]\n', "load_policy[0].caps.workday[0].from: must be a time of the day in quotes"),
        (
            CAPS + 'workday = [{from = "01:00", off = true, power_w = 5}]\n',
            "load_policy[0].caps.workday[0]: is either off or has a cap",
        ),
        (
            CAPS + 'workday = [{from = "01:00"}]\nrest = ["sun"]\n',
            "load_policy[0].caps: has days that stand out, but no holiday periods",
        ),
        (
            CAPS
            + 'workday = [{from = "01:00"}]\nholiday = [{from = "01:00"}]\nholidays = ["2026-01-01"]\nworkdays = ["2026-01-01"]\n',
            "load_policy[0].caps: 2026-01-01 is both a holiday and a workday",
        ),
        (
            CAPS + 'workday = [{from = "01:00"}]\nholiday = [{from = "01:00"}]\ncalendar = "c"\ntariff_holidays = true\n',
            "load_policy[0].caps: holidays are either those of a calendar or those of the tariff",
        ),
        (POLICY + '[load_policy.caps]\nworkday = [{from = "01:00"}]\n', "load_policy[0].caps.plan: is missing"),
        (POLICY + '[load_policy.month]\nplan = "x"\nenergy_kwh = "5"\n', "load_policy[0].month: needs what holds when the amount"),
        (
            POLICY + '[load_policy.month]\nplan = "x"\nenergy_kwh = "5"\npower_w = 5\noff = true\n',
            "load_policy[0].month: needs what holds when the amount",
        ),
        (HEATERS + "windows = [[29, 50]]\n", "load_policy[0].malignant: windows: [29, 50] is no span of W from 30 up"),
        (HEATERS + "windows = [[50, 40]]\n", "load_policy[0].malignant: windows: [50, 40] is no span of W from 30 up"),
        (HEATERS + "windows = [" + "[30, 40]," * 7 + "]\n", "load_policy[0].malignant.windows: List should have at most 6 items"),
        (
            HEATERS + 'windows = [[30, 40]]\npower_factor = "1"\n',
            "load_policy[0].malignant.power_factor: a power factor is a string",
        ),
        (POLICY + "[load_policy.meter]\n", "load_policy[0].meter: says nothing that could be written into a meter"),
        (
            POLICY + '[load_policy.meter]\ntrip_current_a = "1000"\n',
            "load_policy[0].meter: trip_current_a is more than a meter's register",
        ),
        (
            POLICY + '[load_policy.meter]\nalarm_1 = "5.00"\nalarm_2 = "6.00"\n',
            "load_policy[0].meter: alarm_1 must not lie below alarm_2",
        ),
    ],
)
def test_each_mistake_is_named_with_its_key(tmp_path: Path, text: str, sentence: str) -> None:
    (error,) = errors(tmp_path, GOOD + text)
    assert error.startswith(sentence)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{policy = "elsewhere"}', "account A: there is no load_policy elsewhere"),
        ('{policy = "p", delay_s = 5}', "account[0].limit: is that of policy p, and has no delay_s of its own"),
        ("{}", "account[0].limit: limits nothing"),
    ],
)
def test_an_accounts_limit_is_its_own_or_a_policys(tmp_path: Path, text: str, sentence: str) -> None:
    file = GOOD.replace('tariff = "flat"\n\n[[meter]]', f'tariff = "flat"\nlimit = {text}\n\n[[meter]]') + POLICY
    (error,) = errors(tmp_path, file)
    assert error.startswith(sentence)


def refused(tmp_path: Path, policy: str, profile: str = "dlt645-single", more: str = "") -> list[str]:
    """What `check` says of an account with this policy."""
    file = GOOD.replace('tariff = "flat"\n\n[[meter]]', 'tariff = "flat"\nlimit = {policy = "p"}\n\n[[meter]]')
    passwords = tmp_path / "passwords.toml"
    passwords.write_text('[control]\nlevel = 2\npassword = "000000"\n')
    passwords.chmod(0o600)
    file = file.replace('id = "g"', 'id = "g"\npasswords = "passwords.toml"').replace('"dlt645-single"', f'"{profile}"')
    report = examine(settings(tmp_path, file.replace('account = "A"', f'account = "A"\n{more}') + policy), tmp_path)
    return [error.removeprefix("account A: ") for error in report.errors]


@pytest.mark.parametrize(
    ("policy", "profile", "sentence"),
    [
        (POLICY.replace("90", "30"), "dlt645-single", "its load limit's delay of 30 s is shorter than scheme.instant_s (60 s)"),
        (
            POLICY.replace("power_w = 9", 'current_a = "9"').replace("90", "30"),
            "dlt645-single",
            "its load limit's delay of 30 s is shorter",
        ),
        (
            CAPS.replace("90", "30") + 'workday = [{from = "01:00", power_w = 5}]\n',
            "dlt645-single",
            "its load limit's delay of 30 s",
        ),
        (POLICY, "eastron-sdm120", "it has a load limit, but no meter with a switch that the limit could open"),
        (
            HEATERS + "windows = [[30, 40]]\n",
            "dlt645-single",
            "malignant load cannot be seen at meter a-1: profile dlt645-single reads",
        ),
        (POLICY.replace("power_w = 9", 'current_a = "9"'), "acrel-ddsy1352", None),
        (
            POLICY.replace("power_w = 9", 'current_a = "9"'),
            "acrel-dtsy1352",
            "its limit in A cannot be kept at meter a-1: profile acrel-dtsy1352 reads no current",
        ),
        (
            POLICY + "[load_policy.meter]\nguard_min = 2\n",
            "acrel-ddsy1352",
            "limits cannot be written into meter a-1: profile acrel-ddsy1352",
        ),
        (
            CAPS + 'workday = [{from = "01:00"}]\nholiday = [{from = "01:00"}]\ncalendar = "c"\n',
            "dlt645-single",
            "its load limit's holidays are",
        ),
        (POLICY, "dlt645-single", None),
        (POLICY + "[load_policy.meter]\nguard_min = 2\n", "dlt645-single", None),
    ],
)
def test_what_could_not_be_kept_is_refused(tmp_path: Path, policy: str, profile: str, sentence: str | None) -> None:
    found = [text for text in refused(tmp_path, policy, profile) if "no button" not in text]
    assert [text.startswith(sentence) for text in found] == [True] if sentence is not None else found == []


def test_a_delay_below_the_lines_round_is_refused_for_every_kind_of_limit(tmp_path: Path) -> None:
    for policy in (POLICY, POLICY.replace("power_w = 9", 'current_a = "9"'), CAPS + 'workday = [{from = "01:00", power_w = 5}]\n'):
        slow = policy.replace("90", "1") + "\n"
        file = GOOD.replace('tariff = "flat"\n\n[[meter]]', 'tariff = "flat"\nlimit = {policy = "p"}\n\n[[meter]]')
        file = file.replace('device = "/dev/null"', 'device = "/dev/null"\nbaud = 300')
        found = examine(settings(tmp_path, file + slow), tmp_path).errors
        assert any("shorter than a round of its line" in error for error in found)


def test_a_limit_that_a_person_asks_for_is_checked_alike(tmp_path: Path) -> None:
    here = settings(tmp_path, GOOD + POLICY)
    assert limit_asked(here, "A", {"policy": "p"}) == LoadLimit(9, 90_000, 60_000, 3, policy="p")
    for body, sentence in (
        ({"power_w": 5}, "limit: delay_s is missing"),
        ({"power_w": 5, "delay_s": 5}, "its load limit's delay of 5 s is shorter than scheme.instant_s"),
        ({"policy": "q"}, "account A: there is no load_policy q"),
        ({"power_w": "5", "delay_s": 90}, "power_w: Input should be a valid integer"),
    ):
        with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
            limit_asked(here, "A", body)
