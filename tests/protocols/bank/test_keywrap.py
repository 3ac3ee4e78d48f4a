"""Working keys under zone keys: published values, and other people's ciphers."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from protocols.bank.iso8583 import BadMessage, Message
from protocols.bank.iso8583_meaning import new_key
from protocols.bank.iso8583_table import dialect
from protocols.bank.keywrap import check_value, key_length, unwrap, wrap
from protocols.bank.mac import ALGORITHMS
from protocols.profiles import ProfileError
from tests.protocols.bank.tables import KEY, document, shipped

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "working_keys.json").read_text("utf-8"))["keys"]
OPENSSL = {
    "sm4-ecb": ["-sm4-ecb"],
    "3des-ecb": ["-des-ede-ecb"],
    "des-ecb": ["-provider", "legacy", "-provider", "default", "-des-ecb"],
}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: each["wrapped"][:8])
def test_published_keys_are_opened_and_checked(vector: dict[str, str]) -> None:
    zone, wrapped, key = (bytes.fromhex(vector[name]) for name in ("zone_key", "wrapped", "key"))
    assert unwrap(vector["wrapped_by"], zone, wrapped) == key and wrap(vector["wrapped_by"], zone, key) == wrapped
    assert check_value(vector["mac"], key) == vector["check"]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here")
@pytest.mark.parametrize(("mac", "cipher"), [("sm4-cmac", "sm4-ecb"), ("3des-x9.19", "3des-ecb"), ("des-x9.9", "des-ecb")])
def test_openssl_finds_the_same_check_values_and_wraps(mac: str, cipher: str) -> None:
    rng = random.Random(161)

    def encrypted(key: bytes, text: bytes) -> bytes:
        command = ["openssl", "enc", *OPENSSL[cipher], "-nopad", "-K", key.hex()]
        return subprocess.run(command, input=text, capture_output=True, check=True, timeout=30).stdout

    block = 16 if cipher == "sm4-ecb" else 8
    for _ in range(5):
        zone, key = rng.randbytes(key_length(mac)), rng.randbytes(key_length(mac))
        assert check_value(mac, key) == encrypted(key, bytes(block)).hex().upper()[:16]
        assert wrap(cipher, zone, key) == encrypted(zone, key) and unwrap(cipher, zone, encrypted(zone, key)) == key


def test_gmssl_finds_the_same_check_value() -> None:
    gmssl_pyx = pytest.importorskip("gmssl_pyx")
    first = gmssl_pyx.sm4_ctr_encrypt(KEY, bytes(16), bytes(16))  # the key stream's first block is a block of zeros encrypted
    assert check_value("sm4-ecb", KEY) == first.hex().upper()[:16]


@pytest.mark.parametrize("mac", sorted(ALGORITHMS))
def test_each_algorithm_has_a_length_and_a_check_value(mac: str) -> None:
    assert len(check_value(mac, bytes(range(key_length(mac))))) == 16


@pytest.mark.parametrize(
    ("cipher", "zone", "text"), [("sm4-ecb", 8, 16), ("sm4-ecb", 16, 8), ("3des-ecb", 8, 16), ("des-ecb", 16, 8), ("des-ecb", 8, 0)]
)
def test_other_lengths_are_refused_in_words_without_the_key(cipher: str, zone: int, text: int) -> None:
    with pytest.raises(ValueError, match="bytes, not") as refused:
        unwrap(cipher, b"\xab" * zone, b"\xcd" * text)
    assert "abab" not in str(refused.value)


def test_a_new_key_is_found_where_the_table_says() -> None:
    text = "AB" * 16 + "12ab34"
    assert new_key(shipped(), Message("0800", {48: "KEY=" + text})) == (b"\xab" * 16, "12AB34")
    packed = dialect(document(key={"field": 96, "check": 4}, fields={**fields(), "96": "b18"}))
    assert new_key(packed, Message("0800", {96: "AB" * 16 + "12AB"})) == (b"\xab" * 16, "12AB")


@pytest.mark.parametrize(
    "text",
    ["", "KEY=", "KEY=AB", "KEY=" + "AB" * 16, "KEY=" + "AB" * 16 + "12345", "KEY=" + "XY" * 16 + "123456", "AB" * 16 + "123456"],
)
def test_what_is_no_new_key_is_refused(text: str) -> None:
    with pytest.raises(BadMessage):
        new_key(shipped(), Message("0800", {48: text}))


def fields() -> dict[str, object]:
    found = document()["fields"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"key": {"field": 7}}, "no field of letters or bytes"), ({"key": {"field": 41}}, "no room"),
        ({"key": {"field": 48, "wrapped": "rot13"}}, "wrapped must be one of"), ({"key": {"field": 48, "check": 17}}, "0 to 16"),
        ({"key": {"field": 48, "sealed_by": "none"}}, "sealed_by must be one of"),
        ({"key": {"field": 96, "prefix": "K"}, "fields": {**fields(), "96": "b24"}}, "no prefix"),
        ({"mac": {"algorithm": "des-ecb"}, "key": {"field": 48, "wrapped": "sm4-ecb"}}, "multiples of 16 bytes"),
    ],
)  # fmt: skip
def test_a_table_that_contradicts_itself_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(ProfileError, match=says):
        dialect(document(**change))


def test_a_code_for_new_keys_needs_their_form() -> None:
    found = document()
    del found["key"]
    with pytest.raises(ProfileError, match="needs a table"):
        dialect(found)
    network = found["network"]
    assert isinstance(network, dict)
    del network["key_exchange"]
    assert dialect(found).key is None, "a table from before"
