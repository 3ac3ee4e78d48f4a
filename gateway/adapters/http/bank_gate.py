"""The banks' gate: which bank signed a request and what it may do, how its answers leave, and the one kind of route behind it.

Form comes first, then signature and rights, then everything else (contract.md 3): so a handler lets its caller in by itself
(bank_caller.caller_of), and what was answered to nobody is not sent.
"""

from __future__ import annotations

import inspect
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from gateway.adapters.http.bank_caller import BankCaller
from gateway.adapters.http.bank_rates import BankRates
from gateway.adapters.http.bank_spool import FileResponse
from gateway.adapters.http.bank_wrong_signatures import Network, WrongSignatures, address_of
from gateway.adapters.http.guard import wrong_part
from gateway.adapters.http.problems import Problem, unavailable
from gateway.adapters.http.server import CLIENT_NAMES
from gateway.adapters.http.views import PROBLEM_DOCUMENT
from gateway.adapters.identity import Identity
from gateway.domain.bank_terms import OURS, SCOPES, PartnerTerms
from gateway.domain.nonces import Claim, NonceUsed
from gateway.services.ports import Unavailable
from protocols.bank import signatures
from protocols.bank.signatures import BadSignature, BankKey, SignatureExpired, check_request, sign_response

BANK_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
ASKED = {
    "www-authenticate": "Signature",
    "accept-signature": 'bank=("@method" "@target-uri" "content-digest");created;expires;nonce;keyid',
}
"""Said with every 401: what a signature is to cover (RFC 9421 section 5)."""

log = structlog.get_logger()

Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key of a bank, and when it may be used: [begins_ms, until_ms) in UTC ms, None for ever. scopes: None for the bank's own."""

    bank: str
    key: BankKey
    begins_ms: int = 0
    until_ms: int | None = None
    scopes: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class KnownBank:
    """A bank as it is configured. per_second, per_minute: how often it may ask. client_name: which its certificate has to show."""

    terms: PartnerTerms
    scopes: frozenset[str] = SCOPES
    per_second: int = 1_000_000
    per_minute: int = 60_000_000
    client_name: str | None = None


@dataclass(frozen=True, slots=True)
class Banks:
    """Everybody who may call. url: where banks call, as they sign it; None where signatures are off, and then the header x-bank
    says which bank speaks. zone: of banks of which nothing is configured. proxies: who is believed where a call comes from."""

    zone: str = "Asia/Shanghai"
    url: str | None = None
    banks: Mapping[str, KnownBank] = field(default_factory=dict)
    keys: Mapping[str, KnownKey] = field(default_factory=dict)
    proxies: Sequence[Network] = ()


async def _spend_nothing(claim: Claim) -> None:
    raise Unavailable("nonces are not remembered here")


