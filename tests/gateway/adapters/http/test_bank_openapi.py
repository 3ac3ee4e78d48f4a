"""The banks' OpenAPI document: its examples work as they stand, and whatever fits it or does not is answered within it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from gateway.adapters.http.bank_gate import Banks, KnownBank
from gateway.adapters.http.problems import KINDS
from gateway.domain.bank_terms import PartnerTerms, SerialScope
from gateway.services.load_archive import Opening
from tests.gateway.adapters.http.street import Street, account, meter

CHECKS: list[Any] = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
Figure = Callable[[str, object], None]
EVERY_DAY = 4
"""Cases of each call and kind; the proof runs a hundred times as many."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_no_call_is_answered_outside_of_the_document(
    street: Street, mode: GenerationMode, proof_scale: int, figure: Figure
) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", street.bank())
    tried = 0

    def try_one(case: Case[Any]) -> None:
        nonlocal tried
        tried += 1
        response = case.call()
        case.validate_response(response, checks=CHECKS)
        told = case.operation.definition.raw["responses"]
        assert str(response.status_code) in told, (case.operation.label, response.status_code, response.text)
        if response.status_code >= 400:
            problem = response.json()
            shown = told[str(response.status_code)]["content"]["application/problem+json"]["examples"]
            assert problem["code"] in shown, (case.operation.label, problem)
            assert problem["code"] in KINDS and problem["action"] and "Traceback" not in response.text

    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]
        if mode is GenerationMode.NEGATIVE and operation.path == "/bank/v1/keys":
            continue  # nothing of it can be wrong
        run = given(case=operation.as_strategy(generation_mode=mode))(try_one)
        quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
        settings(max_examples=EVERY_DAY * proof_scale, deadline=None, suppress_health_check=quiet)(run)()
    assert tried >= EVERY_DAY * proof_scale
    figure(f"calls made from the banks' OpenAPI document, {mode.value}, all answered within it", tried)


CALLS = (
    ("get", "/bank/v1/keys", 200),
    ("get", "/bank/v1/accounts/{account}", 200),
    ("post", "/bank/v1/quotes", 200),
    ("post", "/bank/v1/topups", 201),
    ("post", "/bank/v1/topups", 200),
    ("get", "/bank/v1/topups/{serial}", 200),
    ("post", "/bank/v1/settlements", 201),
    ("post", "/bank/v1/reconciliations/{accounting_date}", 200),
    ("get", "/bank/v1/reconciliations/{accounting_date}", 200),
    ("get", "/bank/v1/reconciliations/{accounting_date}/statement", 200),
    ("post", "/bank/v1/topups/{serial}/reversal", 200),
    ("post", "/bank/v1/reconciliations/{accounting_date}", 200),
    ("post", "/bank/v1/reconciliations/{accounting_date}/differences/{id}/resolution", 202),
    ("post", "/bank/v1/refunds", 409),
)
"""A bank's day: every call of the document with its own examples, each after the other. What was reversed is not given back too."""


async def test_examples_are_taken_as_they_stand(bank: httpx2.AsyncClient, street: Street) -> None:
    street.settle([meter(7, account="A-0007")], [Opening(account(7, id="A-0007", holder="Li Lei"), 0)])
    paths = (await bank.get("/openapi.json")).json()["paths"]
    asked = set()
    for method, path, status in CALLS:
        answer = await _send(bank, method, path, paths[path][method])
        assert answer.status_code == status, (method, path, answer.text)
        asked.add((method, path))
        if (method, path, status) == ("post", "/bank/v1/topups", 201):
            [example] = paths[path][method]["responses"]["201"]["content"]["application/json"]["examples"].values()
            same = {**example["value"], "receipt_jws": answer.json()["receipt_jws"]}
            assert answer.json() == same, "the answer that is shown is the answer that comes"
    left = {(method, path) for path, calls in paths.items() for method in calls} - asked
    assert {path for _, path in left} == {path for path in paths if "{accounting_date}/{serial}" in path}, left


async def test_the_examples_of_a_bank_whose_serials_are_of_a_day(bank: httpx2.AsyncClient, street: Street) -> None:
    street.banks = Banks(banks={"demo": KnownBank(PartnerTerms("demo", serial_scope=SerialScope.ACCOUNTING_DATE))})
    street.settle([meter(7, account="A-0007")], [Opening(account(7, id="A-0007"), 0)])
    paths = (await bank.get("/openapi.json")).json()["paths"]
    dated = "/bank/v1/topups/{accounting_date}/{serial}"
    calls = (("post", "/bank/v1/topups", 201), ("get", dated, 200), ("post", f"{dated}/reversal", 200))
    for method, path, status in calls:
        answer = await _send(bank, method, path, paths[path][method])
        assert answer.status_code == status, (method, path, answer.text)


async def test_the_example_of_a_refund(bank: httpx2.AsyncClient, street: Street) -> None:
    street.settle([meter(7, account="A-0007")], [Opening(account(7, id="A-0007"), 0)])
    paths = (await bank.get("/openapi.json")).json()["paths"]
    for path, status in (("/bank/v1/topups", 201), ("/bank/v1/refunds", 202)):
        assert (await _send(bank, "post", path, paths[path]["post"])).status_code == status


async def _send(bank: httpx2.AsyncClient, method: str, path: str, call: dict[str, Any]) -> httpx2.Response:
    """With every parameter's and every required field's own example."""
    for part in call.get("parameters", ()):
        if part["in"] == "path":
            path = path.replace(f"{{{part['name']}}}", str(part["schema"].get("examples", part.get("examples"))[0]))
    content = call.get("requestBody", {}).get("content", {})
    if "text/csv" in content:
        return await bank.post(path, content=content["text/csv"]["example"], headers={"content-type": "text/csv"})
    return await bank.request(method, path, json=_example(call) if content else None)


def _example(call: dict[str, Any]) -> dict[str, Any]:
    form = call["requestBody"]["content"]["application/json"]["schema"]
    return {name: field["examples"][0] for name, field in form["properties"].items() if name in form["required"]}


async def test_every_code_of_the_contract_is_documented_somewhere(bank: httpx2.AsyncClient) -> None:
    shown = {
        code
        for calls in (await bank.get("/openapi.json")).json()["paths"].values()
        for call in calls.values()
        for status, answer in call["responses"].items()
        if status.isdigit() and int(status) >= 400
        for code in answer["content"]["application/problem+json"]["examples"]
    }
    assert shown == {*KINDS} - {"unauthorized", "not_allowed"}, "tokens are for operators, and no call has a wrong method"


async def test_every_problem_has_the_documents_form(bank: httpx2.AsyncClient) -> None:
    document = (await bank.get("/openapi.json")).json()
    for path, calls in document["paths"].items():
        for method, call in calls.items():
            default = call["responses"]["default"]["content"]["application/problem+json"]["schema"]
            assert {"type", "code", "final", "action"} <= set(default["required"]), (path, method)
    text = json.dumps(document)
    assert all(name in text for name in ("refund_payer", "repeat_same_serial", "receipt_jws"))
