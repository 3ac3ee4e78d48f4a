"""The two lines from a bank to a gateway, HTTP and ISO 8583, behind the same few verbs; an answer may be lost on purpose."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Protocol

import httpx2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from firmware_sim.banking.book import Answer, Outcome, Payment
from firmware_sim.banking.mac_keys import MacKeys
from protocols.bank.iso8583 import BadMessage, Codec, Deframer, Message, frame
from protocols.bank.iso8583_meaning import named
from protocols.bank.iso8583_table import Dialect
from protocols.bank.signatures import sign_request

TIMEOUT_S = 30.0  # contract 3: we answer within 5 s, a bank waits 30
LOST_AFTER_S = 0.02  # how long a caller waits who is going to hang up before the answer
SPOILT = ("signature", "content", "expired", "nonce")  # what a wrong signature has wrong
STALE_S = 3_600
CHUNK = 65_536

SILENCE = Answer(Outcome.SILENT)
_BY_STATUS = {
    401: Outcome.BAD_SIGNATURE, 403: Outcome.BAD_SIGNATURE, 429: Outcome.UNAVAILABLE, 500: Outcome.UNAVAILABLE,
    502: Outcome.UNAVAILABLE, 503: Outcome.UNAVAILABLE, 504: Outcome.UNAVAILABLE,
}  # fmt: skip


class Line(Protocol):
    """Verbs of the contract. lose: hang up before the answer. spoil: sign or seal it wrongly."""

    def name(self, number: int, account: str, fen: int, now: datetime, day_offset: int) -> Payment: ...
    async def pay(self, payment: Payment, *, lose: bool = False, spoil: bool = False) -> Answer: ...
    async def reverse(self, payment: Payment, *, lose: bool = False, spoil: bool = False) -> Answer: ...
    async def query(self, payment: Payment) -> Answer | None: ...
    async def echo(self) -> bool: ...
    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Signing:
    """An Ed25519 key, or an HMAC's secret."""

    kid: str
    key: Ed25519PrivateKey | bytes


