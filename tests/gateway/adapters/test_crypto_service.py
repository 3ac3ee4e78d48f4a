"""The crypto service over HTTP: the three questions, what it may not answer, and a meter's money through it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime

import pytest
import structlog

from gateway.adapters import crypto_service
from gateway.adapters.clock import Clock
from gateway.adapters.crypto_service import CryptoError, CryptoService
from gateway.adapters.lines.driver import Driver
from protocols.dlt645.master import Action, Authenticate, OpenAccount, OrderedMoney, Purchase, QueryWallet, Refund, TopUp, Wallet
from protocols.dlt645.master_control import SealedControl, order_bytes
from protocols.dlt645.security import Identity, IdentityQuestion, SealQuestion
from protocols.errors import Refused
from tests.gateway.adapters.crypto_peer import Peer, crypto_peer
from tests.simulation.virtual_street import VirtualStreet

METER, CUSTOMER = "202611210001", "000000000007"
FACTOR = bytes.fromhex("0000202611210001")
QUESTION = SealQuestion(METER, FACTOR, b"\1\2\3\4", "070102FF", b"plain")


@pytest.fixture
def peer() -> Iterator[Peer]:
    with crypto_peer() as made:
        yield made


@pytest.fixture
async def service(peer: Peer) -> AsyncIterator[CryptoService]:
    async with CryptoService(peer.url, "a token") as made:
        yield made


async def test_the_three_questions_get_the_modules_answers(peer: Peer, service: CryptoService) -> None:
    identity = await service.identify(IdentityQuestion(METER, FACTOR))
    assert isinstance(identity, Identity) and peer.module.challenge(METER, identity) is not None
    assert peer.module.accepts(QUESTION, await service.mac(QUESTION))
    assert peer.module.open(QUESTION, await service.seal(QUESTION)) == b"plain"
    assert [path for path, _ in peer.asked] == ["/crypto", "/crypto/identify", "/crypto/mac", "/crypto/seal"]
    assert peer.tokens == {"Bearer a token"}


async def test_every_log_line_shows_who_made_the_bytes_and_none_of_them(peer: Peer) -> None:
    with structlog.testing.capture_logs() as logged:
        async with CryptoService(peer.url) as service:
            assert "TEST" in service.label
            mac = await service.mac(QUESTION)
            peer.answer = lambda path, body: (500, b"")
            with pytest.raises(CryptoError):
                await service.mac(QUESTION)
    assert [line["event"] for line in logged] == ["crypto_service", "crypto_asked", "crypto_failed"]
    assert all("TEST security module" in line["module"] for line in logged)
    assert mac.hex() not in json.dumps(logged) and b"plain".hex() not in json.dumps(logged)


@pytest.mark.parametrize(
    ("status", "content", "said"),
    [
        (403, b'{"detail": "the key is locked"}', "said no (403): the key is locked"),
        (500, b"<html>", "said no (500)"),
        (200, b"[1]", "did not answer with a JSON object"),
        (200, b"[" * 5000, "did not answer with a JSON object"),
        (200, b"{}", "gave no right mac: it is 4 bytes of hex"),
        (200, b'{"mac": "zz"}', "gave no right mac"),
        (200, b'{"mac": 12345678}', "gave no right mac"),
        (200, b'{"mac": "0102030405"}', "gave no right mac"),
        (200, b" " * 100_000, "more than 8192 bytes"),
    ],
)
async def test_a_wrong_answer_is_one_sentence(peer: Peer, service: CryptoService, status: int, content: bytes, said: str) -> None:
    peer.answer = lambda path, body: (status, content)
    with pytest.raises(CryptoError, match=r"^TEST security module") as error:
        await service.mac(QUESTION)
    assert said in str(error.value) and "\n" not in str(error.value)


async def test_an_identity_of_another_factor_is_not_taken(peer: Peer, service: CryptoService) -> None:
    other = {"cipher": "00" * 8, "random": "00" * 8, "factor": "11" * 8}
    peer.answer = lambda path, body: (200, json.dumps(other).encode())
    with pytest.raises(CryptoError, match="another factor"):
        await service.identify(IdentityQuestion(METER, FACTOR))
    peer.answer = lambda path, body: (200, json.dumps({"cipher": "00" * 241, "mac": "00" * 4}).encode())
    with pytest.raises(CryptoError, match="1 to 240 bytes"):
        await service.seal(QUESTION)


async def test_who_does_not_say_what_he_is_or_does_not_answer(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.answer = lambda path, body: (200, b'{"label": " "}')
    with pytest.raises(CryptoError, match="does not say what it is"):
        await CryptoService(peer.url).__aenter__()
    monkeypatch.setattr(crypto_service, "ANSWER_WITHIN_S", 0.05)
    peer.answer = lambda path, body: (200, b" ") if not peer.closing.wait(1) else (200, b"")
    with pytest.raises(CryptoError, match=r"did not answer within 0\.05 s"):
        await CryptoService(peer.url).__aenter__()
    peer.closing.set()
    url = peer.url
    peer.shutdown()
    peer.server_close()
    with pytest.raises(CryptoError, match="cannot be asked"):
        await CryptoService(url).__aenter__()


class Till:
    """Money for one simulated meter whose MACs the service makes."""

    def __init__(self, service: CryptoService, driver: Driver) -> None:
        self._service, self._driver, self._challenge = service, driver, b""

    async def authenticate(self) -> None:
        identity = await self._service.identify(IdentityQuestion(METER, FACTOR))
        answer = await self._driver.run(Authenticate(METER, identity.cipher, identity.random, identity.factor))
        self._challenge = answer.value.random

    async def wallet(self) -> Wallet:
        return (await self._driver.run(QueryWallet(METER))).value

    async def pay(self, form: type[OpenAccount] | type[TopUp], purpose: str, fen: int, count: int) -> None:
        plain = Purchase(fen, count, CUSTOMER)
        first, second = [await self._service.mac(self._question(purpose, part)) for part in plain.signed]
        await self._driver.run(form(METER, Purchase(fen, count, CUSTOMER, (first, second))))

    async def cut(self) -> None:
        sealed = await self._service.seal(self._question("1C", order_bytes(Action.CUT, datetime(2099, 1, 1))))
        await self._driver.run(SealedControl(METER, sealed.cipher + sealed.mac))

    def _question(self, purpose: str, plain: bytes) -> SealQuestion:
        return SealQuestion(METER, FACTOR, self._challenge, purpose, plain)


async def test_a_meters_money_and_its_switch_through_the_service(service: CryptoService) -> None:
    meter = {"id": "m", "line": "bus", "address": METER, "model": "dlt645-single", "firmware": "private", "tail_ms": 0}
    meter["wallet"] = {"prices": ["0.5"]}
    line = {"id": "bus", "kind": "tcp", "baud": 19200}
    street = VirtualStreet({"line": [line], "meter": [meter | {"delay_ms": [20, 25]}]})
    driver = Driver(street.lines["bus"], baud=19200, clock=Clock())
    assert await driver.ensure_open() is None
    till = Till(service, driver)
    with pytest.raises(Refused, match="authentication"):
        await till.pay(OpenAccount, "070101FF", 5000, 1)
    await till.authenticate()
    await till.pay(OpenAccount, "070101FF", 5000, 1)
    await till.pay(TopUp, "070102FF", 2000, 2)
    with pytest.raises(Refused, match="repeated"):
        await till.pay(TopUp, "070102FF", 2000, 2)
    with pytest.raises(Refused, match="ESAM"):
        await till.pay(TopUp, "070101FF", 2000, 3)
    told = await till.wallet()
    assert (told.balance_fen, told.purchase_count, told.customer) == (7000, 2, CUSTOMER)
    await driver.run(Refund(METER, OrderedMoney(1500, "2026112100000001", METER)))
    assert (await till.wallet()).balance_fen == 5500
    await till.cut()
    assert not street.station("m").meter.relay.order_closed
    await driver.close()
