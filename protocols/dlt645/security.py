"""Where MACs and ciphertexts come from: a port, and a module for tests (dlt645.md 6 and 7).

The real algorithm (SM1 in the meter's chip, keys in a hardware module) is not public. A gateway carries the bytes that such a
module makes; the exchanges of `master_security`, `master_write` and `master_control` take them as arguments and never call it.
So an adapter may forward the same questions to a crypto service over a network, in its own time, and then build the exchange.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol

from protocols.errors import RequestError

MAC = 4
RANDOM = FACTOR = CIPHER = 8
CHALLENGE = 4
_BLOCK = 16
MAX_PLAIN = 240
"""Bytes that one frame can carry sealed."""


@dataclass(frozen=True, slots=True)
class IdentityQuestion:
    """Who asks, for 070000FF. meter: its 12 digits; factor: the 8 bytes that derive the meter's keys from the master key."""

    meter: str
    factor: bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """What 070000FF carries: 8 bytes of cipher, the 8 random bytes that it was made from, the factor."""

    cipher: bytes
    random: bytes
    factor: bytes


@dataclass(frozen=True, slots=True)
class SealQuestion:
    """What to protect. purpose: the identifier that is written or called, or "1C" for an order of supply.

    challenge: the 4 random bytes that the meter gave at authentication; plain: the bytes before the MAC.
    """

    meter: str
    factor: bytes
    challenge: bytes
    purpose: str
    plain: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """Ciphertext and the 4 bytes of its MAC."""

    cipher: bytes
    mac: bytes


class SecurityModule(Protocol):
    """The asking side's keys.

    An asynchronous adapter has the same three methods as coroutines, with the same questions and answers.
    """

    @property
    def label(self) -> str:
        """What every log line about it must show; a test module's says so."""

    def identify(self, question: IdentityQuestion) -> Identity:
        """Proof of who asks."""

    def mac(self, question: SealQuestion) -> bytes:
        """4 bytes for plain data: PA 99, each MAC of a purchase, 070001FF."""

    def seal(self, question: SealQuestion) -> Sealed:
        """Ciphertext and MAC: PA 98 of 14 and 1C."""


class MeterChip(Protocol):
    """The meter's side: what the chip in the meter judges and opens."""

    @property
    def label(self) -> str:
        """As in SecurityModule."""

    def challenge(self, meter: str, identity: Identity) -> bytes | None:
        """4 random bytes for one who has proved who he is; None for everybody else."""

    def accepts(self, question: SealQuestion, mac: bytes) -> bool:
        """Whether the MAC is right for the plain data."""

    def open(self, question: SealQuestion, sealed: Sealed) -> bytes | None:
        """The plain bytes; None when the MAC is wrong. The question's own `plain` is not looked at."""


class TestSecurityModule:
    """Both sides for tests and simulators: HMAC-SHA256 with a key that everybody knows. It protects nothing.

    randomness: gives as many random bytes as asked for.
    """

    __test__: ClassVar[bool] = False  # no test case, whatever the name tells a test runner
    label: Final = "TEST security module: public key, protects nothing"
    _KEY: ClassVar[bytes] = b"wattgate TEST key, known to everybody"

    def __init__(self, randomness: Callable[[int], bytes]) -> None:
        self._randomness = randomness

    def identify(self, question: IdentityQuestion) -> Identity:
        """See SecurityModule. Raises RequestError for a factor of another length."""
        random = self._randomness(RANDOM)
        return Identity(self._proof(question.meter, random, question.factor), random, question.factor)

    def mac(self, question: SealQuestion) -> bytes:
        """See SecurityModule."""
        return self._digest(b"TEST mac", question)[:MAC]

    def seal(self, question: SealQuestion) -> Sealed:
        """See SecurityModule. Padded with 80 00.. to whole blocks of 16 bytes. Raises RequestError for more than 240 bytes."""
        if len(question.plain) > MAX_PLAIN:
            raise RequestError(f"{len(question.plain)} bytes do not fit one sealed frame")
        padded = question.plain + b"\x80"
        padded += bytes(-len(padded) % _BLOCK)
        cipher = self._masked(question, padded)
        return Sealed(cipher, self._cipher_mac(question, cipher))

    def challenge(self, meter: str, identity: Identity) -> bytes | None:
        """See MeterChip."""
        if len(identity.factor) != FACTOR:
            return None
        right = hmac.compare_digest(self._proof(meter, identity.random, identity.factor), identity.cipher)
        return self._randomness(CHALLENGE) if right else None

    def accepts(self, question: SealQuestion, mac: bytes) -> bool:
        """See MeterChip."""
        return hmac.compare_digest(self.mac(question), mac)

    def open(self, question: SealQuestion, sealed: Sealed) -> bytes | None:
        """See MeterChip."""
        if not hmac.compare_digest(self._cipher_mac(question, sealed.cipher), sealed.mac):
            return None
        return self._masked(question, sealed.cipher).rpartition(b"\x80")[0]

    def _proof(self, meter: str, random: bytes, factor: bytes) -> bytes:
        if len(factor) != FACTOR:
            raise RequestError(f"a diversification factor has {FACTOR} bytes, not {len(factor)}")
        return self._hash(b"TEST identity", meter.encode(), random, factor)[:CIPHER]

    def _cipher_mac(self, question: SealQuestion, cipher: bytes) -> bytes:
        return self._hash(self._digest(b"TEST cipher mac", question, with_plain=False), cipher)[:MAC]

    def _masked(self, question: SealQuestion, data: bytes) -> bytes:
        seed = self._digest(b"TEST stream", question, with_plain=False)
        blocks = range(0, len(data), hashlib.sha256().digest_size)
        stream = b"".join(self._hash(seed, n.to_bytes(2, "big")) for n in blocks)
        return bytes(a ^ b for a, b in zip(data, stream, strict=False))

    def _digest(self, use: bytes, question: SealQuestion, with_plain: bool = True) -> bytes:
        parts = (question.meter.encode(), question.factor, question.challenge, question.purpose.encode())
        return self._hash(use, *parts, question.plain if with_plain else b"")

    def _hash(self, *parts: bytes) -> bytes:
        return hmac.digest(self._KEY, b"".join(len(p).to_bytes(2, "big") + p for p in parts), "sha256")
