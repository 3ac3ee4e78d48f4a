"""Every verb of the centre once: signed, over a real Mosquitto, to a gateway process and simulated meters, and its answer back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiomqtt
from aiomqtt.client import ProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from gateway.adapters.uplink_payloads import pseudonym
from gateway.domain.clocks import local_time
from protocols.uplink.commands import ARGS
from protocols.uplink.moments import format_moment
from tests.gateway.brokers import Mosquitto
from tests.gateway.centre_keys import Signer
from tests.system.processes import until
from tests.system.proofs import rows
from tests.system.relay_stand import COMMAND, SEEN_S, Relay, RelayStand, Watcher, key_table, street
from tests.system.stand import tracebacks

ZONE = "Asia/Shanghai"
CENTRE, WATCH = Signer("centre", 1), Signer("watch", 2)
KEYS = key_table(CENTRE, role="centre", verbs=["*"], holder="centre") + key_table(WATCH, verbs=["*"], holder="watch")
LIVES_MS, ASIDE_S = 120_000, 60
CALM_MS = (10 * 60 + 20) * 60_000 + 30_000
"""10:20:30: no clock is told the time near midnight, the full hour or a quarter (domain/clocks)."""


class Stand(RelayStand):
    """Clocks of meters are kept; behind one address of the line a device waits that no meter has yet."""

    def _gateway_toml(self) -> Iterator[str]:
        for part in super()._gateway_toml():
            if 'id = "A-new"' not in part:
                yield part.replace("keep_meters = false", "keep_meters = true")

    def keep_to_calm(self) -> None:
        """Gateway and meters live at CALM_MS of a day."""
        local = local_time(self.now_ms(), ZONE)
        of_day = ((local.hour * 60 + local.minute) * 60 + local.second) * 1000
        self.shift(self.off_ms + CALM_MS - of_day)

    async def set_clock(self, meter: str, aside_s: int = 0) -> None:
        answer = await self._handle.post(f"meters/{meter}/clock", json={"offset_s": self.off_ms // 1000 + aside_s})
        assert answer.status_code == 200, answer.text

    async def press(self, meter: str) -> None:
        answer = await self._handle.post(f"meters/{meter}/press", json={})
        assert answer.status_code == 200, answer.text


class Caller:
    """The centre: gives orders and waits for what comes of them."""

    def __init__(self, stand: Stand, watcher: Watcher) -> None:
        self.stand, self.watcher, self.said = stand, watcher, dict[str, str]()
        [row] = rows(stand.data / "wattgate.db", "SELECT value FROM meta WHERE key = 'pseudonym_key'")
        self._key = bytes.fromhex(str(row["value"]))

    def account(self, name: str) -> str:
        return pseudonym(self._key, name)

    async def order(self, verb: str, signer: Signer = CENTRE, *, lives: bool = True, name: str = "", **change: Any) -> str:
        ident = name or f"{verb}-{signer.counter + 1}-{signer.kid}"
        now_ms = self.stand.now_ms()
        ends = format_moment(now_ms + LIVES_MS) if lives else None
        fields = signer.fields(ident, now_ms, **{"verb": verb, "meter": None, "args": None, "expires_at": ends, **change})
        await self.watcher.client.publish(COMMAND, signer.signed(fields), qos=1)
        return ident

    async def came(self, ident: str, *states: str) -> dict[str, Any]:
        """The result in one of these states."""
        last = self.watcher.last
        await until(lambda: last(ident).get("state") in states, f"{ident} is {states}: {last(ident)}", SEEN_S)
        return last(ident)

    async def done(self, verb: str, *states: str, signer: Signer = CENTRE, **change: Any) -> dict[str, Any]:
        """Order it, and see how it ends; by default it is done."""
        ident = await self.order(verb, signer, **change)
        await until(lambda: bool(self.watcher.last(ident).get("final")), f"{ident} ends", SEEN_S)
        said = self.watcher.last(ident)
        assert said["state"] in (states or ("done",)), (said["state"], said["reason"])
        self.said[verb] = said["state"]
        return said

    async def waits(self, verb: str, **change: Any) -> str:
        """Order what needs a second person."""
        ident = await self.order(verb, **change)
        await self.came(ident, "quarantined")
        return ident


async def test_every_verb_of_the_contract_is_done_over_a_real_broker(tmp_path: Path, mosquitto: str) -> None:
    relays = [*street(1, 3), Relay("new", "201900009999", "line0")]
    stand = Stand(tmp_path, Mosquitto(tmp_path / "mosquitto", mosquitto), relays, KEYS)
    stand.keep_to_calm()
    async with stand.running(CENTRE) as watcher:
        for relay in relays:
            await stand.set_clock(relay.meter)
        await stand.start(watcher)
        centre = Caller(stand, watcher)
        await of_switches(stand, centre)
        await of_protection_and_limits(centre)
        await of_the_line(stand, centre)
        await of_money(stand, centre)
        await of_the_whole_gateway(centre)
        await of_the_archive(stand, centre)
        assert centre.said.keys() == ARGS.keys()
        assert {why for why, count in (await stand.refused()).items() if count} == {"not_permitted", "no_right"}
        finals = [each["command"] for told in watcher.results.values() for each in told if each["final"]]
        assert len(finals) == len(set(finals)) == len(watcher.results), "each order ends once"
    assert tracebacks(tmp_path) == []


async def test_who_asked_for_his_own_answer_gets_it_after_a_kill_too(tmp_path: Path, mosquitto: str) -> None:
    """The command waits for a second person when the gateway is killed; response topic and correlation are kept with it."""
    stand = Stand(tmp_path, Mosquitto(tmp_path / "mosquitto", mosquitto), street(1, 2), KEYS)
    async with stand.running(CENTRE) as watcher:
        await stand.start(watcher)
        centre = Caller(stand, watcher)
        async with aiomqtt.Client("127.0.0.1", stand.broker.port, timeout=60, protocol=ProtocolVersion.V5) as asker:
            await asker.subscribe("desk/7/answers", qos=1)
            wanted = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            wanted.ResponseTopic, wanted.CorrelationData = "desk/7/answers", b"\x00request 7"
            fields = CENTRE.fields("l-1", stand.now_ms(), verb="set_limit", meter=None, args={"limit": None})
            signed = CENTRE.signed(fields | {"account": centre.account("A-m0")})
            await asker.publish(COMMAND, signed, qos=1, properties=wanted)
            assert await answer(asker) == (b"\x00request 7", "l-1", "quarantined")
            await until(lambda: not waiting(stand), "the gateway knows that all of it has arrived", SEEN_S)
            await stand.gateway.kill()
            await stand.start(watcher)
            await centre.done("release", signer=WATCH, args={"id": "l-1"}, lives=False)
            assert await answer(asker) == (b"\x00request 7", "l-1", "done")
    assert tracebacks(tmp_path) == []


def waiting(stand: Stand) -> bool:
    [row] = rows(stand.data / "wattgate.db", "SELECT COUNT(*) AS n FROM outbox WHERE acknowledged_ms IS NULL")
    return bool(row["n"])


async def answer(asker: aiomqtt.Client) -> tuple[bytes | None, str, str]:
    """The next one: its correlation, the command and its state."""
    message = await asyncio.wait_for(anext(aiter(asker.messages)), SEEN_S)
    said = json.loads(bytes(message.payload))
    return getattr(message.properties, "CorrelationData", None), said["command"], said["state"]


async def contact(stand: Stand, meter: str) -> str:
    return str((await stand.truths())[meter]["contact"])


async def closed(stand: Stand, meter: str) -> bool:
    return await contact(stand, meter) == "closed"


async def of_switches(stand: Stand, centre: Caller) -> None:
    """Cut, allowed and pressed, cut and closed again; an alarm on the meter itself."""
    said = await centre.done("cut", "verified", meter="m0", args={"cause": "emergency"})
    assert "relay_bit" in said["evidence"] and await contact(stand, "m0") == "open"
    await centre.done("allow_close", "allowed", meter="m0")
    assert await contact(stand, "m0") == "open"
    await stand.press("m0")
    await until(lambda: closed(stand, "m0"), "the button closes it", SEEN_S)
    await centre.done("cut", "verified", meter="m0", args={"cause": "emergency"})
    await centre.done("restore", "verified", account=centre.account("A-m0"))
    assert await contact(stand, "m0") == "closed"
    await centre.done("alarm", "done", "verified", "acknowledged", meter="m1", args={"on": True})
    assert (await stand.truths())["m1"]["alarm"] is True


async def of_protection_and_limits(centre: Caller) -> None:
    """Protected is not cut; what takes protection or sets a limit waits for another holder's key."""
    account, until_at = centre.account("A-m1"), format_moment(centre.stand.now_ms() + 86_400_000)
    await centre.done("protect", account=account, args={"until": until_at, "owner": "the ward"})
    said = await centre.done("cut", "refused", meter="m1", args={"cause": "emergency"})
    assert "protect" in said["reason"], said
    taken = await centre.waits("unprotect", account=account, args={"owner": "the ward"})
    await centre.done("release", "refused", args={"id": taken}, lives=False)
    await centre.done("release", signer=WATCH, args={"id": taken}, lives=False)
    assert (await centre.came(taken, "done"))["final"]
    limit = await centre.waits("set_limit", account=account, args={"limit": None})
    await centre.done("refuse", signer=WATCH, args={"id": limit}, lives=False, reason="not now")
    assert (await centre.came(limit, "refused"))["reason"]
    other = await centre.waits("set_limit", account=account, args={"limit": None})
    await centre.done("cancel", args={"id": other}, lives=False)
    assert (await centre.came(other, "cancelled"))["final"]
    centre.said |= {"unprotect": "done", "set_limit": "refused"}


