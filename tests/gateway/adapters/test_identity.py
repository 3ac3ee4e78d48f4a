"""The gateway's own key: made once, kept to its owner, changed without losing what it signed."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.adapters.identity import IN_USE, RETIRED, IdentityError, identity_of, rotate
from protocols.uplink.signing import open_signed, public_key

RECEIPT = '{"amount":"50.00","holder":"张**","serial":"S-1"}'


def test_it_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    first = identity_of(tmp_path)
    again = identity_of(tmp_path)
    assert (first.kid, first.x) == (again.kid, again.x) and first.seal(RECEIPT) == again.seal(RECEIPT)
    assert stat.S_IMODE((tmp_path / IN_USE).stat().st_mode) == 0o600
    assert not [path for path in tmp_path.iterdir() if path.name != IN_USE]
    assert identity_of(tmp_path).published() == [
        {"kty": "OKP", "crv": "Ed25519", "kid": first.kid, "x": first.x, "use": "sig", "alg": "EdDSA"}
    ]


def test_the_id_is_the_thumbprint_of_rfc_8037(tmp_path: Path) -> None:
    """The key of RFC 8037 A.1, whose thumbprint stands in A.3."""
    identity_of(tmp_path, lambda: base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="))
    assert identity_of(tmp_path).x == "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    assert identity_of(tmp_path).kid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_seal_is_a_jws_over_the_very_text(tmp_path: Path) -> None:
    identity = identity_of(tmp_path)
    found = open_signed(identity.seal(RECEIPT).encode(), lambda kid: public_key(identity.x) if kid == identity.kid else None)
    assert (found.kid, found.payload.decode()) == (identity.kid, RECEIPT)


def test_a_new_key_leaves_the_one_before_published(tmp_path: Path) -> None:
    first = identity_of(tmp_path)
    second = rotate(tmp_path)
    third = rotate(tmp_path)
    assert len({first.kid, second.kid, third.kid}) == 3
    assert [key["kid"] for key in identity_of(tmp_path).published()] == [third.kid, second.kid, first.kid]
    assert all(set(key) == {"kty", "crv", "kid", "x", "use", "alg"} for key in third.published())
    sealed = first.seal(RECEIPT).rpartition(".")
    old = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(third.published()[2]["x"] + "="))
    old.verify(base64.urlsafe_b64decode(sealed[2] + "=="), sealed[0].encode())


def test_a_start_between_the_two_files_of_a_change_finds_one_key(tmp_path: Path) -> None:
    before = identity_of(tmp_path)
    (tmp_path / RETIRED).write_text(json.dumps({"keys": before.published()}))
    assert [key["kid"] for key in identity_of(tmp_path).published()] == [before.kid]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no private Ed25519 key as JWK"),
        ("[]", "is no private Ed25519 key as JWK"),
        ('{"d": "AAAA"}', "is no private Ed25519 key as JWK"),
        ('{"d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A", "x": "AAAA"}', "its x is not the public half of its d"),
    ],
)
def test_a_file_that_is_no_key_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / IN_USE
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match=sentence):
        identity_of(tmp_path)


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    identity_of(tmp_path)
    (tmp_path / IN_USE).chmod(0o640)
    with pytest.raises(IdentityError, match="chmod 600"):
        identity_of(tmp_path)


def test_retired_keys_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    identity_of(tmp_path)
    (tmp_path / RETIRED).write_text('{"keys": [{"x": "AAAA"}]}')
    with pytest.raises(IdentityError, match="no set of public Ed25519 keys"):
        identity_of(tmp_path)
