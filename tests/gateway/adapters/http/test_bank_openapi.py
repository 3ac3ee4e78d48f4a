"""The banks' OpenAPI document: its examples work as they stand, and whatever fits it or does not is answered within it."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from gateway.adapters.http.problems import KINDS
from tests.gateway.adapters.http.street import Street

CHECKS: list[Any] = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EVERY_DAY = 4
"""Cases of each call and kind; the proof runs a hundred times as many."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_no_call_is_answered_outside_of_the_document(street: Street, mode: GenerationMode, proof_scale: int) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", street.bank())
    tried = 0

    def try_one(case: Case[Any]) -> None:
        nonlocal tried
        tried += 1
        response = case.call()
        case.validate_response(response, checks=CHECKS)
        if response.status_code >= 400:
            problem = response.json()
            assert problem["code"] in KINDS and problem["action"] and "Traceback" not in response.text

    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]
        if mode is GenerationMode.NEGATIVE and operation.path == "/bank/v1/keys":
            continue  # nothing of it can be wrong
        run = given(case=operation.as_strategy(generation_mode=mode))(try_one)
        quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
        settings(max_examples=EVERY_DAY * proof_scale, deadline=None, suppress_health_check=quiet)(run)()
    assert tried >= EVERY_DAY * proof_scale


async def test_examples_are_taken_as_they_stand(bank: httpx2.AsyncClient, street: Street) -> None:
    """Of each call in turn: its path with the examples' values, and its body made of its fields' examples."""
    document = (await bank.get("/openapi.json")).json()
    paths = document["paths"]
    pay = _example(paths["/bank/v1/topups"]["post"])
    assert pay["serial"] and pay["amount"] == "50.00"
    pay["account"] = "A-1"
    assert (await bank.post("/bank/v1/topups", json=pay)).status_code == 201
    assert (await bank.get(f"/bank/v1/topups/{pay['serial']}")).status_code == 200
    quote = {**_example(paths["/bank/v1/quotes"]["post"]), "account": "A-1"}
    assert (await bank.post("/bank/v1/quotes", json=quote)).status_code == 200
    undo = _example(paths["/bank/v1/topups/{serial}/reversal"]["post"])
    assert (await bank.post(f"/bank/v1/topups/{pay['serial']}/reversal", json=undo)).status_code == 200
    settled = _example(paths["/bank/v1/settlements"]["post"])
    assert (await bank.post("/bank/v1/settlements", json=settled)).status_code in (201, 422), "nothing is owed here"


def _example(call: dict[str, Any]) -> dict[str, Any]:
    form = call["requestBody"]["content"]["application/json"]["schema"]
    return {name: field["examples"][0] for name, field in form["properties"].items() if name in form["required"]}


async def test_every_problem_has_the_documents_form(bank: httpx2.AsyncClient) -> None:
    document = (await bank.get("/openapi.json")).json()
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            default = call["responses"]["default"]["content"]["application/problem+json"]["schema"]
            assert {"type", "code", "final", "action"} <= set(default["required"]), (path, method)
    text = json.dumps(document)
    assert all(name in text for name in ("refund_payer", "repeat_same_serial", "receipt_jws"))
