"""The operator's API: the shapes that scripts and the page rely on, who may act, and orders to switches (contract.md 4)."""

from __future__ import annotations

from dataclasses import replace

import httpx2
import pytest

from gateway.adapters.http.status import Counters, Health, LineStatus
from gateway.domain.meters import Contact
from gateway.domain.supply import CommandState, Verb
from gateway.services.load_archive import Opening
from gateway.services.ports import Unavailable
from tests.gateway.adapters.http.street import TOKEN, Street, account, meter

BEARER = {"authorization": f"Bearer {TOKEN}"}
CUT = {"cause": "emergency", "reason": "the fire brigade asked for it"}


async def test_meters_have_the_shape_of_the_contract(operator: httpx2.AsyncClient, street: Street) -> None:
    street.read("bus-1-1", energy_import="100.50", power="0.0310", voltage_a="220.1")
    street.now_ms += 1_500
    street.read("bus-1-1", power="1.2500")
    first, second, _ = (await operator.get("/api/v1/meters")).json()
    assert first == {
        "meter": "bus-1-1",
        "address": "000000000001",
        "protocol": "dlt645-2007",
        "line": "bus-1",
        "account": "A-1",
        "relay": {"desired": "closed", "observed": "closed"},
        "last_reading": {
            "answered": "2026-11-21T04:00:01.500Z",
            "items": [
                {"quantity": "energy_import", "value": "100.50", "unit": "kWh"},
                {"quantity": "power", "value": "1.2500", "unit": "kW"},
                {"quantity": "voltage_a", "value": "220.1", "unit": "V"},
            ],
        },
        "held": None,
    }
    assert (second["last_reading"], second["relay"]["observed"]) == (None, "unknown")


async def test_accounts_have_the_shape_of_the_contract(operator: httpx2.AsyncClient) -> None:
    assert (await operator.get("/api/v1/accounts?limit=1")).json() == [
        {"account": "A-1", "balance": "20.00", "currency": "CNY", "state": "normal", "meters": ["bus-1-1"]}
    ]


@pytest.mark.parametrize("what", ["meter", "account"])
async def test_lists_are_paged_by_limit_and_after(operator: httpx2.AsyncClient, street: Street, what: str) -> None:
    street.settle([meter(n) for n in range(4, 11)], [Opening(account(n)) for n in range(4, 11)])
    path, seen, after = f"/api/v1/{what}s", [], ""
    while page := (await operator.get(f"{path}?limit=3&after={after}")).json():
        seen += [element[what] for element in page]
        after = seen[-1]
    assert seen == sorted(seen) and len(set(seen)) == 10
    assert [element[what] for element in (await operator.get(path)).json()] == seen


async def test_entries_show_exact_amounts_and_the_balance_after_each(operator: httpx2.AsyncClient, street: Street) -> None:
    for kwh in ("100.00", "100.00", "101.01", "101.01"):
        street.now_ms += 60_000
        street.read("bus-1-1", energy_import=kwh)
    lines = (await operator.get("/api/v1/accounts/A-1/entries")).json()
    assert [(line["kind"], line["amount"], line["balance_after"]) for line in lines] == [
        ("charge", "-0.623170", "19.37"),
        ("opening", "20.000000", "20.00"),
    ]
    assert (await operator.get("/api/v1/accounts/A-1/entries?limit=1")).json() == lines[:1]


async def test_readings_since_then_oldest_first_and_by_quantity(operator: httpx2.AsyncClient, street: Street) -> None:
    for power in ("1.0000", "2.0000", "3.0000"):
        street.read("bus-1-1", power=power, voltage_a="220.0")
        street.now_ms += 60_000
    path = "/api/v1/meters/bus-1-1/readings"
    found = (await operator.get(f"{path}?quantity=power&since=2026-11-21T04:01:00Z")).json()
    assert [[item["value"] for item in reading["items"]] for reading in found] == [["2.0000"], ["3.0000"]]
    assert (found[0]["asked"], found[0]["answered"]) == ("2026-11-21T04:00:59.880Z", "2026-11-21T04:01:00.000Z")
    assert (found[0]["quality"], found[0]["source"], found[0]["point"]) == ("single", "live", "point-1")
    assert len((await operator.get(f"{path}?limit=2")).json()) == 2
    assert (await operator.get(f"{path}?quantity=frequency")).json() == []


