"""What the banks' OpenAPI document says of refusals: each call with every code that it is answered with (contract.md 3)."""

from __future__ import annotations

from gateway.adapters.http.problems import KINDS, Problem
from gateway.adapters.http.views import PROBLEM_DOCUMENT

SIGNED = ("malformed", "bad_signature", "signature_expired", "forbidden", "too_large", "rate_limited", "unavailable")
"""Of every call that asks who is there."""

FORM = ("media_type", "length_required", "invalid")
"""Of a call with a body, beside those."""

MERITS = ("unknown_account", "account_closed", "currency_mismatch", "limit_exceeded", "amount_out_of_range", "over_hoarding_limit",
          "day_closed")  # fmt: skip
"""Of a payment, and of a quote."""

Answers = dict[int | str, dict[str, object]]


def problems(*codes: str, head_only: bool = False) -> Answers:
    """The refusals of a call, by status. head_only: it takes no body, and so none that is too large."""
    found: dict[int, dict[str, object]] = {}
    for code in codes:
        statuses = (431,) if code == "too_large" and head_only else (413, 431) if code == "too_large" else (KINDS[code].status,)
        for status in statuses:
            kind = KINDS[code]
            shown = Problem(code, kind.title.lower(), status=status, field="amount" if code == "invalid" else None)
            found.setdefault(status, {})[code] = {"summary": kind.title, "value": shown.document()}
    content: dict[str, object] = PROBLEM_DOCUMENT["content"]["application/problem+json"]  # type: ignore[index]
    return {
        status: {
            "description": ", ".join(examples),
            "content": {"application/problem+json": {**content, "examples": examples}},
        }
        for status, examples in sorted(found.items())
    }


def asking(*codes: str) -> Answers:
    """Of a signed call without a body."""
    return problems(*SIGNED, *codes, head_only=True)


def sending(*codes: str) -> Answers:
    """Of a signed call with a JSON body."""
    return problems(*SIGNED, *FORM, *codes)
