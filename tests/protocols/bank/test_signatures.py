"""Signed requests of banks: what is taken, and everything that is not (RFC 9421, RFC 9530, contract.md 3)."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import HTTPMessageVerifier, MappingKeyResolver
from http_message_signatures.algorithms import ED25519
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.sm2 import sm2_check
from protocols.bank.signatures import (
    _ALGORITHMS,
    AHEAD_S,
    LIFE_S,
    MOST_NONCE,
    Algorithm,
    BadSignature,
    BankKey,
    Checked,
    Fields,
    Request,
    SignatureExpired,
    _Resolver,
    _usual,
    check_request,
    digest_of,
    sign_request,
    sign_response,
)

NOW_S = 1_795_233_600
URL = "https://pay.example.org/bank/v1/topups"
BODY = b'{"serial": "S-1", "amount": "50.00"}'
KEY, OTHER = (Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2))
SECRET = bytes(range(32))
KEYS = {
    "bank-1": BankKey("bank-1", Algorithm.ED25519, KEY.public_key()),
    "bank-2": BankKey("bank-2", Algorithm.ED25519, OTHER.public_key()),
    "shared": BankKey("shared", Algorithm.HMAC_SHA256, SECRET),
}


@dataclass(frozen=True)
class Sent:
    """A request on its way; what a test changes of it was not signed."""

    method: str = "POST"
    url: str = URL
    body: bytes = BODY
    headers: dict[str, str] = field(default_factory=dict)

    def check(self, now_s: int = NOW_S) -> Checked:
        lines = [("content-type", "application/json"), *self.headers.items()]
        return check_request(Request(self.method, self.url, Fields(lines)), self.body, KEYS.get, now_s)

    def header(self, name: str, value: str) -> Sent:
        return replace(self, headers={**self.headers, name: value})

    def without(self, name: str) -> Sent:
        return replace(self, headers={key: value for key, value in self.headers.items() if key != name})

    def said(self, old: str, new: str, name: str = "signature-input") -> Sent:
        assert self.headers[name].count(old) == 1, self.headers[name]
        return self.header(name, self.headers[name].replace(old, new))


def signed(
    method: str = "POST",
    url: str = URL,
    body: bytes | None = BODY,
    kid: str = "bank-1",
    key: Ed25519PrivateKey | bytes = KEY,
    created_s: int = NOW_S,
    life_s: int = LIFE_S,
    nonce: str = "nonce-1",
    digest: str = "sha-256",
) -> Sent:
    headers = sign_request(method, url, body, kid, key, created_s=created_s, nonce=nonce, life_s=life_s, digest=digest)
    return Sent(method, url, body or b"", headers)


@pytest.mark.parametrize(("kid", "key"), [("bank-1", KEY), ("shared", SECRET)])
@pytest.mark.parametrize("digest", ["sha-256", "sha-512"])
def test_a_signed_request_says_who_and_when(kid: str, key: Ed25519PrivateKey | bytes, digest: str) -> None:
    assert signed(kid=kid, key=key, digest=digest).check() == Checked(kid, "nonce-1", NOW_S, NOW_S + LIFE_S)


def test_a_query_is_signed_without_a_digest() -> None:
    url = f"{URL}/S-1?institution=WX"
    asked = signed("GET", url, None)
    assert "content-digest" not in asked.headers and asked.check().kid == "bank-1"
    with pytest.raises(BadSignature, match="does not fit"):
        replace(asked, url=url.replace("WX", "AL")).check()
    with pytest.raises(BadSignature, match="does not cover content-digest"):
        replace(asked, body=b"{}").check()
    with pytest.raises(BadSignature, match="does not cover content-digest"):
        asked.header("content-digest", digest_of(b"")).check()


def _resigned(sent: Sent, key: Ed25519PrivateKey, *components: str) -> Sent:
    """Signed over these components alone, as somebody could who has the key and means less."""
    stated = f"({' '.join(components)})" + sent.headers["signature-input"].partition(")")[2]
    values = {'"@method"': sent.method, '"@target-uri"': sent.url, '"content-digest"': sent.headers["content-digest"]}
    lines = [f"{name}: {values[name]}" for name in components] + [f'"@signature-params": {stated}']
    signature = base64.b64encode(key.sign("\n".join(lines).encode())).decode()
    return sent.header("signature-input", f"bank={stated}").header("signature", f"bank=:{signature}:")


METHOD, TARGET, DIGEST = '"@method"', '"@target-uri"', '"content-digest"'


def _flipped(sent: Sent) -> Sent:
    raw = bytearray(base64.b64decode(sent.headers["signature"].partition(":")[2].rstrip(":")))
    raw[10] ^= 1
    return sent.header("signature", f"bank=:{base64.b64encode(raw).decode()}:")


MUTATIONS: dict[str, Callable[[Sent], Sent]] = {
    "the body is another": lambda sent: replace(sent, body=BODY.replace(b"50", b"90")),
    "the body is longer by a blank": lambda sent: replace(sent, body=BODY + b" "),
    "the body is gone": lambda sent: replace(sent, body=b""),
    "body and digest are another": lambda sent: replace(sent, body=b"{}").header("content-digest", digest_of(b"{}")),
    "the digest is gone": lambda sent: sent.without("content-digest"),
    "a second digest that is wrong": lambda sent: sent.header(
        "content-digest", sent.headers["content-digest"] + f", {digest_of(b'', 'sha-512')}"
    ),
    "the digest is by a weak hash": lambda sent: sent.header("content-digest", "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:"),
    "the method is another": lambda sent: replace(sent, method="PUT"),
    "the path is another": lambda sent: replace(sent, url=URL.replace("topups", "refunds")),
    "a query was added": lambda sent: replace(sent, url=URL + "?close=true"),
    "the host is another": lambda sent: replace(sent, url=URL.replace("pay.", "evil.")),
    "the scheme is another": lambda sent: replace(sent, url=URL.replace("https", "http")),
    "the signature has a flipped bit": _flipped,
    "the signature is empty": lambda sent: sent.header("signature", "bank=::"),
    "the signature is a word": lambda sent: sent.header("signature", "bank=signed"),
    "the signature is gone": lambda sent: sent.without("signature"),
    "what was signed is gone": lambda sent: sent.without("signature-input"),
    "another key is named": lambda sent: sent.said("bank-1", "bank-2"),
    "a key that nobody knows": lambda sent: sent.said("bank-1", "bank-9"),
    "another bank's key signed in the name of this": lambda sent: replace(sent, headers=signed(key=OTHER).headers),
    "the public key as an HMAC's secret": lambda sent: replace(
        sent, headers=signed(key=KEY.public_key().public_bytes_raw()).headers
    ),
    "another algorithm is named": lambda sent: sent.said('alg="ed25519"', 'alg="hmac-sha256"'),
    "the nonce is another": lambda sent: sent.said("nonce-1", "nonce-2"),
    "created is later": lambda sent: sent.said(f"created={NOW_S}", f"created={NOW_S + 1}"),
    "expires is later": lambda sent: sent.said(f"expires={NOW_S + LIFE_S}", f"expires={NOW_S + LIFE_S - 1}"),
    "no nonce": lambda sent: sent.said(';nonce="nonce-1"', ""),
    "no created": lambda sent: sent.said(f";created={NOW_S}", ""),
    "no expires": lambda sent: sent.said(f";expires={NOW_S + LIFE_S}", ""),
    "no keyid": lambda sent: sent.said(';keyid="bank-1"', ""),
    "keyid twice": lambda sent: sent.said(';keyid="bank-1"', ';keyid="bank-1";keyid="bank-2"'),
    "a parameter that nobody knows": lambda sent: sent.said(";nonce", ";trust=1;nonce"),
    "components in another order": lambda sent: sent.said('"@method" "@target-uri"', '"@target-uri" "@method"'),
    "a component less, in words": lambda sent: sent.said(' "content-digest"', ""),
    "another label": lambda sent: sent.said("bank=", "proxy="),
    "two signatures": lambda sent: sent.header(
        "signature-input", f"{sent.headers['signature-input']}, {sent.headers['signature-input'].replace('bank=', 'b=')}"
    ),
    "signed without the method": lambda sent: _resigned(sent, KEY, TARGET, DIGEST),
    "signed without the target": lambda sent: _resigned(sent, KEY, METHOD, DIGEST),
    "signed without the digest": lambda sent: _resigned(sent, KEY, METHOD, TARGET),
    "signed over nothing": lambda sent: _resigned(sent, KEY),
    "a header without end": lambda sent: sent.said(";nonce", f';tag="{"x" * 3000}";nonce'),
    "no text": lambda sent: sent.header("signature-input", "\x00\xff"),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_whatever_is_changed_is_refused(name: str) -> None:
    assert signed().check().kid == "bank-1", "as it was sent it is good"
    with pytest.raises(BadSignature) as refused:
        MUTATIONS[name](signed()).check()
    assert not isinstance(refused.value, SignatureExpired)
    assert str(refused.value).isprintable() and len(str(refused.value)) < 400


def test_signed_with_fewer_components_is_a_good_signature_over_too_little() -> None:
    assert _resigned(signed(), KEY, METHOD, TARGET, DIGEST).check().kid == "bank-1"
    with pytest.raises(BadSignature, match="does not cover @method"):
        MUTATIONS["signed without the method"](signed()).check()


@pytest.mark.parametrize(
    ("created_s", "life_s", "now_s", "refused"),
    [
        (NOW_S, 300, NOW_S + 300, None),
        (NOW_S, 300, NOW_S + 301, SignatureExpired),
        (NOW_S, 1, NOW_S + 2, SignatureExpired),
        (NOW_S, 301, NOW_S, BadSignature),
        (NOW_S, 0, NOW_S, BadSignature),
        (NOW_S, -10, NOW_S, BadSignature),
        (NOW_S + AHEAD_S, 300, NOW_S, None),
        (NOW_S + AHEAD_S + 1, 300, NOW_S, BadSignature),
        (NOW_S, 300, NOW_S - 400 * 86_400, BadSignature),
        (NOW_S, 300, NOW_S + 400 * 86_400, SignatureExpired),
    ],
)
def test_a_signature_has_its_time(created_s: int, life_s: int, now_s: int, refused: type[BadSignature] | None) -> None:
    sent = signed(created_s=created_s, life_s=life_s)
    if refused is None:
        assert sent.check(now_s).created_s == created_s
        return
    with pytest.raises(BadSignature) as found:
        sent.check(now_s)
    assert type(found.value) is refused


@pytest.mark.parametrize("nonce", ["", "n" * (MOST_NONCE + 1)])
def test_a_nonce_has_a_length(nonce: str) -> None:
    with pytest.raises(BadSignature, match="a nonce has"):
        signed(nonce=nonce).check()


def test_sm2_signs_too() -> None:
    gmssl_pyx = pytest.importorskip("gmssl_pyx")
    public, private = gmssl_pyx.sm2_key_generate()
    sent = _resigned(signed(kid="sm2"), KEY, METHOD, TARGET, DIGEST).said(';alg="ed25519"', ';alg="sm2-sm3"')
    stated = sent.headers["signature-input"].removeprefix("bank=")
    digest = sent.headers["content-digest"]
    base = f'{METHOD}: POST\n{TARGET}: {URL}\n{DIGEST}: {digest}\n"@signature-params": {stated}'.encode()
    signature = base64.b64encode(gmssl_pyx.sm2_sign(private, public, base)).decode()
    sent = sent.header("signature", f"bank=:{signature}:")
    key = BankKey("sm2", Algorithm.SM2_SM3, sm2_check("04" + public.hex()))

    def check(body: bytes, signature: str = sent.headers["signature"]) -> Checked:
        lines = [*sent.header("signature", signature).headers.items()]
        return check_request(Request("POST", URL, Fields(lines)), body, {"sm2": key}.get, NOW_S)

    assert check(BODY).kid == "sm2"
    for body, wrong in ((b"{}", sent.headers["signature"]), (BODY, "bank=:AAAA:"), (BODY, _flipped(sent).headers["signature"])):
        with pytest.raises(BadSignature):
            check(body, wrong)


ED25519_OF_THE_RFC = "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"


@pytest.mark.parametrize(("date", "reason"), [("20", "does not cover @target-uri"), ("21", "does not fit")])
def test_the_example_of_the_rfc(date: str, reason: str) -> None:
    """RFC 9421 B.2.6: its signature is good, and covers less than we want; with another date it is not good."""
    lines = [
        ("date", f"Tue, {date} Apr 2021 02:07:55 GMT"),
        ("content-type", "application/json"),
        ("content-digest", "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:"),
        ("content-length", "18"),
        (
            "signature-input",
            'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
            ';created=1618884473;keyid="test-key-ed25519"',
        ),
        ("signature", "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"),
    ]
    public = Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(ED25519_OF_THE_RFC + "="))
    key = BankKey("test-key-ed25519", Algorithm.ED25519, public)
    request = Request("POST", "https://example.com/foo?param=Value&Pet=dog", Fields(lines))
    with pytest.raises(BadSignature, match=reason):
        check_request(request, b'{"hello": "world"}', lambda kid: key, 1_618_884_473)


@given(
    stated=st.text(st.characters(max_codepoint=255), max_size=80),
    signature=st.text(st.characters(max_codepoint=255), max_size=40),
    url=st.text(st.characters(max_codepoint=255), max_size=20),
)
def test_any_words_are_refused_in_a_sentence(stated: str, signature: str, url: str) -> None:
    for said in (stated, f'bank=("@method" "@target-uri"){stated};keyid="bank-1"'):
        lines = [("signature-input", said), ("signature", signature)]
        with pytest.raises(BadSignature):
            check_request(Request("GET", f"https://pay.example.org/{url}", Fields(lines)), b"", KEYS.get, NOW_S)


EDITS = st.lists(
    st.tuples(st.sampled_from(["signature-input", "signature", "content-digest"]), st.integers(0, 200), st.text(max_size=3))
)


@given(edits=EDITS, cut=st.booleans(), body=st.sampled_from([BODY, b"", None]), key=st.sampled_from([KEY, SECRET]))
def test_the_short_way_takes_nothing_that_the_library_refuses(
    edits: list[tuple[str, int, str]], cut: bool, body: bytes | None, key: Ed25519PrivateKey | bytes
) -> None:
    sent = signed("GET" if body is None else "POST", URL, body, kid="shared" if key is SECRET else "bank-1", key=key)
    for name, place, text in edits:
        value = sent.headers.get(name, "")
        place %= len(value) + 1
        sent = sent.header(name, value[:place] + text + value[place + cut :])
    known = KEYS["shared" if key is SECRET else "bank-1"]
    request = Request(sent.method, sent.url, Fields([*sent.headers.items()]))
    try:
        short = _usual(request, sent.headers["signature-input"], sent.headers["signature"], sent.body, known)
    except BadSignature:
        return
    if not edits:
        assert short is not None, "the usual form goes the short way"
    if short is not None:
        verifier = _AnyTime(signature_algorithm=_ALGORITHMS[known.algorithm], key_resolver=_Resolver(known.kid, public=known.key))
        assert verifier.verify(request, body=sent.body, max_age=None)[0].parameters == short


def _answer(lines: list[tuple[str, str]], asked: Sent, status: int = 200) -> object:
    class Answer:
        status_code = status
        headers = Fields([("content-type", "application/json"), *lines])
        request = Request(asked.method, asked.url, Fields([*asked.headers.items()]))

    return Answer()


class _AnyTime(HTTPMessageVerifier):
    def validate_created_and_expires(self, sig_input: object, max_age: object = None) -> None:
        return


def test_an_answer_is_signed_and_bound_to_its_request() -> None:
    asked, body = signed(), b'{"payment": "posted"}'
    request = Request(asked.method, asked.url, Fields([*asked.headers.items()]))
    lines = sign_response(200, "application/json", body, request, "gw", KEY, NOW_S)
    resolver = MappingKeyResolver(public_keys={"gw": KEY.public_key()}, private_keys={})
    verifier = _AnyTime(signature_algorithm=ED25519, key_resolver=resolver)
    found = verifier.verify(_answer(lines, asked), body=body)[0]
    assert found.parameters == {"created": NOW_S, "keyid": "gw", "alg": "ed25519"}
    assert {'"@status"', '"content-digest"', '"signature";req', '"@target-uri";req'} <= set(found.covered_components)
    for wrong in (_answer(lines, asked, 409), _answer(lines, signed(nonce="another"))):
        with pytest.raises(Exception, match=r"^$"):
            verifier.verify(wrong, body=body)
    with pytest.raises(Exception, match="does not match the message body"):
        verifier.verify(_answer(lines, asked), body=b"{}")


def test_when_answers_are_signed_is_told_in_whole_seconds() -> None:
    assert datetime.fromtimestamp(NOW_S, UTC).isoformat() == "2026-11-21T04:00:00+00:00"