async def test_balance_history_goes_back_from_the_ledger(operator: httpx2.AsyncClient, street: Street) -> None:
    for kwh in ("100.00", "100.00", "100.50", "100.50", "101.00", "101.00"):
        street.now_ms += 60_000
        street.read("bus-1-1", energy_import=kwh)
    path = "/api/v1/accounts/A-1/balance_history"
    whole = (await operator.get(path)).json()
    balances = [point["balance"] for point in whole["points"]]
    assert (whole["account"], whole["currency"], whole["complete"]) == ("A-1", "CNY", True)
    assert balances == ["20.00", "19.69", "19.38", "19.38"] and whole["points"][0]["at"] == "2026-11-21T04:00:00.000Z"
    late = (await operator.get(f"{path}?since=2026-11-21T04:05:00Z")).json()["points"]
    assert [point["balance"] for point in late] == ["19.69", "19.38", "19.38"]
    assert late[0]["at"] == "2026-11-21T04:05:00.000Z"


async def test_events_newest_first_and_further_back(operator: httpx2.AsyncClient, street: Street) -> None:
    street.read("bus-1-2", Contact.CLOSED, energy_import="1.00")
    street.read("bus-1-2", Contact.OPEN, energy_import="1.00")
    events = (await operator.get("/api/v1/events")).json()
    assert [event["kind"] for event in events] == ["supply_lost", "low_balance_warned"]
    assert (events[0]["meter"], events[0]["account"], events[0]["data"]) == ("bus-1-2", "A-2", {"evidence": "relay_bit"})
    assert (await operator.get(f"/api/v1/events?before={events[0]['id']}")).json() == events[1:]


