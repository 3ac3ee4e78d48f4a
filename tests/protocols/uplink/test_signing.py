"""Signatures: ours and RFC 8037's open, every other spelling of a token does not."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import OctKey, OKPKey

from protocols.uplink import signing
from protocols.uplink.messages import BadMessage
from protocols.uplink.signing import TOKEN_LIMIT, BadSignature, open_signed, private_key, public_key, sign, x_of

RFC8037_D, RFC8037_X = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
"""The key of RFC 8037, appendix A.1."""
KEY = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "d": RFC8037_D, "x": RFC8037_X})
OTHER = OKPKey.generate_key("Ed25519", {"use": "sig"})
PAYLOAD = b'{"id":"c1"}'


def key_of(kid: str) -> OKPKey | None:
    return public_key(RFC8037_X) if kid == "centre-1" else None


def b64(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")


def by_hand(header: bytes, payload: bytes = PAYLOAD, key: OKPKey = KEY) -> bytes:
    """A token with any header, signed well."""
    signing = b64(header) + b"." + b64(payload)
    return signing + b"." + b64(jws.JWSRegistry.algorithms["EdDSA"].sign(signing, key))


def refused(token: bytes) -> str:
    with pytest.raises(BadSignature) as said:
        open_signed(token, key_of)
    assert "\n" not in str(said.value)
    return str(said.value)


def test_the_signature_of_rfc_8037_is_good() -> None:
    """Appendix A.4: the same key and payload give that very signature."""
    rfc = (
        b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt"
        b"9g7sVvpAr_MuM0KAg"
    )
    assert by_hand(b'{"alg":"EdDSA"}', b"Example of Ed25519 signing") == rfc
    assert "names no key" in refused(rfc)


def test_what_is_signed_opens() -> None:
    opened = open_signed(sign(PAYLOAD, "centre-1", KEY), key_of)
    assert (opened.kid, opened.payload) == ("centre-1", PAYLOAD)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519"])
def test_another_librarys_token_opens_under_both_names(alg: str) -> None:
    token = jws.serialize_compact({"typ": "JOSE", "alg": alg, "kid": "centre-1"}, PAYLOAD, KEY, algorithms=[alg]).encode()
    assert open_signed(token, key_of).payload == PAYLOAD
    assert jws.deserialize_compact(sign(PAYLOAD, "centre-1", KEY), KEY, algorithms=["EdDSA"]).payload == PAYLOAD


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ({"alg": "none", "kid": "centre-1"}, "algorithm 'none'"),
        ({"alg": "eddsa", "kid": "centre-1"}, "algorithm 'eddsa'"),
        ({"alg": "EDDSA", "kid": "centre-1"}, "algorithm 'EDDSA'"),
        ({"alg": "HS256", "kid": "centre-1"}, "algorithm 'HS256'"),
        ({"alg": "Ed448", "kid": "centre-1"}, "algorithm 'Ed448'"),
        ({"alg": ["EdDSA"], "kid": "centre-1"}, "algorithm"),
        ({"kid": "centre-1"}, "algorithm 'None'"),
        ({"alg": "EdDSA"}, "names no key"),
        ({"alg": "EdDSA", "kid": 1}, "names no key"),
        ({"alg": "EdDSA", "kid": "centre-1\n"}, "names no key"),
        ({"alg": "EdDSA", "kid": "centre-2"}, "not known"),
        ({"alg": "EdDSA", "kid": "centre-1", "typ": 1}, "typ"),
        *(
            ({"alg": "EdDSA", "kid": "centre-1", name: ["x"]}, f"'{name}'")
            for name in ("crit", "jku", "jwk", "x5c", "x5u", "b64", "KID")
        ),
    ],
)
def test_a_well_signed_token_with_another_header_is_refused(header: dict[str, Any], why: str) -> None:
    assert why in refused(by_hand(json.dumps(header).encode()))


@pytest.mark.parametrize(
    "header",
    [
        b'{"alg":"EdDSA","alg":"EdDSA","kid":"centre-1"}',
        b"[]",
        b"",
        b"{",
        b"\xff",
        b'{"alg":"EdDSA","kid":"centre-1"}' + b" " * 500,
    ],
)
def test_a_header_that_is_no_plain_object_is_refused(header: bytes) -> None:
    assert "header" in refused(by_hand(header))


def test_the_public_key_is_no_secret_of_hs256() -> None:
    secret = OctKey.import_key(urlsafe_b64decode(RFC8037_X + "="))
    token = jws.serialize_compact({"alg": "HS256", "kid": "centre-1"}, PAYLOAD, secret).encode()
    assert "algorithm 'HS256'" in refused(token)


def test_another_keys_signature_is_refused() -> None:
    assert "not that of the key" in refused(sign(PAYLOAD, "centre-1", OTHER))


def test_a_payload_of_another_signature_is_refused() -> None:
    one, two = (sign(payload, "centre-1", KEY).split(b".") for payload in (b"1", b"2"))
    assert "not that of the key" in refused(b".".join((one[0], one[1], two[2])))


@pytest.mark.parametrize("tail", [b"", b".", b".AA"])
def test_a_token_of_two_or_four_parts_is_refused(tail: bytes) -> None:
    head, payload, _ = sign(PAYLOAD, "centre-1", KEY).split(b".")
    refused(head + b"." + payload + tail)
    refused(sign(PAYLOAD, "centre-1", KEY) + b".AA")


def test_a_token_that_is_too_large_is_refused_unread() -> None:
    assert "262144" in refused(b"." * (TOKEN_LIMIT + 1))
    with pytest.raises(BadMessage, match="262144"):
        sign(b"x" * 200_000, "centre-1", KEY)


@given(st.data())
def test_no_other_bytes_open(data: st.DataObject) -> None:
    token = bytearray(sign(PAYLOAD, "centre-1", KEY))
    at = data.draw(st.integers(0, len(token)))
    how = data.draw(st.sampled_from(["set", "put", "drop"]))
    byte = data.draw(st.integers(0, 255))
    changed = bytearray(token)
    if how == "put":
        changed.insert(at, byte)
    elif at < len(token) and how == "set":
        changed[at] = byte
    elif at < len(token):
        del changed[at]
    if changed != token:
        refused(bytes(changed))


def test_a_signature_spelt_with_its_spare_bits_set_is_refused() -> None:
    token = sign(PAYLOAD, "centre-1", KEY)
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = alphabet[alphabet.index(token[-1]) | 1 : (alphabet.index(token[-1]) | 1) + 1]
    assert "spelt" in refused(token[:-1] + spare)


SPELT = st.one_of(
    st.binary(max_size=12).map(b64),
    st.text("AQgwYZ19-_+/= \n.", max_size=9).map(str.encode),
    st.tuples(st.binary(max_size=9).map(b64), st.sampled_from([b"=", b"==", b"A", b"B", b"+", b"/", b" ", b"\n"])).map(b"".join),
)


@settings(max_examples=1000)
@given(SPELT)
def test_bytes_have_one_spelling_and_no_other_is_read(text: bytes) -> None:
    """As the whole of it spelt anew tells, beside the short cut by which it is told."""
    try:
        raw = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
        one = b64(raw) == text
    except ValueError:
        one = False
    if one:
        assert signing._decoded(text, "text") == raw
    else:
        with pytest.raises(BadSignature):
            signing._decoded(text, "text")


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_one_sentence(token: bytes) -> None:
    refused(token)


@pytest.mark.parametrize("x", ["", "AAAA", RFC8037_X + "=", RFC8037_X[:-1] + "p", "é" * 43])
def test_no_public_key_is_made_of_anything_else(x: str) -> None:
    with pytest.raises(BadMessage, match="43 characters"):
        public_key(x)


def test_a_private_key_is_read_from_its_jwk() -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "d": RFC8037_D, "x": RFC8037_X}
    assert x_of(private_key(json.dumps(jwk).encode())) == RFC8037_X
    for wrong in (
        {**jwk, "x": x_of(OTHER)},
        {**jwk, "crv": "Ed448"},
        {"kty": "OKP", "crv": "Ed25519", "x": RFC8037_X},
        {**jwk, "d": "AA"},
    ):
        with pytest.raises(BadMessage):
            private_key(json.dumps(wrong).encode())
