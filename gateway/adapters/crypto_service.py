"""A security module elsewhere: MACs and ciphertexts from a crypto service over HTTP and JSON (protocols/dlt645/security.py).

`GET URL` tells `{"label"}`; `POST URL/identify` takes `{"meter", "factor"}` and gives `{"cipher", "random", "factor"}`;
`POST URL/mac` and `POST URL/seal` take `{"meter", "factor", "challenge", "purpose", "plain"}` and give `{"mac"}` and
`{"cipher", "mac"}`. Bytes are hex. An error is any other status, its reason in `detail` or `error`.
"""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Protocol

import httpx2
import structlog

from protocols.dlt645.security import (
    CIPHER,
    MAC,
    MAX_PLAIN,
    RANDOM,
    Identity,
    IdentityQuestion,
    Sealed,
    SealQuestion,
    SecurityModule,
)

CONNECT_S = 3.0
ANSWER_WITHIN_S = 10.0
"""For one answer: a meter's authentication holds for minutes, and hardware modules answer within a second."""

MOST_BYTES = 8 * 1024
"""Of an answer: a sealed frame in hex has less than 600."""

LONGEST_LABEL = 120

log = structlog.get_logger()


class CryptoError(Exception):
    """The service did not give what was asked for; one sentence."""


class Crypto(Protocol):
    """A SecurityModule that takes its time: the same questions and answers. All three raise CryptoError."""

    @property
    def label(self) -> str:
        """What every log line about it must show."""

    async def identify(self, question: IdentityQuestion) -> Identity: ...
    async def mac(self, question: SealQuestion) -> bytes: ...
    async def seal(self, question: SealQuestion) -> Sealed: ...


class LocalCrypto:
    """A module of this process in the form of a service."""

    def __init__(self, module: SecurityModule) -> None:
        self._module = module
        self._log = log.bind(module=module.label)

    @property
    def label(self) -> str:
        """The module's own."""
        return self._module.label

    async def identify(self, question: IdentityQuestion) -> Identity:
        """See SecurityModule."""
        self._log.info("crypto_asked", what="identify", meter=question.meter)
        return self._module.identify(question)

    async def mac(self, question: SealQuestion) -> bytes:
        """See SecurityModule."""
        self._log.info("crypto_asked", what="mac", meter=question.meter, purpose=question.purpose)
        return self._module.mac(question)

    async def seal(self, question: SealQuestion) -> Sealed:
        """See SecurityModule."""
        self._log.info("crypto_asked", what="seal", meter=question.meter, purpose=question.purpose)
        return self._module.seal(question)


class CryptoService:
    """A crypto service by its URL, loopback or https. Use as an asynchronous context, which asks for its label. token: bearer."""

    def __init__(self, url: str, token: str | None = None) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        timeout = httpx2.Timeout(ANSWER_WITHIN_S, connect=CONNECT_S)
        self._url, self._said = url.rstrip("/"), ""
        self._http = httpx2.AsyncClient(headers=headers, timeout=timeout, trust_env=False, follow_redirects=False)
        self._log = log.bind(module=self.label)

    @property
    def label(self) -> str:
        """The service's own word for itself and where it is."""
        return f"{self._said or 'crypto service'} at {self._url}"

    async def __aenter__(self) -> CryptoService:
        """Raises CryptoError."""
        try:
            told = await self._asked("GET", "", None)
            said = told.get("label")
            if not isinstance(said, str) or not said.strip() or not said.isprintable():
                raise CryptoError(f"{self.label} does not say what it is: its label is missing")
        except BaseException:
            await self._http.aclose()
            raise
        self._said = said[:LONGEST_LABEL]
        self._log = log.bind(module=self.label)
        self._log.info("crypto_service")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.aclose()

    async def identify(self, question: IdentityQuestion) -> Identity:
        """See SecurityModule."""
        body = {"meter": question.meter, "factor": question.factor.hex()}
        told = await self._call("identify", body, question.meter)
        factor = self._bytes(told, "factor", len(question.factor))
        if factor != question.factor:
            raise CryptoError(f"{self.label} answered for another factor")
        return Identity(self._bytes(told, "cipher", CIPHER), self._bytes(told, "random", RANDOM), factor)

    async def mac(self, question: SealQuestion) -> bytes:
        """See SecurityModule."""
        return self._bytes(await self._call("mac", _sealing(question), question.meter), "mac", MAC)

    async def seal(self, question: SealQuestion) -> Sealed:
        """See SecurityModule."""
        told = await self._call("seal", _sealing(question), question.meter)
        return Sealed(self._bytes(told, "cipher"), self._bytes(told, "mac", MAC))

    async def _call(self, what: str, body: dict[str, str], meter: str) -> dict[str, object]:
        try:
            told = await self._asked("POST", f"/{what}", body)
        except CryptoError as error:
            self._log.warning("crypto_failed", what=what, meter=meter, text=str(error))
            raise
        self._log.info("crypto_asked", what=what, meter=meter, purpose=body.get("purpose"))
        return told

    async def _asked(self, method: str, path: str, body: dict[str, str] | None) -> dict[str, object]:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S), self._http.stream(method, self._url + path, json=body) as answer:
                content = b""
                async for piece in answer.aiter_bytes():
                    content += piece
                    if len(content) > MOST_BYTES:
                        raise CryptoError(f"{self.label} answers with more than {MOST_BYTES} bytes")
        except TimeoutError:
            raise CryptoError(f"{self.label} did not answer within {ANSWER_WITHIN_S:g} s") from None
        except httpx2.HTTPError as error:
            raise CryptoError(f"{self.label} cannot be asked: {error or type(error).__name__}") from None
        told = _object(content)
        if answer.status_code != 200:
            why = told.get("detail") or told.get("error") if told else None
            raise CryptoError(f"{self.label} said no ({answer.status_code}){f': {str(why)[:200]}' if why else ''}")
        if told is None:
            raise CryptoError(f"{self.label} did not answer with a JSON object")
        return told

    def _bytes(self, told: dict[str, object], name: str, length: int | None = None) -> bytes:
        """The bytes of one member; length: None for 1 to what one frame carries."""
        text = told.get(name)
        try:
            found = bytes.fromhex(text) if isinstance(text, str) else b""
        except ValueError:
            found = b""
        if not found or len(found) > MAX_PLAIN or length not in (None, len(found)):
            wanted = f"{length} bytes" if length else f"1 to {MAX_PLAIN} bytes"
            raise CryptoError(f"{self.label} gave no right {name}: it is {wanted} of hex")
        return found


def _sealing(question: SealQuestion) -> dict[str, str]:
    return {
        "meter": question.meter,
        "factor": question.factor.hex(),
        "challenge": question.challenge.hex(),
        "purpose": question.purpose,
        "plain": question.plain.hex(),
    }


def _object(content: bytes) -> dict[str, object] | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
