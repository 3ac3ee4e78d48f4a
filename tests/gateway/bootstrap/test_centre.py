"""A whole gateway and its centre's signed orders: keys of the file, accounts by pseudonyms, the archive, readings, anchors."""

from __future__ import annotations

import json
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gateway.adapters.mqtt_session import Arrival, Demands
from gateway.adapters.uplink_payloads import pseudonym
from gateway.bootstrap import proofs
from gateway.bootstrap.process import Gateway
from gateway.domain import ledger
from gateway.domain.events import Topic
from gateway.services.anchor import anchor
from gateway.services.ports import Tx
from protocols.uplink.messages import BadMessage
from protocols.uplink.moments import format_moment
from protocols.uplink.signing import open_signed, public_key
from tests.gateway.bootstrap.conftest import MakeSite
from tests.gateway.bootstrap.site import Site
from tests.gateway.centre_keys import Signer

CENTRE, WATCH = Signer("centre-1", 1), Signer("watch-1", 2)


def key_table(signer: Signer, *more: str) -> str:
    said = [f'kid = "{signer.kid}"', f'public = "{signer.key().public}"', 'verbs = ["*"]', f'holder = "{signer.kid}"', *more]
    return "\n".join(["[[uplink_key]]", *said, ""])


def signed_site(site_of: MakeSite) -> Site:
    site = site_of(1, 2)
    site.plan.accounts = {"m0-0": "A1"}
    site.plan.tail += '[mqtt]\nhost = "127.0.0.1"\nport = 9\ncommands = true\n' + key_table(CENTRE) + key_table(WATCH)
    return site


def _look(number: int, tx: Tx) -> None:
    tx.add_audit(number, "console", "look", "x", {})


class Told:
    """The centre of one gateway."""

    def __init__(self, site: Site, gateway: Gateway) -> None:
        self.site, self.gateway, self.number = site, gateway, 0
        key = bytes.fromhex(gateway.store.read_now(lambda tx: tx.meta("pseudonym_key")) or "")
        self.account = pseudonym(key, "A1")

    async def order(self, verb: str, signer: Signer = CENTRE, **change: Any) -> str:
        """Sends it down and gives its id; the target is none but what `change` says."""
        self.number += 1
        ident = f"o-{self.number}"
        none = {"meter": None, "args": None, "expires_at": None}
        fields = signer.fields(ident, self.gateway.clock.now_ms(), verb=verb, **{**none, **change})
        link = self.gateway.link
        assert link is not None
        await link.down.receive(Arrival("wattgate/v1/G1/down/command", signer.signed(fields), False, Demands()))
        return ident

    def last(self, ident: str) -> dict[str, Any]:
        """The newest result that went up."""
        rows = self.gateway.store.read_now(lambda tx: tx.outgoing(0, 10_000))
        found = [row.message.body for row in rows if row.message.topic is Topic.RESULT and row.message.subject == ident]
        return dict(found[-1]) if found else {}

    async def final(self, ident: str) -> dict[str, Any]:
        await self.site.until(lambda: bool(self.last(ident).get("final")), f"{ident} ends: {self.last(ident)}")
        return self.last(ident)


