"""Which role each call of the operator's interface needs: one table, and a test that no route is without an entry."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.domain.people import Role

ANY = frozenset(Role)
"""Whoever may look at all."""

_ADMIN, _OPERATOR, _APPROVER = (frozenset({role}) for role in (Role.ADMIN, Role.OPERATOR, Role.APPROVER))

LOOKING = frozenset({"GET", "HEAD"})
"""Methods that change nothing: any role, unless the table says otherwise."""

PUBLIC = frozenset({"GET /healthz", "GET /openapi.json", "POST /api/v1/session"})
"""Calls of this listener, beside the page's files and the bank's interface, that need no identity."""

ROLES: Mapping[str, frozenset[Role]] = {
    "DELETE /api/v1/session": ANY,
    "POST /api/v1/meters/{meter}/cut": _OPERATOR,
    "POST /api/v1/meters/{meter}/restore": _OPERATOR,
    "POST /api/v1/meters/{meter}/allow_close": _OPERATOR,
    "POST /api/v1/meters/{meter}/alarm": _OPERATOR,
    "POST /api/v1/meters/{meter}/alarm_off": _OPERATOR,
    "POST /api/v1/meters/{meter}/accept-register": _OPERATOR,
    "POST /api/v1/meters/{meter}/history": _OPERATOR,
    "POST /api/v1/accounts/{account}/limit": _OPERATOR,
    "POST /api/v1/accounts/{account}/limit/release": _OPERATOR,
    "POST /api/v1/meters/{meter}/limits/write-again": _OPERATOR,
    "POST /api/v1/accounts/{account}/protect": _OPERATOR,
    "POST /api/v1/accounts/{account}/unprotect": _OPERATOR,
    "POST /api/v1/accounts/{account}/notices/confirm": _OPERATOR,
    "POST /api/v1/notices/{number}/confirm": _OPERATOR,
    "POST /api/v1/notices/{number}/delivery": _OPERATOR,
    "POST /api/v1/accounts/{account}/credit": _OPERATOR,
    "POST /api/v1/topups": _OPERATOR,
    "POST /api/v1/mandates": _OPERATOR,
    "POST /api/v1/mandates/{mandate}/end": _OPERATOR,
    "POST /api/v1/debits/{bank}/{day}": _OPERATOR,
    "POST /api/v1/debits/{bank}/{serial}/resolution": _OPERATOR,
    "POST /api/v1/debit-results": _OPERATOR,
    "POST /api/v1/accounts/{account}/emergency-credit": _OPERATOR,
    "POST /api/v1/accounts/{account}/lift-never-cut": _OPERATOR,
    "POST /api/v1/cuts": _OPERATOR,
    "POST /api/v1/plans": _OPERATOR,
    "POST /api/v1/approvals/{approval}/approve": _APPROVER,
    "POST /api/v1/approvals/{approval}/refuse": _APPROVER | _OPERATOR,
    "POST /api/v1/quarantine/{command}/release": _APPROVER,
    "POST /api/v1/quarantine/{command}/refuse": _APPROVER | _OPERATOR,
    "POST /api/v1/stop-cuts": _OPERATOR | _APPROVER | _ADMIN,
    "POST /api/v1/resume-cuts": _APPROVER | _ADMIN,
    "POST /api/v1/lines/{line}/exchange": _OPERATOR,
    "POST /api/v1/reopen/bank": _OPERATOR,
    "POST /api/v1/reopen/centre": _OPERATOR,
    "POST /api/v1/reopen/payments": _OPERATOR,
    "POST /api/v1/reopen/release": _APPROVER,
    "POST /api/v1/accounts": _OPERATOR,
    "POST /api/v1/accounts/{account}/close": _OPERATOR,
    "POST /api/v1/accounts/{account}/refunds": _OPERATOR,
    "POST /api/v1/refunds/{refund}/paid": _OPERATOR | _APPROVER,
    "POST /api/v1/refunds/{refund}/void": _OPERATOR | _APPROVER,
    "POST /api/v1/moves": _OPERATOR,
    "POST /api/v1/meters/{meter}/change": _OPERATOR,
    "POST /api/v1/meters/{meter}/change-ct": _OPERATOR,
    "POST /api/v1/meters/{meter}/remove": _OPERATOR,
    "POST /api/v1/archive/{what}": _OPERATOR,
    "GET /api/v1/archive/{what}": _OPERATOR | _ADMIN,
    "POST /api/v1/rules/{what}": _ADMIN,
    "POST /api/v1/accounts/{account}/authority": _OPERATOR,
    "POST /api/v1/accounts/{account}/deliver": _OPERATOR,
    "POST /api/v1/deliveries/{delivery}/withdraw": _OPERATOR,
    "POST /api/v1/deliveries/{delivery}/resolve": _OPERATOR,
    "POST /api/v1/wallets/{meter}/accept": _OPERATOR,
    "POST /api/v1/reload": _ADMIN,
    "POST /api/v1/keys": _ADMIN,
    "POST /api/v1/identity/rotate": _ADMIN,
    "POST /api/v1/keys/{kid}/revoke": _ADMIN | _APPROVER,
    "POST /api/v1/users": _ADMIN,
    "POST /api/v1/users/{name}/revoke": _ADMIN,
    "POST /api/v1/users/{name}/token": _ADMIN,
}
"""Method and path, as the route has it -> the roles of which one is enough. Orders and money at the counter: operator; the second
person: approver; users and settings: admin."""


def needed(method: str, path: str) -> frozenset[Role]:
    """The roles of which one is enough; for a call that nobody has entered, admin."""
    return ROLES.get(f"{method} {path}", ANY if method in LOOKING else _ADMIN)
