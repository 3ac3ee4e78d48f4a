"""Every refusal leaves as an RFC 9457 problem document with code, final and action; nothing of a framework does (contract.md 3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import Response


@dataclass(frozen=True, slots=True)
class Kind:
    """One problem code: HTTP status, whether this serial will never be accepted, what the caller does next, and a title."""

    status: int
    final: bool
    action: str
    title: str


_FIX, _AGAIN, _REFUND, _CALL = "fix_request", "repeat_same_serial", "refund_payer", "call_us"

KINDS: Mapping[str, Kind] = {
    "malformed": Kind(400, False, _FIX, "The request could not be read"),
    "bad_signature": Kind(401, False, _FIX, "The signature is wrong"),
    "signature_expired": Kind(401, False, _FIX, "The signature has expired"),
    "unauthorized": Kind(401, False, _FIX, "A valid token is needed"),
    "forbidden": Kind(403, False, _CALL, "This is not allowed to you"),
    "unknown_account": Kind(404, True, _REFUND, "The account is not known"),
    "not_found": Kind(404, False, _FIX, "There is nothing here by this name"),
    "not_allowed": Kind(405, False, _FIX, "This method is not allowed here"),
    "serial_conflict": Kind(409, True, "query", "The serial is taken by another payment"),
    "reversed": Kind(409, True, _REFUND, "The payment was reversed"),
    "delivered": Kind(409, True, _CALL, "The credit is in the meter"),
    "day_closed": Kind(409, True, _CALL, "The accounting day is closed"),
    "differences_open": Kind(409, False, _CALL, "Differences are open"),
    "refused": Kind(409, False, _FIX, "The order was refused"),
    "length_required": Kind(411, False, _FIX, "The length of the body must be given"),
    "too_large": Kind(413, False, _FIX, "The request is too large"),
    "media_type": Kind(415, False, _FIX, "The body must be JSON"),
    "invalid": Kind(422, False, _FIX, "A field is not as it must be"),
    "account_closed": Kind(422, True, _REFUND, "The account is closed"),
    "currency_mismatch": Kind(422, True, _REFUND, "The account is kept in another currency"),
    "limit_exceeded": Kind(422, True, _REFUND, "A limit is exceeded"),
    "amount_out_of_range": Kind(422, True, _REFUND, "The amount is out of range"),
    "over_hoarding_limit": Kind(422, True, _REFUND, "The balance would pass its limit"),
    "rate_limited": Kind(429, False, _AGAIN, "Too many requests"),
    "unavailable": Kind(503, False, _AGAIN, "The gateway cannot do this now"),
    "not_open": Kind(503, False, _AGAIN, "Outside the trading hours"),
}

RETRY_AFTER_S = 5
"""Said with every 503: the pause after which the bank's query ladder begins (contract.md 3)."""

Extra = str | int | bool | None | list[str] | Mapping[str, object]


class Problem(Exception):
    """A refusal on its way out. `detail` is one sentence; `field` names the one at fault; `extra` are further members."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Extra] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code, self.detail, self.field = code, detail, field
        self.status = status or KINDS[code].status
        self.headers, self.extra = dict(headers or {}), extra or {}

    def document(self) -> dict[str, object]:
        """The members of the problem document, in the order in which a person reads them."""
        kind = KINDS[self.code]
        body: dict[str, object] = {
            "type": f"urn:wattgate:problem:{self.code}",
            "title": kind.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "final": kind.final,
            "action": kind.action,
        }
        if self.field is not None:
            body["field"] = self.field
        return {**body, **self.extra}

    def response(self) -> Response:
        """The document as a response; ASCII JSON, so that no name of a field can break it."""
        headers = {"cache-control": "no-store", **self.headers}
        if self.status == 503:
            headers["retry-after"] = str(RETRY_AFTER_S)
        return Response(json.dumps(self.document()), self.status, headers, "application/problem+json")


_BY_STATUS = {401: "unauthorized", 403: "forbidden", 404: "not_found", 405: "not_allowed", 411: "length_required", 413: "too_large",
              415: "media_type", 422: "invalid", 429: "rate_limited", 431: "too_large"}  # fmt: skip


def from_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """What a framework says with a bare status, as a problem of ours: 4xx by its number, everything else `unavailable`."""
    if status in _BY_STATUS:
        code = _BY_STATUS[status]
        return Problem(code, f"{KINDS[code].title.lower()}", status=status, headers=headers)
    if 400 <= status < 500:
        return Problem("malformed", "the request could not be read")
    return unavailable()


def unavailable(detail: str = "the gateway could not finish this; ask again with the same serial or id") -> Problem:
    """Nothing is decided: the caller repeats what it asked."""
    return Problem("unavailable", detail)