class BankGate:
    """Lets banks in and signs what goes out. banks: as they are now. now_ms: UTC.

    spend: uses a nonce up, durably; raises NonceUsed and Unavailable. heard: told of every call that is a bank's. identity: the key
    that signs answers; None for none.
    """

    def __init__(
        self,
        banks: Callable[[], Banks],
        now_ms: Callable[[], int],
        *,
        spend: Callable[[Claim], Awaitable[None]] = _spend_nothing,
        heard: Callable[[], None] = lambda: None,
        identity: Identity | None = None,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._banks, self._now_ms, self._spend, self._heard = banks, now_ms, spend, heard
        self.identity = identity
        self._rates, self._wrong, self._steady_s = BankRates(), WrongSignatures(), steady_s

    async def admit(self, request: Request, scope: str, *, spend: bool) -> BankCaller:
        """bank_caller.BankDoor. A call that is refused for its rate has used nothing up."""
        banks = self._banks()
        caller = self._unsigned(request, banks) if banks.url is None else self._signed(request, banks)
        known = banks.banks.get(caller.bank)
        if known is not None:
            self._may_come(known, request)
        if scope not in caller.scopes:
            raise _not_among_its_scopes(caller, scope)
        if known is not None:
            wait_s = self._rates.take(caller.bank, known.per_second, known.per_minute, self._steady_s())
            if wait_s:
                raise Problem("rate_limited", "too many requests of this bank", headers={"retry-after": str(wait_s)})
        if spend and caller.claim is not None:
            try:
                await self._spend(caller.claim)
            except NonceUsed as used:
                raise Problem("bad_signature", str(used), headers=ASKED) from None
        self._heard()
        return caller

    async def answer(self, request: Request, handler: Handler) -> Response:
        """What the handler says, or the problem it ends in; signed where we have a key."""
        request.state.bank_door = self
        try:
            response = await handler(request)
            if not hasattr(request.state, "bank_caller"):
                log.error("bank_unasked", path=request.url.path, text="a route answers without asking who is there")
                response = unavailable().response()
        except Problem as problem:
            response = problem.response()
        except RequestValidationError as wrong:
            response = wrong_part(wrong).response()
        except Exception as error:
            if not isinstance(error, Unavailable):
                log.error("http_failed", path=request.url.path, method=request.method, exc_info=error)
            response = unavailable().response()
        return self._sealed(request, response)

    def _unsigned(self, request: Request, banks: Banks) -> BankCaller:
        bank = request.headers.get("x-bank", "demo")
        if not BANK_ID.fullmatch(bank):
            raise Problem("invalid", "x-bank: an id of a bank is 1 to 64 letters, digits, _ or -", field="x-bank")
        if bank in OURS:
            raise Problem("invalid", f"x-bank: {bank} is how we book by ourselves, and no bank", field="x-bank")
        known = banks.banks.get(bank)
        terms = PartnerTerms(bank, banks.zone) if known is None else known.terms
        return BankCaller(bank, "", SCOPES if known is None else known.scopes, terms)

    def _signed(self, request: Request, banks: Banks) -> BankCaller:
        now_ms, steady_s = self._now_ms(), self._steady_s()
        signed = request.state.bank_request = _as_signed(request, banks.url or "")
        host, named = address_of(request, banks.proxies), None

        def key_of(kid: str) -> BankKey | None:
            nonlocal named
            known = banks.keys.get(kid)
            named = kid if known is not None else None
            if wait_s := self._wrong.wait_s(host, named, known.bank if known is not None else None, steady_s):
                raise _too_many(host, wait_s)
            if known is None or now_ms < known.begins_ms or (known.until_ms is not None and now_ms >= known.until_ms):
                return None
            return known.key

        try:
            checked = check_request(signed, getattr(request.state, "body", b""), key_of, now_ms // 1000)
        except SignatureExpired as late:
            raise Problem("signature_expired", str(late), headers=ASKED) from None
        except BadSignature as bad:
            if wait_s := self._wrong.wrong(host, named, steady_s):
                raise _too_many(host, wait_s) from None
            log.warning("bank_bad_signature", host=host, kid=named, path=request.url.path, text=str(bad))
            raise Problem("bad_signature", str(bad), headers=ASKED) from None
        key = banks.keys[checked.kid]
        bank, known = key.bank, banks.banks[key.bank]
        self._wrong.right(host, bank)
        claim = Claim(checked.kid, checked.nonce, checked.expires_s * 1000)
        return BankCaller(bank, checked.kid, known.scopes if key.scopes is None else key.scopes, known.terms, claim)

    @staticmethod
    def _may_come(known: KnownBank, request: Request) -> None:
        names = getattr(request.state, CLIENT_NAMES, ())
        if known.client_name is not None and known.client_name not in names:
            raise Problem("forbidden", f"this bank shows the certificate of {known.client_name}, and this connection did not")

    def _sealed(self, request: Request, response: Response) -> Response:
        url = self._banks().url
        if self.identity is None or url is None:
            return response
        body = response.content_digest if isinstance(response, FileResponse) else bytes(response.body)
        asked = getattr(request.state, "bank_request", None) or _as_signed(request, url)
        kind = response.headers.get("content-type", "")
        lines = sign_response(response.status_code, kind, body, asked, self.identity.kid, self.identity.key, self._now_ms() // 1000)
        response.raw_headers.extend((name.encode("latin-1"), value.encode("latin-1")) for name, value in lines)
        return response


def _not_among_its_scopes(caller: BankCaller, scope: str) -> Problem:
    has = ", ".join(sorted(caller.scopes))
    table = f'[[bank.partner]] id = "{caller.bank}"' + (f', or kid = "{caller.key}" of it,' if caller.key else "")
    detail = f'bank {caller.bank} lacks the scope "{scope}" here; it has {has} ({table} has scopes = [...] without it)'
    return Problem("forbidden", detail, extra={"scope": scope})


def _too_many(host: str, wait_s: int) -> Problem:
    detail = f"too many wrong signatures came from {host}, or under this key: wait {wait_s} s"
    return Problem("rate_limited", detail, headers={"retry-after": str(wait_s)})


def _as_signed(request: Request, url: str) -> signatures.Request:
    """The request as its sender saw it: at the configured address, whatever host and scheme it came by."""
    scope = request.scope
    query: bytes = scope["query_string"]
    target = (scope.get("raw_path") or scope["path"].encode()) + (b"?" + query if query else b"")
    lines = [(name.decode("latin-1"), value.decode("latin-1").strip(" \t")) for name, value in scope["headers"]]
    return signatures.Request(scope["method"], url + target.decode("latin-1"), signatures.Fields(lines))


def _nothing_else(request: Request, named: frozenset[str]) -> None:
    """A mistyped `institution` would name another payment: what is not asked for, or stands twice, is not passed over."""
    met = set[str]()
    for name, _ in request.query_params.multi_items():
        if name not in named or name in met:
            detail = f"{name[:64]!a} stands twice in the query" if name in named else f"{name[:64]!a} is no parameter of this call"
            raise Problem("invalid", detail, field=name[:64])
        met.add(name)


def bank_router(gate: BankGate) -> APIRouter:
    """A router for routes of /bank/v1 behind this gate."""

    class BankRoute(APIRoute):
        """A handler that takes the request alone is called as it is: what the framework does around it costs more than it does."""

        def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
            alone = [*inspect.signature(self.endpoint).parameters] == ["request"]
            handler: Handler = self.endpoint if alone else super().get_route_handler()
            named = frozenset(each.alias for each in self.dependant.query_params)

            async def asked(request: Request) -> Response:
                if request.scope["query_string"] and 422 in self.responses:
                    _nothing_else(request, named)
                return await handler(request)

            async def answered(request: Request) -> Response:
                return await gate.answer(request, asked)

            return answered

    return APIRouter(prefix="/bank/v1", tags=["bank"], responses={"default": PROBLEM_DOCUMENT}, route_class=BankRoute)