async def test_lines_outbox_and_health_come_from_the_status(operator: httpx2.AsyncClient, street: Street) -> None:
    [line] = (await operator.get("/api/v1/lines")).json()
    assert (line["line"], line["utilisation"], line["exchanges"], line["errors"]) == ("bus-1", 0.42, 1200, {"silent": 3})
    outbox = (await operator.get("/api/v1/outbox")).json()
    assert outbox["waiting"] == outbox["last"] and outbox["connected"] is True
    assert (await operator.get("/healthz")).json()["status"] == "ok"
    street.status.now = Health(("the disk is full",), ("the clock is not vouched for",))
    answer = await operator.get("/healthz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["the disk is full"])
    street.status.now = Health((), ("the clock is not vouched for",))
    answer = await operator.get("/healthz")
    assert (answer.status_code, answer.json()["holds"]) == (200, ["the clock is not vouched for"])


async def test_metrics_are_read_at_the_moment_of_asking(operator: httpx2.AsyncClient, street: Street) -> None:
    street.read("bus-1-1", energy_import="1.00")
    street.status.counted = Counters(9, {"posted": 4}, 2)
    text = (await operator.get("/metrics")).text
    for expected in (
        'wattgate_exchanges_total{line="bus-1"} 1200.0',
        'wattgate_exchange_errors_total{kind="silent",line="bus-1"} 3.0',
        'wattgate_line_utilisation_ratio{line="bus-1"} 0.42',
        "wattgate_readings_total 9.0",
        'wattgate_topups_total{verdict="posted"} 4.0',
        "wattgate_store_waiting 2.0",
        "wattgate_healthy 1.0",
    ):
        assert expected in text.splitlines()
    waiting = street.store.read_now(lambda tx: tx.outbox_state()).waiting
    assert waiting > 0 and f"wattgate_outbox_waiting {float(waiting)}" in text


async def test_metrics_without_a_store_leave_its_numbers_out(street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_store(_query: object) -> object:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(street.store, "read", no_store)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(street.operator()), base_url="http://operator") as client:
        text = (await client.get("/metrics")).text
        assert "wattgate_healthy 1.0" in text and "wattgate_outbox" not in text
        assert (await client.get("/api/v1/meters")).status_code == 503


async def test_a_cut_by_hand_is_queued_carried_out_and_seen(operator: httpx2.AsyncClient, street: Street) -> None:
    street.read("bus-1-1", energy_import="1.00")
    answer = await operator.post("/api/v1/meters/bus-1-1/cut", json={**CUT, "id": "order-1"}, headers=BEARER)
    assert answer.status_code == 202, answer.text
    record = answer.json()
    assert {name: record[name] for name in ("id", "meter", "verb", "cause", "origin", "state", "final", "evidence")} == {
        "id": "order-1",
        "meter": "bus-1-1",
        "verb": "cut",
        "cause": "emergency",
        "origin": "operator",
        "state": "queued",
        "final": False,
        "evidence": [],
    }
    street.carry_out(Contact.OPEN)
    done = (await operator.get("/api/v1/commands/order-1")).json()
    assert (done["state"], done["final"], done["evidence"]) == ("verified", True, ["relay_bit"])
    assert [command["id"] for command in (await operator.get("/api/v1/commands")).json()] == ["order-1"]
    again = await operator.post("/api/v1/meters/bus-1-1/cut", json={**CUT, "id": "order-1"}, headers=BEARER)
    assert again.json() == done
    [first] = (await operator.get("/api/v1/meters?limit=1")).json()
    assert first["relay"] == {"desired": "open", "observed": "open"}


async def test_an_order_without_an_id_gets_one(operator: httpx2.AsyncClient, street: Street) -> None:
    street.read("bus-1-1", energy_import="1.00")
    record = (await operator.post("/api/v1/meters/bus-1-1/restore", json={"reason": "visit"}, headers=BEARER)).json()
    assert (record["id"], record["state"], record["final"]) == ("fresh-id", "queued", False)


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "field"),
    [
        ("/api/v1/meters/bus-1-9/cut", CUT, 404, "not_found", None),
        ("/api/v1/meters/bus-1-1/explode", CUT, 404, "not_found", None),
        ("/api/v1/meters/bus-1-3/cut", CUT, 409, "refused", None),
        ("/api/v1/meters/bus-1-1/cut", {**CUT, "cause": "safety"}, 409, "refused", None),
        ("/api/v1/meters/bus-1-1/cut", {**CUT, "cause": "energy_debt"}, 409, "refused", None),
        ("/api/v1/meters/bus-1-1/cut", {"cause": "emergency"}, 422, "invalid", "reason"),
        ("/api/v1/meters/bus-1-1/cut", {**CUT, "reason": ""}, 422, "invalid", "reason"),
        ("/api/v1/meters/bus-1-1/cut", {**CUT, "id": "a b"}, 422, "invalid", "id"),
        ("/api/v1/meters/bus-1-1/cut", {**CUT, "when": "now"}, 422, "invalid", "when"),
        ("/api/v1/meters/bus-1-1/readings", CUT, 405, "not_allowed", None),
    ],
)
async def test_orders_that_are_refused(
    operator: httpx2.AsyncClient, street: Street, path: str, body: object, status: int, code: str, field: str | None
) -> None:
    answer = await operator.post(path, json=body, headers=BEARER)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem.get("field")) == (status, code, field)
    assert street.store.read_now(lambda tx: tx.open_commands()) == []


