"""The centre's OpenAPI document for banks: whatever fits it or does not is answered within it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from gateway.central.store import CentralStore
from tests.gateway.central.bank_ends import Front

CHECKS: list[Any] = [status_code_conformance, content_type_conformance, response_schema_conformance, not_a_server_error]
EVERY_DAY, PROOF = 3, 150
"""Cases of each call and kind."""


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["right", "wrong"])
def test_no_call_is_answered_outside_of_the_document(tmp_path: Path, mode: GenerationMode, proof_scale: int) -> None:
    store = CentralStore.open(str(tmp_path / "central.db"))
    schema = schemathesis.openapi.from_asgi("/openapi.json", Front(store, tmp_path).app)
    tried = set()

    def try_one(case: Case[Any]) -> None:
        tried.add(case.operation.path)
        response = case.call()
        case.validate_response(response, checks=CHECKS)
        told = case.operation.definition.raw["responses"]
        assert str(response.status_code) in told, (case.operation.label, response.status_code, response.text)
        if response.status_code >= 400:
            shown = told[str(response.status_code)]["content"]["application/problem+json"]["examples"]
            assert response.json()["code"] in shown, (case.operation.label, response.text)

    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]
        if mode is GenerationMode.NEGATIVE and operation.path == "/bank/v1/keys":
            continue  # nothing of it can be wrong
        run = given(case=operation.as_strategy(generation_mode=mode))(try_one)
        quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
        most = EVERY_DAY if proof_scale == 1 else PROOF
        settings(max_examples=most, deadline=None, suppress_health_check=quiet)(run)()
    assert len(tried) >= 12
    store.close()
