"""Credit policies in the configuration: own, by name, shipped; refused with the reason when they contradict themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.bootstrap.archive import archive_of
from gateway.bootstrap.difference import restarts
from gateway.bootstrap.examine import examine
from gateway.bootstrap.policies import policies_of, shipped
from gateway.domain.credit import LOG_STEP, CreditPolicy, CreditState, PostPaid, Sourced, Step
from gateway.domain.credit_check import contradictions
from gateway.settings import Settings
from tests.gateway.test_settings import GOOD, errors, settings

HOUR_MS = 3_600_000
ALL = """[account.policy]
low = "20.00"
very_low = "10.00"
overdraft = "5.00"
close = "3.00"
close_inclusive = true
reconnect = "close"
no_cut_hours = false
friendly = "credit"
hoard = "500.00"
emergency = { amount = "6.00", at = "1.00", accept = "automatic" }
reminding_cut = true
grace_hours = 48
trip_delay_min = 30
steps = [
    { name = "low", at = "low" },
    { name = "out", at = "exhausted", channels = ["paper", "log"], before_min = 60, go_on = true },
    { name = "soon", at = "exhausted", last = true, before_min = 30, needed = false },
]

[account.policy.postpaid]
due = { days = 15, source = "a", date = "2026-01-01" }
overdue = { days = 30, source = "b", date = "2026-01-02" }
notice = { days = 7, source = "c", date = "2026-01-03" }
repeat = { hours = 1, source = "d", date = "2026-01-04" }
channels = ["paper"]
"""
AGREED = GOOD.replace('tariff = "flat"\n', 'tariff = "flat"\nagreement = "2026-1"\n')
MICRO = 1_000_000


def with_policy(text: str, base: str = AGREED) -> str:
    return base.replace("\n[[meter]]", f"\n{text}\n[[meter]]")


def policy_of(tmp_path: Path, text: str) -> CreditPolicy:
    found = archive_of(settings(tmp_path, text), tmp_path).accounts[0].account.policy
    assert refused(tmp_path, text) == []
    return found


def refused(tmp_path: Path, text: str) -> list[str]:
    """What `check` says of a file that can be read, but for the password that its meter wants."""
    found = examine(settings(tmp_path, text), tmp_path).errors
    return [error for error in found if "password class" not in error]


def test_a_policy_says_everything(tmp_path: Path) -> None:
    assert policy_of(tmp_path, with_policy(ALL)) == CreditPolicy(
        low_micro=20 * MICRO,
        very_low_micro=10 * MICRO,
        cut_micro=-5 * MICRO,
        close_micro=3 * MICRO,
        close_inclusive=True,
        reconnect_direct=True,
        no_cut_hours=False,
        emergency_micro=6 * MICRO,
        emergency_at_micro=MICRO,
        emergency_auto=True,
        hoard_micro=500 * MICRO,
        reminding=True,
        grace_ms=48 * HOUR_MS,
        trip_delay_ms=HOUR_MS // 2,
        friendly="credit",
        steps=(
            Step("low", (), CreditState.LOW),
            Step("out", ("paper", "log"), CreditState.EXHAUSTED, HOUR_MS, go_on=True),
            Step("soon", (), CreditState.EXHAUSTED, HOUR_MS // 2, needed=False, last=True),
        ),
        postpaid=PostPaid(
            Sourced(15 * 24 * HOUR_MS, "a", "2026-01-01"),
            Sourced(30 * 24 * HOUR_MS, "b", "2026-01-02"),
            Sourced(7 * 24 * HOUR_MS, "c", "2026-01-03"),
            Sourced(HOUR_MS, "d", "2026-01-04"),
            ("paper",),
        ),
    )


def test_what_a_policy_does_not_say_is_as_it_was(tmp_path: Path) -> None:
    assert policy_of(tmp_path, AGREED) == CreditPolicy(20 * MICRO)
    old = with_policy('[account.policy]\nlow = "5.00"\ncut = "-1.00"\nclose = "2.00"\n')
    assert policy_of(tmp_path, old) == CreditPolicy(5 * MICRO, -MICRO, 2 * MICRO, steps=(LOG_STEP,))


@pytest.mark.parametrize("name", ["cn-residential", "gb-prepayment"])
def test_shipped_policies_are_sound_and_may_be_named(tmp_path: Path, name: str) -> None:
    currency = shipped()[name].currency
    text = AGREED.replace('"CNY"', f'"{currency}"').replace("agreement =", f'policy = "{name}"\nagreement =')
    policy = policy_of(tmp_path, text)
    assert policy == shipped()[name].policy(currency) and contradictions(policy) == ()


def test_the_chinese_example_is_what_its_sources_say(tmp_path: Path) -> None:
    policy = shipped()["cn-residential"].policy("CNY")
    assert (policy.low_micro, policy.cut_micro, policy.grace_ms) == (50 * MICRO, 0, 7 * 24 * HOUR_MS)
    assert policy.postpaid is not None
    periods = {name: getattr(policy.postpaid, name) for name in ("due", "overdue", "notice", "repeat")}
    assert {name: period.ms // HOUR_MS for name, period in periods.items()} == {
        "due": 360,
        "overdue": 720,
        "notice": 168,
        "repeat": 1,
    }
    assert all(period.source and period.date for period in periods.values())


def test_a_policy_of_the_file_goes_before_a_shipped_one(tmp_path: Path) -> None:
    own = '[[policy]]\nid = "cn-residential"\ncurrency = "CNY"\nlow = "7.00"\n\n'
    text = own + AGREED.replace("agreement =", 'policy = "cn-residential"\nagreement =')
    assert policy_of(tmp_path, text) == CreditPolicy(7 * MICRO)
    assert set(policies_of(settings(tmp_path, text))) == {"cn-residential", "gb-prepayment"}


NAMED = '[[policy]]\nid = "p"\ncurrency = "CNY"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            AGREED.replace("agreement =", 'policy = "x"\nagreement ='),
            "account A: there is no policy x; write a [[policy]], or one of cn-residential, gb-prepayment",
        ),
        (
            AGREED.replace("agreement =", 'policy = "gb-prepayment"\nagreement ='),
            "account A: is in CNY, but policy gb-prepayment counts in GBP",
        ),
        (NAMED + 'close = "9.00"\nhoard = "8.00"\nlow = "7.00"\n' + AGREED,
         "policy p: close must not lie above hoard: no top-up could give supply back"),
        (NAMED + 'low = "7"\n' + AGREED, "policy p: money in CNY is written with exactly 2 decimals, like 50.00"),
        (
            with_policy('[account.policy]\nsteps = [{ name = "low", at = "low", channels = ["sms"] }]\n'),
            "account A: policy: notice low: there is no notice_channel sms",
        ),
        (NAMED + 'reminding_cut = true\nvery_low = "5.00"\n' + GOOD.replace('tariff = "flat"\n', 'tariff = "flat"\npolicy = "p"\n'),
         "account A: policy: a reminding cut needs the customer's agreement"),
    ],
)  # fmt: skip
def test_check_refuses_with_the_reason(tmp_path: Path, text: str, said: str) -> None:
    assert refused(tmp_path, text) == [said]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            '[account.policy]\nlow = "1.00"\ncut = "2.00"\n',
            "account[0]: policy.low must not lie below cut: nobody would be warned before the cut",
        ),
        ('[account.policy]\nlow = "7"\n', "account[0]: policy: money in CNY is written with exactly 2 decimals, like 50.00"),
        (
            '[account.policy]\ncut = "0.00"\noverdraft = "2.00"\n',
            "account[0].policy: has either cut or overdraft: they say the same",
        ),
        ('[account.policy]\nname = "p"\nlow = "2.00"\n', "account[0].policy: is policy p, and has no low of its own"),
        ("[account.policy]\ngrace_hours = -1\n", "account[0].policy.grace_hours: Input should be greater than or equal to 0"),
        ('[account.policy]\nfriendly = "often"\n', "account[0].policy.friendly: Input should be 'any' or 'credit'"),
        ('[account.policy]\nemergency = { amount = "5.00" }\n', "account[0].policy.emergency.at: is missing"),
        ("[account.policy]\nsteps = []\n", "account[0].policy.steps: List should have at least 1 item after validation, not 0"),
        (
            '[account.policy]\nvery_low = "30.00"\n',
            "account[0]: policy.very_low must not lie above low: warning 2 comes after warning 1",
        ),
        (
            '[account.policy]\nemergency = { amount = "5.00", at = "-1.00" }\n',
            "account[0]: policy.emergency credit must be offered at cut or above: below it supply is cut already",
        ),
    ],
)
def test_an_inline_policy_is_refused_when_the_file_is_read(tmp_path: Path, text: str, said: str) -> None:
    assert errors(tmp_path, with_policy(text)) == [said]


def test_an_agreement_has_a_date_a_version_and_channels(tmp_path: Path) -> None:
    text = AGREED.replace('"2026-1"', '{ id = "P-1", date = "2026-11-01", version = "3", channels = ["sms", "app"] }')
    [found] = archive_of(settings(tmp_path, text), tmp_path).accounts
    assert found.account.agreement == "P-1, version 3, of 2026-11-01, notices by sms, app"


@pytest.mark.parametrize(
    ("agreement", "said"),
    [
        ('{ id = "P-1", date = "2026-02-30" }', "account[0].agreement: day is out of range for month"),
        ('{ id = "P-1", date = "1.2.26" }', "account[0].agreement: date is like 2026-11-01, not '1.2.26'"),
        ('{ id = "P-1" }', "account[0].agreement.date: is missing"),
    ],
)
def test_an_agreement_that_is_none_is_refused(tmp_path: Path, agreement: str, said: str) -> None:
    assert [error.rpartition("toml: ")[2] for error in errors(tmp_path, AGREED.replace('"2026-1"', agreement))] == [said]


def test_policies_change_while_the_gateway_runs(tmp_path: Path) -> None:
    def read(low: str) -> Settings:
        return settings(tmp_path, NAMED + f'low = "{low}"\n' + AGREED)

    assert restarts(read("7.00"), read("8.00")) == []


def test_a_debt_that_is_not_for_energy_takes_nothing_out_of_payments(tmp_path: Path) -> None:
    debt = '[account.debt]\nopening = "10.00"\nkind = "other"\nagreement = "A 1"\nsince = "2026-01-01"\n'
    terms = archive_of(settings(tmp_path, with_policy(debt)), tmp_path).accounts[0].account.debt
    assert terms is not None and not terms.cut_relevant and terms.share_per_mille == 0
    for key in ('share = "20%"', 'weekly_cap = "5.00"'):
        assert errors(tmp_path, with_policy(debt + key + "\n")) == [
            f"account[0].debt: a debt that is not for energy has no {key.split()[0]}: no payment is split to it"
        ]