async def test_an_unproved_switch_is_shown_as_acknowledged(operator: httpx2.AsyncClient, street: Street) -> None:
    street.read("bus-1-1", energy_import="1.00")
    await operator.post("/api/v1/meters/bus-1-1/cut", json={**CUT, "id": "order-1"}, headers=BEARER)
    command = street.store.read_now(lambda tx: tx.command("order-1"))
    assert command is not None and command.verb is Verb.CUT
    unproved = replace(command, state=CommandState.COMMAND_ONLY, evidence=("command_only",))
    street.store.write_now(lambda tx: tx.save_command(unproved))
    record = (await operator.get("/api/v1/commands/order-1")).json()
    assert (record["state"], record["final"], record["evidence"]) == ("acknowledged", True, ["command_only"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": TOKEN}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": b"Bearer \xff\xfe"}, 401),
        ({"authorization": f"bearer {TOKEN}"}, 200),
    ],
)
async def test_looking_needs_the_token_where_it_is_not_open(street: Street, headers: dict[str, str], status: int) -> None:
    street.open_get = False
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(street.operator()), base_url="http://operator") as client:
        for path in ("/api/v1/meters", "/metrics", "/api/v1/outbox"):
            answer = await client.get(path, headers=headers)
            assert answer.status_code == status
            if status == 401:
                assert answer.json()["code"] == "unauthorized" and answer.headers["www-authenticate"].startswith("Bearer")
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("verb", ["cut", "restore", "allow_close", "alarm", "alarm_off"])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer something-else-entirely"}])
async def test_acting_always_needs_the_token(
    operator: httpx2.AsyncClient, street: Street, verb: str, headers: dict[str, str]
) -> None:
    answer = await operator.post(f"/api/v1/meters/bus-1-1/{verb}", json=CUT, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert street.store.read_now(lambda tx: tx.commands(10)) == []


@pytest.mark.parametrize(
    ("path", "status", "code", "field"),
    [
        ("/api/v1/meters?limit=0", 422, "invalid", "limit"),
        ("/api/v1/meters?limit=x", 422, "invalid", "limit"),
        ("/api/v1/meters?limit=1001", 422, "invalid", "limit"),
        ("/api/v1/meters/bus-1-9/readings", 404, "not_found", None),
        ("/api/v1/meters/bus-1-1/readings?since=yesterday", 422, "invalid", "since"),
        ("/api/v1/meters/bus-1-1/readings?since=2026-11-21T00:00:00", 422, "invalid", "since"),
        ("/api/v1/accounts/nobody/entries", 404, "not_found", None),
        ("/api/v1/accounts/nobody/balance_history", 404, "not_found", None),
        ("/api/v1/commands/none", 404, "not_found", None),
        ("/api/v1/commands/a%00b", 422, "invalid", "command"),
        ("/api/v1/nothing", 404, "not_found", None),
        ("/app.py", 404, "not_found", None),
        ("/../pyproject.toml", 404, "not_found", None),
    ],
)
async def test_wrong_questions(operator: httpx2.AsyncClient, path: str, status: int, code: str, field: str | None) -> None:
    answer = await operator.get(path)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem.get("field")) == (status, code, field)
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_line_that_is_down_is_shown_so(operator: httpx2.AsyncClient, street: Street) -> None:
    street.status.buses = (LineStatus("bus-2", "tcp 10.0.0.7:4001", "down", 0.0, 0, {"line_down": 1}, 0),)
    assert (await operator.get("/api/v1/lines")).json()[0]["state"] == "down"
    assert 'wattgate_line_up{line="bus-2"} 0.0' in (await operator.get("/metrics")).text


async def test_the_openapi_document_holds_the_whole_api(operator: httpx2.AsyncClient) -> None:
    document = (await operator.get("/openapi.json")).json()
    assert {path for path in document["paths"] if not path.startswith("/api/v1/")} == {"/healthz", "/metrics"}
    assert len(document["paths"]) == 28
    assert document["components"]["schemas"]["MeterView"]["properties"].keys() >= {"meter", "relay", "last_reading"}
