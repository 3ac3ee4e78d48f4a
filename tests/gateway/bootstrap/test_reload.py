"""A running gateway takes its configuration over by difference: what was not touched does not notice."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import pytest

from gateway.adapters.http.reload import Changes, NotReloaded, Parts
from gateway.domain.events import EventKind
from gateway.domain.period_use import PeriodUse
from gateway.domain.price_list import Tariff
from gateway.domain.requests import SupplyOrder
from gateway.domain.supply import CommandState, Verb
from tests.gateway.bootstrap.conftest import MakeSite
from tests.gateway.bootstrap.site import Site


def picture(site: Site, *, but: str = "") -> dict[str, object]:
    """Everything that must not be disturbed: links by identity with what they learned, due times, loops, connections."""
    found: dict[str, object] = {}
    for id, line in site.gateway.crew.lines.items():
        found[id] = (site.gateway.crew.loops[id], line.driver, [(wire.opened, wire.closed) for wire in site.wires[id]])
        for device in site.gateway.crew.loops[id].plan.devices(site.gateway.clock.now_ms()):
            link = line.reads[device.meter]
            state = (device.condition, device.since_ms, device.next_ms, device.failures)
            found[device.meter] = (link, line.switches[device.meter], link.manner, state)
    found.pop(but, None)
    return found


def archived(site: Site) -> dict[str, tuple[str, str, str | None]]:
    return {m.id: (m.line, m.address, m.account) for m in site.gateway.store.read_now(lambda tx: tx.meters())}


def price_list(site: Site, tariff: str) -> Tariff:
    found = site.gateway.store.read_now(lambda tx: tx.price_list(tariff))
    assert found is not None
    return found


async def test_pain_32_one_of_a_thousand_meters_is_touched_and_no_other_notices(site_of: MakeSite) -> None:
    site = site_of(20, 50)
    async with site.running() as gateway:
        await site.all_read()
        before, asked = picture(site, but="m7-7"), len(site.asked())
        old = gateway.crew.lines["l7"].reads["m7-7"]
        site.plan.meters["l7"]["m7-7"] = "000000999999"
        site.write()
        assert await gateway.reload() == Changes(meters=Parts(changed=("m7-7",)))
        assert gateway.crew.lines["l7"].reads["m7-7"] is not old
        await site.until(lambda: len(site.asked()) >= asked + 3, "the new device is read")
        await site.all_read()
        again = [address for wire in site.wires["l7"] for address in wire.asked][-3:]
        assert again == ["000000999999"] * 3
        assert len(site.asked()) == asked + 3, "nobody else is asked anything"
        assert picture(site, but="m7-7") == before
        assert archived(site)["m7-7"] == ("l7", "000000999999", None)
        assert site.events(EventKind.CONFIGURATION_CHANGED) == 1


async def test_pain_33_a_configuration_that_does_not_validate_changes_nothing_and_says_everything(
    site_of: MakeSite,
) -> None:
    site = site_of(2, 3)
    async with site.running() as gateway:
        await site.all_read()
        before, settings, asked, stored = picture(site), gateway.settings, len(site.asked()), archived(site)
        site.plan.meters["l0"]["m0-0"] = "000000999999"
        site.plan.meters["l1"]["m1-8"] = site.plan.meters["l1"]["m1-0"]
        site.plan.tail += "[colour]\nred = 1\n"
        site.write()
        with pytest.raises(NotReloaded) as refused:
            await gateway.reload()
        assert not refused.value.valid
        said = "\n".join(refused.value.errors)
        assert "colour: is not a known key" in said and "meter m1-8: address 000000001001 on line l1 is already" in said, said
        assert (picture(site), gateway.settings, len(site.asked()), archived(site)) == (before, settings, asked, stored)
        assert site.events(EventKind.CONFIGURATION_CHANGED) == 0


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda plan: setattr(plan, "head", plan.head.replace('"G1"', '"G2"')), "gateway.id"),
        (lambda plan: setattr(plan, "head", plan.head + 'data = "elsewhere"\n'), "gateway.data"),
        (lambda plan: setattr(plan, "head", plan.head.replace("Shanghai", "Tokyo")), "gateway.zone"),
        (lambda plan: setattr(plan, "tail", plan.tail + 'meter_zone = "Asia/Tokyo"\n'), "clock.meter_zone"),
        (lambda plan: setattr(plan, "http", '[http]\nlisten = "127.0.0.1:1"\n'), "http.listen"),
        (lambda plan: setattr(plan, "store", plan.store + 'url = "other.db"\n'), "store.url"),
        (lambda plan: setattr(plan, "tail", plan.tail + '[mqtt]\nhost = "127.0.0.1"\n'), "mqtt"),
        (lambda plan: setattr(plan, "tail", plan.tail + "[bank]\nenabled = false\n"), "bank.enabled"),
    ],
)
async def test_what_needs_a_restart_is_refused_by_name_and_nothing_else_changes(
    site_of: MakeSite, change: Callable[[object], None], key: str
) -> None:
    site = site_of(1, 2)
    async with site.running() as gateway:
        await site.all_read()
        before = picture(site)
        change(site.plan)
        site.plan.meters["l0"]["m0-0"] = "000000999999"
        site.write()
        with pytest.raises(NotReloaded) as refused:
            await gateway.reload()
        assert refused.value.valid
        assert refused.value.errors == (f"{key} cannot be changed while the gateway runs: restart it",)
        assert picture(site) == before and archived(site)["m0-0"][1] == "000000000001"


async def test_lines_and_meters_come_and_go_and_a_changed_line_alone_begins_anew(site_of: MakeSite) -> None:
    site = site_of(3, 3)
    async with site.running() as gateway:
        await site.all_read()
        before, stays = picture(site), gateway.crew.lines["l0"]
        del site.plan.meters["l2"]
        del site.plan.meters["l1"]["m1-2"]
        site.plan.gaps["l1"] = 30
        site.plan.meters["l0"]["m0-9"] = "000000000900"
        site.plan.meters["l3"] = {"m3-0": "000000003001"}
        site.write()
        assert await gateway.reload() == Changes(
            lines=Parts(("l3",), ("l2",), ("l1",)), meters=Parts(("m0-9", "m3-0"), ("m1-2", "m2-0", "m2-1", "m2-2"))
        )
        await site.all_read()
        assert set(gateway.crew.loops) == set(gateway.crew.lines) == {"l0", "l1", "l3"}
        after = picture(site)
        assert {name: after[name] for name in ("m0-0", "m0-1", "m0-2", "l0")} == {
            name: before[name] for name in ("m0-0", "m0-1", "m0-2", "l0")
        }
        assert gateway.crew.lines["l0"].driver is stays.driver
        assert [wire.closed for wire in site.wires["l2"]] == [1] and [wire.closed for wire in site.wires["l1"]] == [1, 0]
        assert len(site.wires["l1"][1].asked) == 2 * 3, "the two meters that it still has are read once"
        assert site.wires["l0"][0].asked[-3:] == ["000000000900"] * 3 and site.wires["l3"][0].asked[-1] == "000000003001"
        assert archived(site)["m1-2"] == ("l1", "000000001003", None), "its past stays"
    assert all(wire.down for wires in site.wires.values() for wire in wires), "what was opened is closed in the end"


async def test_accounts_and_tariffs_change_without_a_word_on_any_line(site_of: MakeSite) -> None:
    site = site_of(1, 3)
    site.plan.accounts = {"m0-0": "A-0"}
    async with site.running() as gateway:
        await site.all_read()
        before, asked = picture(site), len(site.asked())
        site.plan.accounts["m0-1"] = "A-1"
        site.plan.tariff = "0.700"
        site.write()
        changes = await gateway.reload()
        assert changes == Changes(meters=Parts(changed=("m0-1",)), accounts=Parts(added=("A-1",)), tariffs=Parts(changed=("flat",)))
        assert (picture(site), len(site.asked())) == (before, asked)
        assert archived(site)["m0-1"][2] == "A-1"
        assert [version.from_day for version in price_list(site, "flat").versions] == ["1970-01-01"], "nobody was priced by it yet"
        site.plan.currency = "EUR"
        site.write()
        with pytest.raises(NotReloaded, match="its currency cannot be changed to EUR") as refused:
            await gateway.reload()
        assert refused.value.valid and gateway.settings.account[0].currency == "CNY"
        assert archived(site)["m0-1"][2] == "A-1"


async def test_a_version_in_force_is_kept_and_a_file_s_next_one_is_taken_over(site_of: MakeSite) -> None:
    site, head = site_of(1, 1), 'currency = "CNY"\n[[version]]\nfrom = "2026-01-01"\nprice = "0.5"\n'
    site.plan.accounts, site.plan.tail = {"m0-0": "A-0"}, site.plan.tail + '[[tariff]]\nid = "own"\nfile = "own.toml"\n'
    own = site.folder / "own.toml"
    own.write_text(head)
    async with site.running() as gateway:
        gateway.store.write_now(lambda tx: tx.save_period_use("A-0", "own", PeriodUse("2026-01-01T00:00", 0, 1)))
        own.write_text(head.replace("0.5", "0.6"))
        with pytest.raises(NotReloaded, match="tariff own: version 2026-01-01 holds since 2026-01-01 and cannot be changed"):
            await gateway.reload()
        own.write_text(head + '[[version]]\nfrom = "2999-01-01"\nprice = "0.6"\n')
        assert await gateway.reload() == Changes(tariffs=Parts(changed=("own",)))
        assert [version.from_day for version in price_list(site, "own").versions] == ["2026-01-01", "2999-01-01"]
        assert not await gateway.reload()


async def test_another_period_keeps_what_is_due_and_other_passwords_serve_the_same_links(
    site_of: MakeSite,
) -> None:
    site = site_of(1, 3)
    async with site.running() as gateway:
        await site.all_read()
        links = dict(gateway.crew.lines["l0"].reads)
        site.plan.scheme = site.plan.scheme.replace("billing_s = ", "billing_s = 1")
        (site.folder / "passwords.toml").write_text('[control]\npassword = "123456"\nlevel = 4\n')
        site.write()
        changes = await gateway.reload()
        assert (changes.passwords, changes.schemes, bool(changes.meters)) == (True, Parts(changed=("live",)), False)
        assert gateway.crew.lines["l0"].reads == links
        assert gateway.passwords.password("control").digits == "123456"
        assert not await gateway.reload(), "a second time there is nothing to change"
        (site.folder / "passwords.toml").chmod(0o644)
        with pytest.raises(NotReloaded, match="chmod 600"):
            await gateway.reload()


async def test_an_order_for_a_meter_that_moves_to_another_line_is_carried_out_there(site_of: MakeSite) -> None:
    site = site_of(2, 2)
    async with site.running() as gateway:
        await site.all_read()
        async with gateway.crew.loops["l0"].turn:  # so that it waits on its old line
            order = SupplyOrder("order-1", "m0-0", Verb.RESTORE, "operator", "operator", gateway.clock.now_ms() + 600_000)
            assert (await gateway.order(order)).command is not None
        address = site.plan.meters["l0"].pop("m0-0")
        site.plan.meters["l1"]["m0-0"] = address
        site.write()
        await gateway.reload()
        found = gateway.store.read_now(lambda tx: tx.command("order-1"))
        assert found is not None and (found.line == "l1" or found.state is not CommandState.QUEUED)
        await site.until(lambda: address in site.wires["l1"][0].asked, "it is asked on its new line")


async def test_one_reload_at_a_time_and_only_of_the_file_that_it_runs_on(site_of: MakeSite) -> None:
    site = site_of(1, 1)
    async with site.running() as gateway:
        await site.all_read()
        with pytest.raises(NotReloaded, match=r"runs on .*gateway.toml, not on /elsewhere.toml"):
            await gateway.reload("/elsewhere.toml")
        first = asyncio.create_task(gateway.reload(str(site.file)))
        await asyncio.sleep(0)
        with pytest.raises(NotReloaded, match="at this moment"):
            await gateway.reload()
        assert not await first


async def test_a_line_that_does_not_come_to_rest_keeps_everything_as_it_is(
    site_of: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.bootstrap.crew.REST_S", 0.2)
    site = site_of(2, 2)
    async with site.running() as gateway:
        await site.all_read()
        before = picture(site)
        site.plan.meters["l0"]["m0-0"] = "000000999998"
        site.plan.meters["l1"]["m1-0"] = "000000999999"
        site.write()
        async with gateway.crew.loops["l1"].turn:
            with pytest.raises(NotReloaded, match="did not come to rest"):
                await gateway.reload()
        assert picture(site) == before and archived(site)["m0-0"][1] == "000000000001"
        assert await gateway.reload() == Changes(meters=Parts(changed=("m0-0", "m1-0")))
        await site.until(lambda: "000000999998" in site.asked(), "the other line was let go")


class Killed(BaseException):
    """The process is gone from here on."""


@pytest.mark.parametrize("committed", [False, True])
async def test_a_gateway_that_dies_while_it_reloads_starts_with_the_whole_new_configuration(
    site_of: MakeSite, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    site = site_of(2, 2)
    async with site.running() as gateway:
        await site.all_read()
        site.plan.meters["l0"]["m0-0"] = "000000999999"
        site.plan.accounts["m1-0"] = "A-1"
        site.write()
        write = gateway.write

        async def dies(usecase: Callable[..., object]) -> object:
            if committed:
                await write(usecase)
            raise Killed

        with monkeypatch.context() as patched, contextlib.suppress(Killed):
            patched.setattr(gateway, "write", dies)
            await gateway.reload()
        assert (archived(site)["m0-0"][1] == "000000999999") is committed
    async with site.running():
        await site.all_read()
        assert archived(site)["m0-0"] == ("l0", "000000999999", None) and archived(site)["m1-0"] == ("l1", "000000001001", "A-1")
        assert site.wires["l0"][-1].asked[:1] == ["000000999999"]