async def of_the_line(stand: Stand, centre: Caller) -> None:
    """A meter is read when asked, and its clock set right."""
    said = await centre.done("read", meter="m1")
    shown, truth = float(said["answer"]["items"]["energy_import"]), (await stand.truths())["m1"]
    assert 100 <= shown <= 100 + truth["energy_mws"] / 3.6e9 + 0.01
    await stand.set_clock("m2", ASIDE_S)
    said = await centre.done("sync_time", meter="m2")
    assert abs(said["answer"]["offset_ms"]) <= 10_000
    off_s = float((await stand.truths())["m2"]["clock_offset_s"]) - stand.off_ms / 1000
    assert abs(off_s) < ASIDE_S / 6, "the meter itself shows the right time"


async def of_money(stand: Stand, centre: Caller) -> None:
    """A bank's payment once for ever; money put aside."""
    account, today = centre.account("A-m1"), local_time(stand.now_ms(), ZONE).date().isoformat()
    paid = {"bank": "icbc", "serial": "S-1", "amount": "20.00", "currency": "CNY", "accounting_date": today}
    paid["paid_at"] = format_moment(stand.now_ms())
    said = await centre.done("topup", account=account, args=paid, lives=False)
    assert said["answer"]["payment"] == "posted"
    said = await centre.done("topup", account=account, args=paid, lives=False)
    assert said["answer"]["payment"] == "posted"
    balances = {each["account"]: each["balance"] for each in await stand.ask("accounts")}
    assert 900 < float(balances["A-m1"]) <= 920.00
    said = await centre.done("refund", account=account, args={"amount": "5.00"}, lives=False)
    assert said["answer"], said