async def test_orders_of_the_centre_over_a_whole_gateway(site_of: MakeSite) -> None:
    site = signed_site(site_of)
    async with site.running() as gateway:
        await site.all_read()
        centre = Told(site, gateway)
        now_ms = gateway.clock.now_ms()

        paid = {"bank": "b1", "serial": "S-1", "amount": "20.00", "currency": "CNY", "accounting_date": "2026-01-02"}
        paid |= {"paid_at": "2026-01-02T10:00:00Z"}
        said = await centre.final(await centre.order("topup", account=centre.account, args=paid))
        assert (said["state"], said["answer"]["payment"]) == ("done", "posted")
        assert gateway.store.read_now(lambda tx: tx.balance(ledger.bank_clearing("b1"), "CNY")) == -20_000_000
        said = await centre.final(await centre.order("topup", account="0123456789abcdef", args=paid | {"serial": "S-2"}))
        assert said["state"] == "refused"

        soon = format_moment(now_ms + 60_000)
        said = await centre.final(await centre.order("read", meter="m0-1", expires_at=soon))
        assert said["state"] == "done" and "energy_import" in said["answer"]["items"]

        tables = {"meters": [{"id": "new-1", "line": "l0", "address": "77", "profile": "dlt645-single"}],
                  "accounts": [{"id": "A2", "currency": "CNY", "tariff": "flat"}]}  # fmt: skip
        said = await centre.final(await centre.order("archive", args={"put": tables}))
        assert (said["state"], said["answer"]) == ("done", {"meters": 1, "accounts": 1, "changed": 2})
        wrong = {"meters": [{"id": "new-2", "line": "l9", "address": "78", "profile": "dlt645-single"}], "accounts": [{"id": "A3"}]}
        said = await centre.final(await centre.order("archive", args={"put": wrong}))
        assert said["state"] == "refused" and gateway.store.read_now(lambda tx: tx.account("A3")) is None
        said = await centre.final(await centre.order("archive", args={"put": {"tariffs": [{"id": "x"}]}}))
        assert said["state"] == "refused" and "currency is missing" in said["reason"]

        opened = {"account": {"id": "A4", "currency": "CNY", "tariff": "flat"}, "meters": [{"meter": "new-1"}]}
        said = await centre.final(await centre.order("open_account", args=opened))
        assert said["state"] == "done", said
        said = await centre.final(await centre.order("open_account", args=opened))
        assert said["state"] == "refused" and "open already" in said["reason"]

        fast = {"limit": {"power_w": 3000, "delay_s": 600}}
        said = await centre.final(await centre.order("set_limit", account=centre.account, args=fast, expires_at=soon))
        assert said["state"] == "refused" and "instant_s" in said["reason"]
        await centre.final(await centre.order("read", meter="m0-0", expires_at=soon))
        billing = gateway.store.read_now(lambda tx: tx.billing("m0-0"))
        assert billing is not None and billing.confirmed is not None
        shown = {name: f"{Decimal(wh + 9_000_000) / 1000:.2f}" for name, wh in billing.confirmed.wh.items()}
        device = {"device": {"address": "78"}, "last": shown, "first": shown}
        waits = await centre.order("change_meter", meter="m0-0", args=device)
        await site.until(lambda: centre.last(waits)["state"] != "queued", "more than it can have counted waits")
        assert centre.last(waits)["state"] == "quarantined", centre.last(waits)["reason"]
        await centre.order("release", WATCH, args={"id": waits})
        assert (await centre.final(waits))["state"] == "done"
        row = gateway.store.read_now(lambda tx: [each for each in tx.audit_rows(0, 999) if each.act == "change_meter"])[-1]
        assert (row.who, row.data["second"]) == ("uplink:centre-1", "uplink:watch-1")

        limit = await centre.order("set_limit", account=centre.account, args={"limit": None}, expires_at=soon)
        assert centre.last(limit)["state"] == "quarantined"
        await centre.order("release", WATCH, args={"id": limit})
        assert (await centre.final(limit))["state"] == "done"

        counted = gateway.vitals.counters().commands
        assert counted["topup", ""] == 1 and counted["", "not_permitted"] == 2


async def test_what_is_in_the_store_is_dropped_unless_it_is_in_use(site_of: MakeSite) -> None:
    site = signed_site(site_of)
    tariff = {"id": "winter", "kind": "flat", "currency": "CNY", "price": "0.70"}
    calendar = {"id": "feast", "valid_to": "2030-01-01", "days": ["2026-02-17"]}
    account = {"id": "A2", "currency": "CNY", "tariff": "winter", "policy": {"calendar": "feast"}}
    meter = {"id": "new-1", "line": "l0", "address": "77", "profile": "dlt645-single"}
    scheme = {"id": "nights", "want": "day", "cron": "10 0 * * *", "target": "99", "window_min": 600, "priority": 3, "retries": 2}
    put: dict[str, Any] = {"tariffs": [tariff], "calendars": [calendar], "accounts": [account], "meters": [meter]}
    put |= {"schemes": [scheme]}
    async with site.running() as gateway:
        await site.all_read()
        centre = Told(site, gateway)

        async def archive(**args: Any) -> dict[str, Any]:
            said = await centre.final(await centre.order("archive", args=args))
            return {"state": said["state"], "reason": said["reason"], **said["answer"]}

        said = await archive(put=put)
        assert said["state"] == "done", said
        for drop, why in (
            ({"tariffs": ["winter"]}, "tariff winter: it is in use, account "),
            ({"calendars": ["feast"]}, "no_cut_calendar feast: it is in use, account "),
            ({"tariffs": ["flat"]}, "tariff flat: it stands in the configuration file"),
            ({"meters": ["m0-0"]}, "meter m0-0: it stands in the configuration file"),
            ({"accounts": ["A2"]}, "it is closed (close_account)"),
            ({"keys": ["x"]}, "keys cannot be put or dropped"),
            ({"schemes": ["nights"], "tariffs": ["winter"]}, "tariff winter: it is in use"),
            ({}, "nothing to put and nothing to drop"),
        ):
            said = await archive(drop=drop)
            assert said["state"] == "refused" and why in said["reason"], said
        assert "nights" in {each.id for each in gateway.store.read_now(lambda tx: tx.schemes())}, "all or nothing"
        both = await archive(put={"meters": [meter]}, drop={"meters": ["new-1"]})
        assert "it is put and dropped in one order" in both["reason"]

        freed = {"id": "A2", "currency": "CNY", "tariff": "flat"}
        said = await archive(put={"accounts": [freed]}, drop={"tariffs": ["winter"], "calendars": ["feast"]}, version="v7")
        assert (said["state"], said["accounts"], said["dropped"], said["changed"]) == ("done", 1, 2, 3), said
        said = await archive(drop={"meters": ["new-1"], "schemes": ["nights"], "tariffs": ["winter", "never-was"]})
        assert (said["state"], said["dropped"]) == ("done", 2)
        assert gateway.store.read_now(lambda tx: tx.no_cut_calendar("feast")) is None
        assert "nights" not in {each.id for each in gateway.store.read_now(lambda tx: tx.schemes())}
        assert gateway.store.read_now(lambda tx: tx.price_list("winter")) is not None, "what it priced stays priced"
    async with site.running() as gateway:
        names = {each.id for each in gateway.store.read_now(lambda tx: tx.meters()) if each.filed}
        assert "new-1" not in names and gateway.store.read_now(lambda tx: tx.no_cut_calendar("feast")) is None


