"""The verbs about load limits: what they ask, and what they print."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from gateway.cli import limits
from gateway.cli.app import app

SHOWN: dict[str, object] = {
    **{
        "account": "A-1",
        "policy": "p",
        "phase": "tripped",
        "by": "cap",
        "since": "2026-11-24T15:10:00.000Z",
        "spent": 1,
        "left": 2,
    },
    **{"next": None, "limit_w": 3000, "limit_ma": None, "allowed_w": 500, "allowed_ma": 6500, "off": False, "power_w": 700},
    **{"current_ma": 3100, "over_itself": False, "month_wh": 12_345, "month_amount_wh": 20_000, "malignant": None},
    **{"advisory": False, "restores_today": 0, "set_by_people": False},
    "parameters": [{"meter": "m1", "parameter": "trip_delay", "value": 3, "state": "refused", "said": "unauthorised"}],
}
TEXT = """\
A-1: tripped since 2026-11-24T15:10:00.000Z, draws 700 W, 3.1 A, may draw 500 W, 6.5 A
  tripped by a cap of its contract
  recloses spent 1, left 2; next nothing by itself
  this period 12.345 of 20.000 kWh
  m1 trip_delay = 3: refused (unauthorised)
"""


class Gateway:
    """Answers every call alike."""

    def __init__(self, status: int, answer: dict[str, object]) -> None:
        self.status, self.answer, self.asked = status, answer, list[tuple[str, str, object]]()

    def call(self, method: str, path: str, json: object = None, headers: object = None) -> tuple[int, dict[str, object]]:
        self.asked.append((method, path, json))
        return self.status, self.answer


def said(monkeypatch: pytest.MonkeyPatch, gateway: Gateway, *words: str) -> tuple[int, str]:
    monkeypatch.setattr(limits, "client", lambda config, url: gateway)
    done = CliRunner().invoke(app, ["limits", *words, "--url", "http://here"])
    return done.exit_code, done.output or str(done.exception)


def test_show_and_release_print_where_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway(200, SHOWN)
    assert said(monkeypatch, gateway, "show", "A-1") == (0, TEXT)
    assert said(monkeypatch, gateway, "release", "A-1", "--reason", "x") == (0, TEXT)
    assert gateway.asked == [
        ("GET", "/api/v1/accounts/A-1/limit", None),
        ("POST", "/api/v1/accounts/A-1/limit/release", {"reason": "x"}),
    ]


def test_what_a_plan_switches_off(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = {**SHOWN, "off": True, "by": None, "month_wh": None, "parameters": [], "power_w": None, "current_ma": None}
    assert said(monkeypatch, Gateway(200, nothing), "show", "A-1")[1].splitlines() == [
        "A-1: tripped since 2026-11-24T15:10:00.000Z, draws what flows, may draw nothing: its plan switches it off",
        "  recloses spent 1, left 2; next nothing by itself",
    ]


def test_another_limit_is_written_as_in_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway(202, {"approval": "L-1", "expires": "tomorrow"})
    waits = "A-1: L-1 waits for a second person until tomorrow\n"
    assert said(monkeypatch, gateway, "set", "A-1", "power_w = 3000, delay_s = 120", "--reason", "x") == (0, waits)
    assert said(monkeypatch, gateway, "set", "A-1", "none", "--reason", "x") == (0, waits)
    path = "/api/v1/accounts/A-1/limit"
    assert gateway.asked == [
        ("POST", path, {"limit": {"power_w": 3000, "delay_s": 120}, "reason": "x"}),
        ("POST", path, {"limit": None, "reason": "x"}),
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("set", "A-1", "power_w: 3", "--reason", "x"), "'power_w: 3' is no limit"),
        (("show", "A-1"), "A-1: account A-1 has no load limit"),
        (("write-again", "m1", "--reason", "x"), "m1: account A-1 has no load limit"),
    ],
)
def test_what_cannot_be_is_one_sentence(monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], sentence: str) -> None:
    code, text = said(monkeypatch, Gateway(404, {"detail": "account A-1 has no load limit"}), *words)
    assert code != 0 and text.startswith(sentence)


def test_a_meter_is_read_and_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = Gateway(202, {"meter": "m1"})
    code, text = said(monkeypatch, gateway, "write-again", "m1", "--reason", "looked")
    assert (code, text) == (0, "m1: its limits are read again, and written where they differ\n")
    assert gateway.asked == [("POST", "/api/v1/meters/m1/limits/write-again", {"reason": "looked"})]
