"""The money's proof over real sockets: many senders of one serial, cut connections, changed content, and hostile repeats."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pytest

from gateway.adapters.http import body as body_module
from gateway.adapters.http.server import Listener
from gateway.adapters.store import Store
from gateway.domain import ledger
from gateway.domain.requests import PaymentIdentity
from gateway.domain.units import MICRO
from gateway.services.load_archive import Opening
from protocols.bank.signatures import sign_request
from tests.gateway.adapters.http.paying import BANKS, KEY, PAY, STRANGER, TOPUPS, URL
from tests.gateway.adapters.http.street import Street, account, meter
from tests.gateway.adapters.http.wire import Heard, Wire, request_of

ACCOUNTS = 20
Figure = Callable[[str, object], None]


@dataclass
class Open:
    """A street whose banks' listener is open."""

    street: Street
    listener: Listener

    @property
    def port(self) -> int:
        return self.listener.port

    @property
    def connections(self) -> list[Any]:
        """uvicorn's, as they are open now."""
        return [*self.listener._server.server_state.connections]

    def get(self, path: str, nonce: str) -> bytes:
        """A signed question as bytes."""
        created_s = self.street.now_ms // 1000
        return request_of("GET", path, sign_request("GET", URL + path, None, "north-1", KEY, created_s=created_s, nonce=nonce))

    def payment(self, serial: str) -> PaymentIdentity:
        return PaymentIdentity("north", "", "", serial)

    def credited(self) -> int:
        """All that the accounts hold, micro-units."""
        names = [ledger.customer(f"A-{n}") for n in range(1, ACCOUNTS + 1)]
        return self.street.store.read_now(lambda tx: sum(tx.balance(name, "CNY") for name in names))


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Open]:
    with Store.open(str(folder / "store.sqlite3")) as store:
        street = Street(store, banks=BANKS, data=folder)
        street.settle([meter(n) for n in range(1, ACCOUNTS + 1)], [Opening(account(n), 0) for n in range(1, ACCOUNTS + 1)])
        listener = Listener(street.bank(), "127.0.0.1", 0)
        serving = asyncio.create_task(listener.serve())
        try:
            yield Open(street, listener)
        finally:
            listener.stop()
            await asyncio.wait_for(serving, 60)


def pay(street: Street, paid: dict[str, str], nonce: str, key: object = KEY, ahead_s: int = 0) -> bytes:
    """A signed payment as bytes."""
    sent = json.dumps({**PAY, **paid}).encode()
    created_s = street.now_ms // 1000 + ahead_s
    signed = sign_request("POST", URL + TOPUPS, sent, "north-1", key, created_s=created_s, nonce=nonce)  # type: ignore[arg-type]
    return request_of("POST", TOPUPS, {"content-type": "application/json", **signed}, sent)


@pytest.mark.timeout(1200)
async def test_many_senders_of_each_serial_one_credit(tmp_path: Path, proof_scale: int, figure: Figure) -> None:
    """Each serial by many senders over many connections; three in ten hang up in the middle, one in eight says another amount."""
    serials, senders, connections = (40, 20, 50) if proof_scale == 1 else (1000, 50, 200)
    rng = Random(8)
    async with opened(tmp_path) as place:
        jobs = [(number, sender) for number in range(serials) for sender in range(senders)]
        rng.shuffle(jobs)
        heard: dict[str, list[tuple[str, Heard]]] = {f"S-{number}": [] for number in range(serials)}
        cut = 0

        async def work(wire: Wire) -> None:
            nonlocal cut
            while jobs:
                number, sender = jobs.pop()
                serial, amount = f"S-{number}", "10.00" if rng.random() < 7 / 8 else "11.00"
                paid = {"serial": serial, "account": f"A-{1 + number % ACCOUNTS}", "amount": amount}
                request = pay(place.street, paid, f"{serial}-{sender}")
                if rng.random() < 0.3:
                    cut += 1
                    await wire.ask_and_hang_up(request, rng.choice([0, 1, 20, 300]))
                else:
                    heard[serial].append((amount, await wire.ask(request)))

        wires = [Wire(place.port) for _ in range(connections)]
        await asyncio.gather(*map(work, wires))
        await place.street.store.write(lambda tx: None)  # what was sent before a cut is posted by now
        stored = place.street.store.read_now(lambda tx: {serial: tx.payment(place.payment(serial)) for serial in heard})
        for wire in wires:
            wire.cut()
        assert place.credited() == sum(payment.amount_micro for payment in stored.values() if payment is not None)
    assert all(payment is not None and payment.status == "posted" for payment in stored.values())
    statuses: Counter[int] = Counter()
    for serial, answers in heard.items():
        payment = stored[serial]
        assert payment is not None and payment.receipt is not None
        same = [answer for amount, answer in answers if amount == f"{payment.amount_micro // MICRO}.00"]
        other = [answer for amount, answer in answers if amount != f"{payment.amount_micro // MICRO}.00"]
        assert len({answer.body for answer in same}) <= 1, "replays are byte for byte the same"
        assert all(payment.receipt.encode() in answer.body and answer.status in (200, 201) for answer in same)
        assert sum(answer.status == 201 for answer in same) <= 1
        assert {(answer.status, json.loads(answer.body)["code"]) for answer in other} <= {(409, "serial_conflict")}
        statuses.update(answer.status for _, answer in answers)
    assert statuses.keys() == {200, 201, 409} and cut > serials * senders / 5
    figure("serials, each credited once", serials)
    figure("requests of them", serials * senders)
    figure("connections cut in the middle", cut)
    figure("answers 201, 200, 409", [statuses[201], statuses[200], statuses[409]])


