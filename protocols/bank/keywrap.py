"""Working keys on their way: wrapped by the key of a zone, and the check value that shows that both sides hold the same key."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

from protocols.bank.mac import ALGORITHMS

WRAPS: Final[dict[str, tuple[tuple[int, ...], int]]] = {"sm4-ecb": ((16,), 16), "3des-ecb": ((16, 24), 8), "des-ecb": ((8,), 8)}
"""By the name a partner's table gives: lengths that a zone's key may have, and the block that a wrapped key is a multiple of."""

MOST_CHECK_DIGITS = 16
"""Hex digits of a check value; most partners send six."""


def key_length(mac_algorithm: str) -> int:
    """Bytes of a key for these MACs."""
    return ALGORITHMS[mac_algorithm].key_bytes[0]


def unwrap(algorithm: str, zone_key: bytes, wrapped: bytes) -> bytes:
    """The key that this zone's key has wrapped. ValueError for a length that the algorithm does not take."""
    _fits(algorithm, zone_key, wrapped)
    step = _cipher(algorithm, zone_key).decryptor()
    return step.update(wrapped) + step.finalize()


def wrap(algorithm: str, zone_key: bytes, key: bytes) -> bytes:
    """The other way round, as a partner does it."""
    _fits(algorithm, zone_key, key)
    step = _cipher(algorithm, zone_key).encryptor()
    return step.update(key) + step.finalize()


def check_value(mac_algorithm: str, key: bytes) -> str:
    """MOST_CHECK_DIGITS hex digits, of which a partner sends the first few: a block of zeros under the key (ANSI X9.24-1).

    The cipher is that of the MACs: SM4, DES, or triple DES.
    """
    cipher = "sm4-ecb" if mac_algorithm.startswith("sm4") else "3des-ecb" if len(key) > 8 else "des-ecb"
    return wrap(cipher, key, bytes(WRAPS[cipher][1])).hex().upper()[:MOST_CHECK_DIGITS]


def _cipher(algorithm: str, key: bytes) -> Cipher[modes.ECB]:
    if algorithm == "sm4-ecb":
        return Cipher(SM4(key), modes.ECB())
    return Cipher(TripleDES((key * 3)[:24]), modes.ECB())  # 8 bytes three times is single DES, of 16 the first stands again


def _fits(algorithm: str, zone_key: bytes, text: bytes) -> None:
    lengths, block = WRAPS[algorithm]
    if len(zone_key) not in lengths:
        raise ValueError(f"a zone's key for {algorithm} has {' or '.join(map(str, lengths))} bytes, not {len(zone_key)}")
    if not text or len(text) % block:
        raise ValueError(f"a key wrapped by {algorithm} is a multiple of {block} bytes, not {len(text)}")
