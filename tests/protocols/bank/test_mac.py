"""MACs of bank lines against vectors of the card networks' form, of ISO/IEC 9797-1 and FIPS 113, and against their definition."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

from protocols.bank.mac import ALGORITHMS, MAC_BYTES, mac, right

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "prepayment.json").read_text("utf-8"))["mac"]
SM4_KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")
DES_KEY = SM4_KEY[:8]
NOW = b"Now is the time for all "


@pytest.mark.parametrize("cipher", ["des", "sm4"])
def test_the_card_networks_form_is_that_of_the_vectors(cipher: str) -> None:
    vector = VECTORS[cipher]
    found = mac(f"{cipher}-ecb", bytes.fromhex(vector["key"]), vector["message_ascii"].encode())
    assert found == vector["mac8"].encode()


@pytest.mark.parametrize(
    ("algorithm", "key", "message", "expected"),
    [
        ("des-x9.9", DES_KEY, NOW, "70a30640cc76dd8b"),  # ISO/IEC 9797-1 annex, algorithm 1, padding 1
        ("des-x9.9", DES_KEY, b"7654321 Now is the time for ", "f1d30f6849312ca4"),  # FIPS 113, appendix 2
        ("3des-x9.19", SM4_KEY, NOW, "a1c72e74ea3fa9b6"),  # ISO/IEC 9797-1 annex, algorithm 3, padding 1
    ],
)
def test_published_values(algorithm: str, key: bytes, message: bytes, expected: str) -> None:
    assert mac(algorithm, key, message).hex() == expected


def sm4(block: bytes) -> bytes:
    step = Cipher(SM4(SM4_KEY), modes.ECB()).encryptor()
    return step.update(block) + step.finalize()


def double(block: bytes) -> bytes:
    """Of RFC 4493: times x in GF(2^128)."""
    number = int.from_bytes(block, "big") << 1
    return ((number & (1 << 128) - 1) ^ (0x87 if number >> 128 else 0)).to_bytes(16, "big")


def cmac_by_hand(message: bytes) -> bytes:
    """RFC 4493 written down once more, with SM4 in the place of AES."""
    first = double(sm4(bytes(16)))
    whole = bool(message) and len(message) % 16 == 0
    padded = message if whole else message + b"\x80" + bytes(-(len(message) + 1) % 16)
    blocks = [padded[at : at + 16] for at in range(0, len(padded), 16)]
    last = first if whole else double(first)
    state = bytes(16)
    for number, block in enumerate(blocks, 1):
        mixed = bytes(a ^ b for a, b in zip(state, block, strict=True))
        state = sm4(bytes(a ^ b for a, b in zip(mixed, last, strict=True)) if number == len(blocks) else mixed)
    return state


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 32, 33, 200])
def test_sm4_chains_and_cmac_are_those_of_their_definitions(size: int) -> None:
    message = bytes(range(200))[:size]
    assert mac("sm4-cmac", SM4_KEY, message) == cmac_by_hand(message)[:MAC_BYTES]
    state = bytes(16)
    for at in range(0, max(size, 1), 16):
        block = message[at : at + 16].ljust(16, b"\0")
        state = sm4(bytes(a ^ b for a, b in zip(state, block, strict=True)))
    assert mac("sm4-cbc", SM4_KEY, message) == state[:MAC_BYTES]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_each_changed_bit_of_message_key_or_mac_is_seen(algorithm: str) -> None:
    key = SM4_KEY[: ALGORITHMS[algorithm].key_bytes[0]]
    message = b"0200ACCT=3200000012AMT=000000010000"
    code = mac(algorithm, key, message)
    assert len(code) == MAC_BYTES and right(algorithm, key, message, code)
    for at in range(len(message) * 8):
        changed = bytearray(message)
        changed[at // 8] ^= 1 << at % 8
        assert not right(algorithm, key, bytes(changed), code)
    assert not right(algorithm, key[::-1], message, code)
    assert not any(right(algorithm, key, message, bytes([*code[:n], code[n] ^ 1, *code[n + 1 :]])) for n in range(MAC_BYTES))
    assert not right(algorithm, key, message, code[:7]) and not right(algorithm, key, message, b"")


@pytest.mark.parametrize(("algorithm", "size"), [("sm4-ecb", 8), ("des-ecb", 16), ("3des-x9.19", 24), ("sm4-cmac", 0)])
def test_a_key_of_another_length_is_refused_without_being_shown(algorithm: str, size: int) -> None:
    with pytest.raises(ValueError, match=f"not {size}$") as problem:
        mac(algorithm, b"\xab" * size, b"")
    assert "ab" * 4 not in str(problem.value)


def test_an_unknown_algorithm_is_named() -> None:
    with pytest.raises(ValueError, match="'xor' is not known"):
        mac("xor", SM4_KEY, b"")
