"""Message authentication codes of bank lines: 8 bytes over a whole message, by the algorithm that a partner's table names.

Block ciphers are `cryptography`'s; what is done with them stands here, because no library knows the card networks' own form.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.cmac import CMAC

MAC_BYTES = 8
"""What field 64 or 128 holds (contract.md 3)."""

Block = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class _Algorithm:
    """key_bytes: lengths a key may have. make: the MAC of a message, from its key."""

    key_bytes: tuple[int, ...]
    make: Callable[[bytes, bytes], bytes]


def mac(algorithm: str, key: bytes, message: bytes) -> bytes:
    """The MAC_BYTES of this message. ValueError for an unknown algorithm or another length of key, in words without the key."""
    found = ALGORITHMS.get(algorithm)
    if found is None:
        raise ValueError(f"MAC algorithm {algorithm!r} is not known; known are {', '.join(sorted(ALGORITHMS))}")
    if len(key) not in found.key_bytes:
        lengths = " or ".join(str(each) for each in found.key_bytes)
        raise ValueError(f"a key for {algorithm} has {lengths} bytes, not {len(key)}")
    return found.make(key, message)[:MAC_BYTES]


def right(algorithm: str, key: bytes, message: bytes, given: bytes) -> bool:
    """Whether this is the message's MAC; takes as long for one wrong byte as for eight."""
    return hmac.compare_digest(mac(algorithm, key, message), given)


def _sm4(key: bytes) -> Block:
    return lambda block: _once(Cipher(SM4(key), modes.ECB()), block)


def _des(key: bytes) -> Block:
    return lambda block: _once(Cipher(TripleDES(key * 3), modes.ECB()), block)  # three times the same key is single DES


def _once(cipher: Cipher[modes.ECB], block: bytes) -> bytes:
    step = cipher.encryptor()
    return step.update(block) + step.finalize()


def _blocks(message: bytes, size: int) -> list[bytes]:
    """Zero-padded; an empty message is one block of zeros."""
    padded = message + bytes(-len(message) % size) or bytes(size)
    return [padded[at : at + size] for at in range(0, len(padded), size)]


def _xor(left: bytes, right: bytes) -> bytes:
    return (int.from_bytes(left, "big") ^ int.from_bytes(right, "big")).to_bytes(len(left), "big")


def _folded(encrypt: Block, size: int, message: bytes) -> bytes:
    """The card networks' form: all blocks folded into one, written as hex digits, of which two blocks are made and chained.

    The first 8 hex digits of the result are the MAC, as ASCII (vectors: prepayment.json, mac).
    """
    fold = bytes(size)
    for block in _blocks(message, size):
        fold = _xor(fold, block)
    text = fold.hex().upper().encode()
    return encrypt(_xor(encrypt(text[:size]), text[size:])).hex().upper().encode()


def _chained(encrypt: Block, size: int, message: bytes) -> bytes:
    """CBC-MAC with zeros behind the message (ISO/IEC 9797-1, algorithm 1, padding 1; with DES this is ANSI X9.9)."""
    state = bytes(size)
    for block in _blocks(message, size):
        state = encrypt(_xor(state, block))
    return state


def _x919(key: bytes, message: bytes) -> bytes:
    """ANSI X9.19: single DES down the chain, triple DES at its end (ISO/IEC 9797-1, algorithm 3, padding 1)."""
    left, right_half = key[:8], key[8:16]
    step = Cipher(TripleDES(right_half * 3), modes.ECB()).decryptor()
    return _des(left)(step.update(_chained(_des(left), 8, message)) + step.finalize())


def _cmac(key: bytes, message: bytes) -> bytes:
    code = CMAC(SM4(key))
    code.update(message)
    return code.finalize()


ALGORITHMS: Final[dict[str, _Algorithm]] = {
    "sm4-ecb": _Algorithm((16,), lambda key, message: _folded(_sm4(key), 16, message)),
    "sm4-cbc": _Algorithm((16,), lambda key, message: _chained(_sm4(key), 16, message)),
    "sm4-cmac": _Algorithm((16,), _cmac),
    "des-ecb": _Algorithm((8,), lambda key, message: _folded(_des(key), 8, message)),
    "des-x9.9": _Algorithm((8,), lambda key, message: _chained(_des(key), 8, message)),
    "3des-x9.19": _Algorithm((16,), _x919),
}
"""By the name a partner's table gives. Single DES is for partners who have nothing better, on a private line."""
