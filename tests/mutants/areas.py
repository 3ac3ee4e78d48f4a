"""Which modules are mutated, and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass

DOMAIN, TESTS, SERVICES = "gateway/domain", "tests/gateway/domain", "tests/gateway/services"


@dataclass(frozen=True, slots=True)
class Area:
    """Modules that one run mutates, and its tests. slow: node ids that measure time, which mutmut's detours make long."""

    modules: tuple[str, ...]
    tests: tuple[str, ...]
    slow: tuple[str, ...] = ()


AREAS = {
    "prices": Area(
        modules=tuple(f"{DOMAIN}/{name}.py" for name in ("tariffs", "period_cost", "period_use", "steps", "vending", "calendars")),
        tests=(
            *(f"{TESTS}/test_{name}.py" for name in ("calendars", "period_cost", "price_examples", "tariffs")),
            *(f"{TESTS}/test_{name}.py" for name in ("tariffs_properties", "steps", "vending")),
            *(f"{TESTS}/test_{name}_exact.py" for name in ("tariffs", "period_cost", "calendars", "vending")),
        ),
        slow=(f"{TESTS}/test_tariffs.py::test_a_year_of_quarter_hours_is_priced_in_a_blink",),
    ),
    "cuts": Area(
        modules=tuple(f"{DOMAIN}/{name}.py" for name in ("supply", "budgets", "precedence")),
        tests=tuple(f"{TESTS}/test_{name}.py" for name in ("supply", "budgets", "precedence")),
    ),
    "credit": Area(
        modules=tuple(f"{DOMAIN}/{name}.py" for name in ("credit", "credit_policy", "credit_check")),
        tests=tuple(f"{TESTS}/test_{name}.py" for name in ("credit", "credit_exact", "credit_check")),
    ),
    "limits": Area(
        modules=tuple(f"{DOMAIN}/{name}.py" for name in ("limits", "load_caps", "malignant_load", "meter_settings")),
        tests=tuple(f"{TESTS}/test_{name}.py" for name in ("limits", "load_caps", "malignant_load", "meter_settings")),
    ),
    "books": Area(
        modules=tuple(f"{DOMAIN}/{name}.py" for name in ("ledger", "audit", "transfers")),
        tests=(
            *(f"{TESTS}/test_{name}.py" for name in ("ledger", "ledger_entries", "transfers")),
            *(f"{TESTS}/test_{name}_exact.py" for name in ("ledger", "audit", "transfers")),
            *(f"{SERVICES}/test_{name}.py" for name in ("verify_ledger", "ledger_mutants")),
        ),
    ),
}