class HttpLine:
    """HTTP as in contract 3. clock: aware wall clock. rng: serials and nonces. signing: None where signatures are off.

    public_url: what is signed in place of base_url, where the other side calls itself otherwise. by_day: serials are unique within
    an accounting date, which then stands in the path. tls: whom it trusts, and its own certificate.
    """

    def __init__(
        self,
        base_url: str,
        clock: Callable[[], datetime],
        rng: Random,
        *,
        bank: str = "demo",
        currency: str = "CNY",
        utc_offset_min: int = 480,
        signing: Signing | None = None,
        public_url: str = "",
        by_day: bool = False,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._base, self._clock, self._rng, self._currency, self._signing = base_url.rstrip("/"), clock, rng, currency, signing
        self._public, self._by_day, self._used_nonce = public_url.rstrip("/") or self._base, by_day, ""
        self._zone = timezone(timedelta(minutes=utc_offset_min))
        headers = {} if signing else {"x-bank": bank}
        verify = True if tls is None else tls
        self._http = httpx2.AsyncClient(headers=headers, timeout=timeout_s, transport=transport, verify=verify, trust_env=False)

    def name(self, number: int, account: str, fen: int, now: datetime, day_offset: int) -> Payment:
        """A new payment at this moment."""
        local = now.astimezone(self._zone)
        serial = f"S{local:%Y%m%d%H%M%S}-{number:06d}-{self._rng.getrandbits(40):010x}"
        day = local.date() + timedelta(days=day_offset)
        return Payment(serial, number, account, fen, self._currency, local.isoformat(timespec="seconds"), day)

    async def pay(self, payment: Payment, *, lose: bool = False, spoil: bool = False) -> Answer:
        """POST /topups."""
        body = {
            "serial": payment.serial, "account": payment.account, "amount": payment.amount, "currency": payment.currency,
            "paid_at": payment.paid_at, "accounting_date": payment.day.isoformat(),
        }  # fmt: skip
        return _paid(*await self.ask("POST", "/bank/v1/topups", body, lose=lose, spoil=spoil))

    async def query(self, payment: Payment) -> Answer | None:
        """GET /topups/{serial}."""
        return _paid(*await self.ask("GET", self._path(payment)))

    async def reverse(self, payment: Payment, *, lose: bool = False, spoil: bool = False) -> Answer:
        """POST /topups/{serial}/reversal."""
        body = {
            "reversal_serial": f"R.{payment.serial}"[:64], "accounting_date": payment.day.isoformat(), "amount": payment.amount,
            "currency": payment.currency, "reason": "no answer", "requested_at": payment.paid_at,
        }  # fmt: skip
        status, document = await self.ask("POST", f"{self._path(payment)}/reversal", body, lose=lose, spoil=spoil)
        code = str(document.get("code", ""))
        if status == 200:
            return Answer(Outcome.REVERSED, str(document.get("payment", "")))
        if status == 202:
            return Answer(Outcome.PENDING)
        if code in ("delivered", "day_closed"):
            return Answer(Outcome.STANDS, code)
        return Answer(_BY_STATUS.get(status, Outcome.REFUSED if status else Outcome.SILENT), code)

    async def echo(self) -> bool:
        """Whether somebody is there."""
        status, _ = await self.ask("GET", "/bank/v1/accounts/echo")
        return status in (200, 404)

    async def reconcile(self, day: str, file: bytes, *, end: bool = False) -> tuple[int, dict[str, object]]:
        """Upload a day file."""
        path = f"/bank/v1/reconciliations/{day}" + ("?close=true" if end else "")
        return await self._send("POST", path, file, "text/csv", False)

    async def keys(self) -> dict[str, Ed25519PublicKey]:
        """By kid, what checks the other side's receipts."""
        _, told = await self.ask("GET", "/bank/v1/keys")
        listed = told.get("keys")
        found = {}
        for each in listed if isinstance(listed, list) else []:
            with contextlib.suppress(ValueError):
                found[str(each.get("kid"))] = Ed25519PublicKey.from_public_bytes(_bytes(str(each.get("x"))))
        return found

    async def ask(
        self, method: str, path: str, body: dict[str, str] | None = None, *, lose: bool = False, spoil: bool = False
    ) -> tuple[int, dict[str, object]]:
        """(status, JSON object); (0, {}) when nothing came back."""
        content = None if body is None else json.dumps(body).encode()
        sending = self._send(method, path, content, "application/json", spoil)
        if not lose:
            return await sending
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(sending, self._rng.random() * LOST_AFTER_S)
        return 0, {}

    async def _send(
        self, method: str, path: str, content: bytes | None, kind: str, spoil: bool
    ) -> tuple[int, dict[str, object]]:
        headers = {} if content is None else {"content-type": kind}
        signed, nonce = self._signed(method, path, content, spoil)
        try:
            response = await self._http.request(method, self._base + path, content=content, headers=headers | signed)
        except httpx2.TransportError:
            return 0, {}
        if response.is_success:
            self._used_nonce = nonce
        try:
            document = response.json()
        except ValueError:
            document = {}
        return response.status_code, document if isinstance(document, dict) else {}

    def _signed(self, method: str, path: str, content: bytes | None, spoil: bool) -> tuple[dict[str, str], str]:
        """The headers that sign it, and their nonce."""
        if self._signing is None:
            return {}, ""
        wrong = self._rng.choice(SPOILT) if spoil else ""
        created_s, nonce = int(self._clock().timestamp()), f"{self._rng.getrandbits(128):032x}"
        if wrong == "expired":
            created_s -= STALE_S
        if wrong == "content" and content is not None:
            content += b" "
        if wrong == "nonce":
            nonce = self._used_nonce or nonce
        signed = sign_request(
            method, self._public + path, content, self._signing.kid, self._signing.key, created_s=created_s, nonce=nonce
        )
        if wrong == "signature" or (wrong == "nonce" and not self._used_nonce):
            head, value = signed["signature"].rstrip(":").split(":")
            raw = bytearray(base64.b64decode(value))
            raw[self._rng.randrange(len(raw))] ^= 1 << self._rng.randrange(8)
            signed["signature"] = f"{head}:{base64.b64encode(raw).decode()}:"
        return signed, nonce

    def _path(self, payment: Payment) -> str:
        day = f"{payment.day.isoformat()}/" if self._by_day else ""
        return f"/bank/v1/topups/{day}{payment.serial}"

    @property
    def signs(self) -> bool:
        """Whether it can sign wrongly."""
        return self._signing is not None

    async def close(self) -> None:
        """Let go of the connections."""
        await self._http.aclose()


def unsigned(told: str, keys: Mapping[str, Ed25519PublicKey]) -> str:
    """Why the signature of an answer's receipt is none, in a sentence; empty where it is one. told: as Answer.receipt has it."""
    receipt, sealed = json.loads(told)
    try:
        head, payload, signature = str(sealed).split(".")
        kid = str(json.loads(_bytes(head))["kid"])
        if kid not in keys:
            return f"its receipt is signed with the key {kid}, which is not published"
        keys[kid].verify(_bytes(signature), f"{head}.{payload}".encode())
    except (ValueError, KeyError, TypeError, InvalidSignature):
        return "its receipt_jws is no signature"
    canonical = json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    return "" if _bytes(payload) == canonical else "its receipt_jws says something else than its receipt"


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _paid(status: int, document: dict[str, object]) -> Answer:
    code = str(document.get("code", ""))
    if status in (200, 201):
        state = str(document.get("payment", ""))
        known = {"posted": Outcome.POSTED, "reversed": Outcome.REVERSED, "refused": Outcome.REFUSED}
        receipt = document.get("receipt")
        text = json.dumps([receipt, document.get("receipt_jws")]) if isinstance(receipt, dict) else ""
        return Answer(known.get(state, Outcome.SILENT), state, text)
    if status == 409:
        return Answer({"reversed": Outcome.REVERSED, "serial_conflict": Outcome.CONFLICT}.get(code, Outcome.REFUSED), code)
    if status == 404 and code != "unknown_account":
        return Answer(Outcome.NOT_FOUND, code)
    return Answer(_BY_STATUS.get(status, Outcome.REFUSED if status else Outcome.SILENT), code)


class IsoLine:
    """ISO 8583 over TCP, one connection at a time; answers are told apart by MTI and fields 7 and 11.

    key: of its MACs, or all that it may use one after the other. tls: whom it trusts, and its own certificate; None for none.
    """

    def __init__(
        self,
        host: str,
        port: int,
        dialect: Dialect,
        key: bytes | MacKeys | None,
        clock: Callable[[], datetime],
        *,
        currency: str = "CNY",
        utc_offset_min: int = 480,
        institution: str = "1234567",
        terminal: str = "SIM00001",
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host, self._port, self._dialect, self._codec, self._tls = host, port, dialect, Codec(dialect), tls
        self.keys = key if isinstance(key, MacKeys) else MacKeys(dialect, key)
        self._clock, self._institution, self._terminal, self._timeout_s = clock, institution, terminal, timeout_s
        self._currency = next(code for code, name in dialect.currencies.items() if name == currency)
        self._letters = currency
        self._zone = timezone(timedelta(minutes=utc_offset_min))
        self._trace = 0
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[tuple[str, str, str], asyncio.Future[Message]] = {}
        self._turn = asyncio.Lock()

    def name(self, number: int, account: str, fen: int, now: datetime, day_offset: int) -> Payment:
        """A new payment: its fields make its serial, as the gateway will name it."""
        local = now.astimezone(self._zone)
        day = local.date() + timedelta(days=day_offset)
        draft = Payment("", number, account, fen, self._letters, local.isoformat(timespec="seconds"), day)
        serial = named(self._dialect, self._message(draft)).serial
        return Payment(serial, number, account, fen, self._letters, draft.paid_at, day)

    async def pay(self, payment: Payment, *, lose: bool = False, spoil: bool = False) -> Answer:
        """0200."""
        answer = await self._exchange(self._message(payment), lose, spoil)
        if answer is None:
            return SILENCE
        shown = answer.get(self._dialect.balance.field)
        return Answer(self._outcome(answer, reversal=False), answer.get(39), shown if answer.get(39) == self._code("ok") else "")

    async def reverse(self, payment: Payment, *, lose: bool = False, spoil: bool = False) -> Answer:
        """0400, with a trace number of its own."""
        paid = self._message(payment)
        self._trace += 1
        told = {number: paid.fields[number] for number in (3, 4, 15, 32, 37, 41, 49) if number in paid.fields}
        told |= {7: f"{self._local():%m%d%H%M%S}", 11: f"{500_000 + self._trace % 400_000:06d}"}
        told[90] = paid.mti + paid.get(11) + paid.get(7) + paid.get(32).rjust(11, "0") + "0" * 11
        answer = await self._exchange(Message("0400", told), lose, spoil)
        return SILENCE if answer is None else Answer(self._outcome(answer, reversal=True), answer.get(39))

    async def query(self, payment: Payment) -> Answer | None:
        """There is none on this line: a repeat says what is booked."""
        return None

    async def echo(self) -> bool:
        """0800/301."""
        return await self.network("echo")

    async def network(self, act: str) -> bool:
        """0800: sign_on, sign_off, cut_over or echo."""
        answer = await self._exchange(self._network(act), False, False)
        return answer is not None and answer.get(39) == self._code("ok")

    async def new_key(self, rng: Random) -> bool:
        """0800, key exchange; whether it was taken. Without an answer the same key is sent the next time.

        Nothing else is under way meanwhile: the first message under the new key ends the old one for the other side.
        """
        form = self._dialect.key
        if form is None or not self.keys.changes:
            return False
        async with self._turn:
            if busy := [each for each in self._waiting.values() if not each.done()]:
                await asyncio.wait(busy, timeout=self._timeout_s)
            text, key = self.keys.brought(rng)
            told = {**self._network("key_exchange").fields, form.field: text}
            answer = await self._asked(Message("0800", told), key, contextlib.nullcontext())
            said = "" if answer is None else answer.get(39)
            if said in (self._code("ok"), self._code("invalid")):
                self.keys.told(said == self._code("ok"))
            return said == self._code("ok")

    def _network(self, act: str) -> Message:
        self._trace += 1
        code = next(code for code, name in self._dialect.network.items() if name == act)
        told = {7: f"{self._local():%m%d%H%M%S}", 11: f"{900_000 + self._trace % 90_000:06d}", 32: self._institution, 70: code}
        return Message("0800", told)

    async def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.transport.abort()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        self._writer = self._reading = None

    @property
    def signs(self) -> bool:
        """Whether it can seal wrongly."""
        return self.keys.used is not None

    def _message(self, payment: Payment) -> Message:
        at = datetime.fromisoformat(payment.paid_at)
        told = {
            3: (self._dialect.processing.get("payment") or ("000000",))[0],
            4: f"{payment.fen:012d}", 7: f"{at:%m%d%H%M%S}", 11: f"{payment.number % 500_000:06d}",
            12: f"{at:%H%M%S}", 13: f"{at:%m%d}", 15: f"{payment.day:%m%d}", 32: self._institution,
            37: f"{at:%y%j}{payment.number % 10_000_000:07d}", 41: self._terminal, 49: self._currency,
        }  # fmt: skip
        place = self._dialect.account
        return Message("0200", {**told, place.field: place.prefix + payment.account}, bytes(self._dialect.header_bytes))

    def _local(self) -> datetime:
        return self._clock().astimezone(self._zone)

    def _code(self, meaning: str) -> str:
        return self._dialect.results[meaning]

    def _outcome(self, answer: Message, *, reversal: bool) -> Outcome:
        """Codes may mean several things; what matters to a bank is told apart, all else is a refusal."""
        code = answer.get(39)
        if code == self._code("ok"):
            return Outcome.REVERSED if reversal else Outcome.POSTED
        meanings = (
            ("mac", Outcome.BAD_SIGNATURE), ("pending", Outcome.PENDING), ("not_open", Outcome.UNAVAILABLE),
            ("not_signed_on", Outcome.UNAVAILABLE), ("delivered" if reversal else "serial_conflict",
             Outcome.STANDS if reversal else Outcome.CONFLICT), ("reversed", Outcome.REVERSED),
        )  # fmt: skip
        return next((outcome for meaning, outcome in meanings if code == self._code(meaning)), Outcome.REFUSED)

    async def _exchange(self, message: Message, lose: bool, spoil: bool) -> Message | None:
        return await self._asked(message, None, self._turn, lose, spoil)

    async def _asked(
        self,
        message: Message,
        seal: bytes | None,
        turn: contextlib.AbstractAsyncContextManager[object],
        lose: bool = False,
        spoil: bool = False,
    ) -> Message | None:
        """The answer. seal: None for the key that holds when its turn has come."""
        key = (f"{int(message.mti) + 10:04d}", message.get(7), message.get(11))
        message = Message(message.mti, message.fields, bytes(self._dialect.header_bytes))
        try:
            async with turn:
                writer = await self._connected()
                data = bytearray(self._codec.encode(message, seal or self.keys.used))
                if spoil:
                    data[-1] ^= 1
                writer.write(frame(self._dialect, bytes(data)))
                if lose:
                    await asyncio.wait_for(writer.drain(), self._timeout_s)
                    await self.close()
                    return None
                waiting = self._waiting.setdefault(key, asyncio.get_running_loop().create_future())
            return await asyncio.wait_for(asyncio.shield(waiting), self._timeout_s)
        except (OSError, TimeoutError, asyncio.CancelledError) as gone:
            if isinstance(gone, asyncio.CancelledError) and (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return None
        finally:
            self._waiting.pop(key, None)

    async def _connected(self) -> asyncio.StreamWriter:
        if self._writer is None or self._writer.is_closing():
            reader, self._writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
            self._reading = asyncio.ensure_future(self._read(reader, self._writer))
        return self._writer

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Deframer(self._dialect)
        try:
            while data := await reader.read(CHUNK):
                for each in frames.feed(data):
                    received = self._codec.decode(each)
                    if self.keys.used is not None and not self._codec.right(received, self.keys.valid):
                        raise BadMessage("an answer with a wrong MAC")
                    told = received.message
                    waiting = self._waiting.get((told.mti, told.get(7), told.get(11)))
                    if waiting is not None and not waiting.done():
                        waiting.set_result(told)
        except (OSError, BadMessage):
            pass
        finally:
            writer.transport.abort()
            for waiting in self._waiting.values():
                waiting.cancel()