async def of_the_whole_gateway(centre: Caller) -> None:
    """Nobody is cut while all is stopped."""
    await centre.done("stop", lives=False)
    stopped = await centre.order("cut", meter="m2", args={"cause": "emergency"})
    await until(lambda: bool(centre.watcher.last(stopped)), "the stop holds", SEEN_S)
    assert centre.watcher.last(stopped)["state"] != "verified"
    await centre.done("cancel", "done", "refused", args={"id": stopped}, lives=False)
    await centre.done("go", lives=False)


async def of_the_archive(stand: Stand, centre: Caller) -> None:
    """Rules, an account and a meter come; a customer moves in, the device is changed, and the customer goes."""
    table = {"id": "x9", "line": "line0", "address": "201900000009", "profile": "dlt645-single"}
    put = {
        "tariffs": [{"id": "home", "currency": "CNY", "kind": "flat", "price": "0.50"}],
        "calendars": [{"id": "winter", "days": ["2026-12-25"], "valid_to": "2027-12-31"}],
        "schemes": [{"id": "day", "enabled": False}],
        "accounts": [{"id": "A-8", "currency": "CNY", "tariff": "home"}],
        "meters": [table],
    }
    said = await centre.done("archive", args={"put": put, "version": "v-1"}, lives=False)
    assert said["answer"] == {"tariffs": 1, "calendars": 1, "schemes": 1, "accounts": 1, "meters": 1, "changed": 5}
    moved_in = {"meter": "x9", "kwh": {"energy_import": "1.00"}}
    opened = {"account": {"id": "A-9", "currency": "CNY", "tariff": "home"}, "meters": [moved_in]}
    said = await centre.done("open_account", args=opened, lives=False)
    changed = {
        "device": {"address": "201900009999"}, "last": {"energy_import": "1.00"}, "first": {"energy_import": "100.00"},
    }  # fmt: skip
    await centre.done("change_meter", meter="x9", args=changed, lives=False)
    said = await centre.done("read", meter="x9")
    assert float(said["answer"]["items"]["energy_import"]) >= 100, "the new device answers"
    goes = {"final": {"x9": {"energy_import": "190.00"}}, "on_debt": "keep"}
    ident = await centre.waits("close_account", account=centre.account("A-9"), args=goes, lives=False)
    await centre.done("release", signer=WATCH, args={"id": ident}, lives=False)
    said = await centre.came(ident, "done")
    assert (said["answer"]["account"], said["answer"]["balance"]) == (centre.account("A-9"), "-45.00")
    centre.said["close_account"] = said["state"]
    acts = [row["act"] for row in rows(stand.data / "wattgate.db", "SELECT act FROM audit WHERE who = 'uplink:centre'")]
    assert {"import_archive", "open_account", "change_meter", "close_account"} <= set(acts)