async def test_a_restart_takes_up_what_was_begun(site_of: MakeSite) -> None:
    site = signed_site(site_of)
    async with site.running() as gateway:
        await site.all_read()
        centre = Told(site, gateway)
        put = {"put": {"accounts": [{"id": "A9", "currency": "CNY", "tariff": "flat"}]}}
        change: dict[str, Any] = {"verb": "archive", "meter": None, "expires_at": None, "args": put}
        token = CENTRE.signed(CENTRE.fields("late-1", gateway.clock.now_ms(), **change))
        link = gateway.link
        assert link is not None
        await link.down.receive(Arrival("wattgate/v1/G1/down/command", token, False, Demands()))
        assert centre.last("late-1")["state"] in ("queued", "done")
    async with site.running() as gateway:
        centre = Told(site, gateway)
        assert (await centre.final("late-1"))["state"] == "done"
        link = gateway.link
        assert link is not None
        await link.down.receive(Arrival("wattgate/v1/G1/down/command", token, False, Demands()))
        assert centre.last("late-1")["state"] == "done"
        assert gateway.store.read_now(lambda tx: tx.account("A9")) is not None


async def test_anchors_are_signed_and_prove_the_log(site_of: MakeSite, tmp_path: Path) -> None:
    site = signed_site(site_of)
    async with site.running() as gateway:
        identity, seal = gateway.identity, gateway._seal
        for number in range(3):
            await gateway.write(partial(_look, number))
            made = await gateway.write(lambda tx: anchor(tx, "G1", seal, 7))
        assert made is not None
        assert await gateway.write(lambda tx: anchor(tx, "G1", seal, 8)) is None  # nothing has grown
        rows = gateway.store.read_now(lambda tx: tx.outgoing(0, 10_000))
        sent = [row.message for row in rows if row.message.topic is Topic.ANCHOR]
        assert [message.body["jws"] for message in sent] == [
            each.jws for each in gateway.store.read_now(lambda tx: tx.anchors(0, 9))
        ]
        said = json.loads(open_signed(made.jws.encode(), lambda kid: public_key(identity.x)).payload)
        assert said["audit"]["number"] == gateway.store.read_now(lambda tx: tx.audit_end())[0]
        with pytest.raises(BadMessage):
            open_signed(made.jws.encode(), lambda kid: public_key(CENTRE.key().public))
    url = f"{site.folder / 'store.db'}"
    data = next(path.parent for path in site.folder.rglob("identity.jwk"))
    url, keys = str(next(data.glob("*.db"))), proofs.keys_of(data)
    proof = proofs.verify(url, "G1", keys)
    assert (proof.finding, proof.anchors) == (None, 3) and proof.rows >= 3 and not proof.keyless
    lines: list[str] = []
    proofs.export(url, "G1", keys, lines.append)
    assert proofs.verify_export(lines, keys).finding is None
    for change, why in (
        (lambda lines: [line for line in lines if '"number": 2' not in line or '"row"' not in line], "not dense"),
        (lambda lines: [line.replace('"act": "look"', '"act": "took"') for line in lines], "hash does not match"),
        (lambda lines: lines[:-2] + lines[-1:], "one is missing"),
        (lambda lines: [line.replace('"at_ms": 7', '"at_ms": 6') for line in lines], "something else"),
    ):
        assert why in str(proofs.verify_export(change(list(lines)), keys).finding)
    other = {kid: CENTRE.key().public for kid in keys}
    assert "not that of the key" in str(proofs.verify_export(lines, other).finding)


@pytest.mark.parametrize("until", ["", "\nuntil = 2099-12-31T00:00:00Z\n"])
async def test_keys_come_and_go_with_a_reload(site_of: MakeSite, until: str) -> None:
    site, guest = signed_site(site_of), Signer("guest-1", 3)
    async with site.running() as gateway:
        await site.all_read()
        centre = Told(site, gateway)
        stranger = await centre.order("stop", guest)
        assert centre.last(stranger) == {}
        before, site.plan.tail = site.plan.tail, site.plan.tail + key_table(guest) + until
        site.write()
        await gateway.reload()
        await site.until(lambda: gateway.keys.ring.public("guest-1") is not None, "the key is known")
        assert (await centre.final(await centre.order("stop", guest)))["state"] == "done"
        site.plan.tail = before
        site.write()
        await gateway.reload()
        await site.until(lambda: gateway.keys.ring.trusted("guest-1", gateway.clock.now_ms()) is not None, "the key is gone")
        gone = await centre.order("go", guest)
        assert centre.last(gone)["code"] == "key_out_of_time"