@pytest.mark.timeout(1200)
async def test_hostile_repeats_credit_nothing_twice(
    tmp_path: Path, proof_scale: int, figure: Figure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has seen every request of a bank sends them again, changes them, and sets our clock; some while it is posted."""
    monkeypatch.setattr(body_module, "BODY_WITHIN_S", 0.5)  # a changed length is waited for
    repeats, wires = 1000 * proof_scale, 16
    rng = Random(9)
    async with opened(tmp_path) as place:
        street, at_ms = place.street, place.street.now_ms
        serials = [f"S-{n}" for n in range(60)]
        seen = [pay(street, {"serial": serial, "amount": "10.00"}, serial) for serial in serials]
        answers: Counter[int] = Counter()
        first: dict[bytes, bytes] = {}
        left = repeats

        def hostile() -> bytes:
            request = rng.choice(seen)
            kind = rng.randrange(8)
            if kind == 0:
                return request.replace(b'"10.00"', b'"90.00"')
            if kind == 1:
                return request.replace(b"nonce=", b"Nonce=").replace(b'"S-', b'"T-')
            if kind == 2:
                return pay(street, {"serial": rng.choice(serials), "amount": "10.00"}, f"x{rng.random()}", STRANGER)
            if kind == 3:
                return pay(street, {"serial": rng.choice(serials), "amount": "10.00"}, f"y{rng.random()}")
            if kind == 4:
                return pay(street, {"serial": rng.choice(serials), "amount": "20.00"}, f"z{rng.random()}")
            if kind == 5:
                at = rng.randrange(len(request))
                return request[:at] + bytes([rng.randrange(32, 127)]) + request[at + 1 :]
            return request

        async def work(wire: Wire) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                if rng.random() < 0.01:
                    street.now_ms = at_ms + rng.choice([0, 0, 0, -86_400_000, -400 * 86_400_000, -3653 * 86_400_000, 86_400_000])
                request = hostile()
                try:
                    heard = await wire.ask(request)
                except (asyncio.IncompleteReadError, ConnectionError, TimeoutError):
                    answers[0] += 1
                    wire.cut()
                    continue
                answers[heard.status] += 1
                if b"connection: close" in heard.head.lower():
                    wire.cut()
                if heard.status in (200, 201):
                    serial = json.loads(heard.body)["receipt"]["serial"].encode()
                    assert first.setdefault(serial, heard.body) == heard.body

        async with asyncio.timeout(1000):
            await asyncio.gather(*(work(Wire(place.port)) for _ in range(wires)))
        street.now_ms = at_ms
        posted = place.credited()
        known = street.store.read_now(lambda tx: [tx.payment(place.payment(serial)) for serial in serials])
    assert posted == sum(payment.amount_micro for payment in known if payment is not None and payment.status == "posted")
    assert answers[500] == 0 and answers[201] + answers[200] > 0 and answers[401] > 0
    assert answers[201] <= sum(payment is not None for payment in known) <= len(serials)
    figure("hostile repeats", repeats)
    figure("second credits among them", 0)
    figure("their answers by status", dict(sorted(answers.items())))


async def test_a_body_that_does_not_come_gives_its_place_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body_module, "BODY_WITHIN_S", 0.05)
    async with opened(tmp_path) as place:
        whole = pay(place.street, {}, "n-1")
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        writer.write(whole[:-5])
        answer = await asyncio.wait_for(reader.read(), 60)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 400 ") and b'"malformed"' in answer and b"Traceback" not in answer
        assert (await Wire(place.port).ask(whole)).status == 201


async def test_signatures_survive_pieces_and_pipelines(tmp_path: Path) -> None:
    async with opened(tmp_path) as place:
        first, second = (pay(place.street, {"serial": serial}, serial) for serial in ("S-1", "S-2"))
        reader, writer = await asyncio.open_connection("127.0.0.1", place.port)
        for piece in range(0, len(first), 7):
            writer.write(first[piece : piece + 7])
            await writer.drain()
        writer.write(second + second)
        statuses: list[int] = []
        while len(statuses) < 3:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            statuses.append(int(head[9:12]))
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(length)
        writer.close()
    assert statuses == [201, 201, 200]
