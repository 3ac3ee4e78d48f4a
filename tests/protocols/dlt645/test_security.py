"""The test security module: what it seals only it opens, and every label says TEST."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.dlt645 import master, slave
from protocols.dlt645.security import (
    Identity,
    IdentityQuestion,
    MeterChip,
    Sealed,
    SealQuestion,
    SecurityModule,
    TestSecurityModule,
)
from protocols.errors import RequestError
from protocols.exchange import Done

METER, FACTOR = "201906040102", bytes(range(8))
QUESTION = SealQuestion(METER, FACTOR, b"\1\2\3\4", "070102FF", b"what is to be signed")


def module() -> TestSecurityModule:
    counter = itertools.count(1)
    return TestSecurityModule(lambda length: next(counter).to_bytes(length, "big"))


def changed() -> list[SealQuestion]:
    return [
        replace(QUESTION, meter="201906040103"),
        replace(QUESTION, factor=bytes(8)),
        replace(QUESTION, challenge=bytes(4)),
        replace(QUESTION, purpose="070101FF"),
    ]


def test_the_label_says_test() -> None:
    assert "TEST" in module().label and "TEST" in TestSecurityModule._KEY.decode()
    asking: SecurityModule = module()
    chip: MeterChip = module()
    assert asking.label == chip.label


def test_an_identity_is_believed_at_its_meter_alone() -> None:
    test = module()
    identity = test.identify(IdentityQuestion(METER, FACTOR))
    assert (len(identity.cipher), len(identity.random), identity.factor) == (8, 8, FACTOR)
    assert test.challenge(METER, identity) == b"\0\0\0\2"
    assert test.challenge("201906040103", identity) is None
    for bad in (replace(identity, cipher=bytes(8)), replace(identity, random=bytes(8)), replace(identity, factor=b"1")):
        assert test.challenge(METER, bad) is None
    with pytest.raises(RequestError):
        test.identify(IdentityQuestion(METER, b"short"))


@given(st.binary(max_size=240))
def test_what_is_sealed_is_opened(plain: bytes) -> None:
    question = replace(QUESTION, plain=plain)
    sealed = module().seal(question)
    assert len(sealed.cipher) % 16 == 0 and len(sealed.mac) == 4
    assert module().open(QUESTION, sealed) == plain


def test_what_is_changed_is_not_opened() -> None:
    sealed = module().seal(QUESTION)
    assert plain_is_hidden(sealed)
    for question in changed():
        assert module().open(question, sealed) is None
    assert module().open(QUESTION, replace(sealed, mac=bytes(4))) is None
    assert module().open(QUESTION, replace(sealed, cipher=bytes(len(sealed.cipher)))) is None
    with pytest.raises(RequestError):
        module().seal(replace(QUESTION, plain=bytes(241)))


def plain_is_hidden(sealed: Sealed) -> bool:
    return QUESTION.plain not in sealed.cipher


def test_a_mac_is_right_for_its_question_alone() -> None:
    mac = module().mac(QUESTION)
    assert len(mac) == 4
    assert module().accepts(QUESTION, mac)
    for question in [*changed(), replace(QUESTION, plain=b"")]:
        assert not module().accepts(question, mac)


def test_a_top_up_from_identity_to_acceptance() -> None:
    """The order in which a gateway uses the module, and a meter its chip."""
    ours, chip = module(), module()
    identity = ours.identify(IdentityQuestion(METER, FACTOR))
    authenticate = master.Authenticate(METER, identity.cipher, identity.random, identity.factor)
    (request,) = slave.Slave().feed(authenticate.start())
    assert isinstance(request, slave.SecurityRequest)
    shown = Identity(request.payload[:8], request.payload[8:16], request.payload[16:])
    random = chip.challenge(METER, shown)
    assert random
    step = authenticate.feed(slave.security_answer(METER, request.di, random + bytes(8)))
    assert isinstance(step, Done)

    purchase = master.Purchase(5000, 8, "112233445566")
    first, second = (ours.mac(SealQuestion(METER, FACTOR, step.result.random, "070102FF", part)) for part in purchase.signed)
    top_up = master.TopUp(METER, replace(purchase, macs=(first, second)))
    (request,) = slave.Slave().feed(top_up.start())
    assert isinstance(request, slave.SecurityRequest)
    money, count_mac, customer, customer_mac = (request.payload[a:b] for a, b in ((0, 8), (8, 12), (12, 18), (18, 22)))
    assert chip.accepts(SealQuestion(METER, FACTOR, random, "070102FF", money), count_mac)
    assert chip.accepts(SealQuestion(METER, FACTOR, random, "070102FF", customer), customer_mac)
    assert top_up.feed(slave.security_answer(METER, request.di)) == Done(None)


def test_a_sealed_order_of_supply() -> None:
    order = master.order_bytes(master.Action.CUT, datetime(2026, 11, 21, 10, 15))
    question = SealQuestion(METER, FACTOR, b"\1\2\3\4", "1C", order)
    sealed = module().seal(question)
    (request,) = slave.Slave().feed(master.SealedControl(METER, sealed.cipher + sealed.mac).start())
    assert isinstance(request, slave.SealedControlRequest)
    assert module().open(replace(question, plain=b""), Sealed(request.cipher, request.mac)) == order
