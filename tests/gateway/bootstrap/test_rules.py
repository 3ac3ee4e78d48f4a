"""Tariffs, schemes and calendars put beside the configuration file: by difference, all or nothing, and for the next start too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from gateway.adapters.http.life_api import Answer, Wrong
from gateway.adapters.http.life_forms import ArchiveForm
from gateway.adapters.http.reload import Changes, NotReloaded, Parts
from gateway.bootstrap.imports import KINDS, Imports
from gateway.bootstrap.life import Life
from gateway.domain.jobs import Group
from gateway.domain.life import Act, Refusal
from gateway.domain.period_use import PeriodUse
from gateway.domain.tariff_change import ALWAYS
from gateway.services.ports import Tx
from gateway.settings.sheets import Raw, write_toml
from tests.gateway.bootstrap.conftest import MakeSite
from tests.gateway.bootstrap.site import Site
from tests.gateway.bootstrap.test_centre import CENTRE, Told, signed_site
from tests.gateway.bootstrap.test_reload import price_list

HOME: Raw = {"id": "home", "currency": "CNY", "kind": "flat", "price": "0.50"}
STEPS: Raw = {"id": "beijing", "file": "beijing-residential-2012"}
HOURLY: Raw = {"id": "hourly", "want": "curve", "cron": "10 * * * *", "window_min": 50, "step_min": 15, "priority": 3,
               "retries": 2, "target": "99.5", "meters": ["m0-0"]}  # fmt: skip
WINTER: Raw = {"id": "winter", "windows": ["Fri 12:00 - Mon 09:00"], "days": ["2026-12-24/2026-12-26"], "valid_to": "2027-12-31"}
ALL: Mapping[str, list[Raw]] = {
    "tariffs": [HOME, STEPS],
    "schemes": [HOURLY, {"id": "live", "billing_s": 600}],
    "calendars": [WINTER],
    "accounts": [{"id": "A-9", "currency": "CNY", "tariff": "home"}],
}


def form(what: str, tables: Sequence[Raw], id: str) -> ArchiveForm:
    text = write_toml(tables, KINDS[what].table)
    return ArchiveForm(id=id, reason="put", name=f"{what}.toml", format="toml", text=text)


async def put(site: Site, tables: Mapping[str, Sequence[Raw]], id: str = "P-1") -> Answer:
    forms = {what: form(what, each, id) for what, each in tables.items()}
    act = Act(id, "c-1", "put", repr(forms), "uplink:c-1")
    return await Imports(site.gateway, Life(site.gateway)).put(forms, act, "v1")


def known(site: Site) -> dict[str, list[str]]:
    def of(tx: Tx) -> dict[str, list[str]]:
        tariffs = [name for name in ("flat", "home", "beijing", "new") if tx.price_list(name) is not None]
        return {
            "tariffs": tariffs,
            "schemes": [each.id for each in tx.schemes()],
            "calendars": [each.id for each in tx.no_cut_calendars()],
            "accounts": [each.id for each in tx.accounts()],
        }

    return site.gateway.store.read_now(of)


AFTER = {"tariffs": ["flat", "home", "beijing"], "schemes": ["hourly"], "calendars": ["winter"], "accounts": ["A-9"]}


def without_live(site: Site) -> Site:
    """The live scheme is left to whoever puts it."""
    _, rest = site.plan.scheme.split("[[scheme]]", 2)[1:]
    site.plan.scheme = f"[[scheme]]{rest}"
    return site


async def test_all_kinds_enter_together_and_outlive_reload_and_restart(site_of: MakeSite) -> None:
    site = without_live(site_of(2, 2))
    async with site.running() as gateway:
        await site.all_read()
        assert await put(site, ALL) == {"tariffs": 2, "schemes": 2, "calendars": 1, "accounts": 1, "changed": 6}
        assert (known(site), every_s(site)) == (AFTER, {600})
        assert await put(site, ALL, "P-2") == {"tariffs": 2, "schemes": 2, "calendars": 1, "accounts": 1, "changed": 0}
        assert await gateway.reload() == Changes()
        site.plan.gaps["l1"] = 30
        site.write()
        assert await gateway.reload() == Changes(lines=Parts(changed=("l1",)))
        assert known(site) == AFTER
    async with site.running() as gateway:
        assert (known(site), every_s(site)) == (AFTER, {600})
        assert (await put(site, ALL, "P-3"))["changed"] == 0
        imports = Imports(gateway, Life(gateway))
        for what, tables in ALL.items():
            assert sorted(imports.give(what), key=name) == sorted(tables, key=name)


async def test_a_price_that_was_billed_stays_and_the_next_one_begins_tomorrow(site_of: MakeSite) -> None:
    site = site_of(1, 1)
    site.plan.accounts = {"m0-0": "A1"}
    async with site.running() as gateway:
        await put(site, {"tariffs": [HOME], "accounts": [{"id": "A-9", "currency": "CNY", "tariff": "home"}]})
        gateway.store.write_now(lambda tx: tx.save_period_use("A-9", "home", PeriodUse("2026-11-01T00:00", 0, 1)))
        await put(site, {"tariffs": [HOME | {"price": "0.90"}]}, "P-2")
        began, tomorrow = price_list(site, "home").versions
        assert (began.from_day, [*began.seasons[0].prices.values()]) == (ALWAYS, [500_000])
        assert [*tomorrow.seasons[0].prices.values()] == [900_000] and tomorrow.from_day > ALWAYS
        early: Raw = {"id": "home", "currency": "CNY", "version": [{"from": "2020-01-01", "price": "0.01"}]}
        before = (gateway.stored, gateway.settings, price_list(site, "home"))
        with pytest.raises(Refusal, match="version 2020-01-01 begins on 2020-01-01, when others held"):
            await put(site, {"tariffs": [early, HOME | {"id": "new"}], "calendars": [WINTER]}, "P-3")
        assert (gateway.stored, gateway.settings, price_list(site, "home")) == before
        assert known(site)["tariffs"] == ["flat", "home"] and known(site)["calendars"] == []
    async with site.running():
        assert price_list(site, "home").versions == (began, tomorrow)


WRONG: tuple[tuple[str, Raw, str], ...] = (
    ("tariffs", HOME | {"price": "free"}, "price"),
    ("tariffs", {"id": "x", "file": "../../secret.toml"}, "write the table itself, or what is shipped"),
    ("tariffs", {"id": "x", "file": "no-such"}, "there is no tariff no-such"),
    ("tariffs", HOME | {"id": "flat", "price": "0.90"}, "tariff flat stands in the configuration file, with another price"),
    ("tariffs", HOME | {"currency": "EUR"}, "A-9: is in CNY, but tariff home prices in EUR"),
    ("schemes", HOURLY | {"meters": ["m9"]}, "scheme hourly: there is no meter m9"),
    ("schemes", HOURLY | {"cron": "at noon"}, "scheme hourly"),
    ("schemes", {"id": "other", "want": "live", "billing_s": 60}, "only one may be live"),
    ("calendars", WINTER | {"windows": ["Mon 00:00 - Mon 00:00"]}, "begins where it ends"),
    ("calendars", {"id": "x", "file": "/etc/passwd.toml"}, "write the table itself, or what is shipped"),
    ("calendars", WINTER | {"colour": 1}, "colour: is not a known key"),
)


async def test_what_is_wrong_changes_nothing_of_any_kind(site_of: MakeSite) -> None:
    site = site_of(1, 1)
    async with site.running() as gateway:
        await put(site, {"tariffs": [HOME], "accounts": ALL["accounts"]})
        before = (gateway.stored, gateway.settings, known(site))
        for number, (what, table, said) in enumerate(WRONG):
            tables: dict[str, list[Raw]] = {"tariffs": [HOME | {"id": "new"}], "calendars": [WINTER | {"id": "other"}]}
            tables[what] = [*tables.get(what, []), table]
            with pytest.raises(Wrong) as refused:
                await put(site, tables, f"W-{number}")
            assert said in "; ".join(refused.value.errors), (table, refused.value.errors)
            assert (gateway.stored, gateway.settings, known(site)) == before


async def test_a_calendar_of_the_store_that_ends_stops_no_reload(site_of: MakeSite) -> None:
    """Whoever edits the file cannot take it out; the built-in rule holds, and a finding asks for the next one."""
    site = site_of(1, 1)
    async with site.running() as gateway:
        await put(site, {"calendars": [{"id": "old", "days": ["2025-12-25"], "valid_to": "2025-12-31"}]})
        site.plan.gaps["l0"] = 30
        site.write()
        assert await gateway.reload() == Changes(lines=Parts(changed=("l0",)))
        site.plan.tail += '[[no_cut_calendar]]\nid = "filed"\ndays = ["2025-12-25"]\nvalid_to = "2025-12-31"\n'
        site.write()
        with pytest.raises(NotReloaded, match="no_cut_calendar filed: ended on 2025-12-31"):
            await gateway.reload()


async def test_the_centre_puts_rules_by_a_signed_order(site_of: MakeSite) -> None:
    site = signed_site(site_of)
    async with site.running() as gateway:
        await site.all_read()
        centre = Told(site, gateway)
        tables = {"tariffs": [HOME], "schemes": [HOURLY], "calendars": [WINTER]}
        said = await centre.final(await centre.order("archive", args={"put": tables, "version": "v-17"}))
        assert (said["state"], said["answer"]) == ("done", {"tariffs": 1, "schemes": 1, "calendars": 1, "changed": 3})
        assert known(site) == {"tariffs": ["flat", "home"], "schemes": ["hourly"], "calendars": ["winter"], "accounts": ["A1"]}
        row = gateway.store.read_now(lambda tx: [each for each in tx.audit_rows(0, 999) if each.act == "import_archive"])[-1]
        assert (row.who, row.data["version"], row.data["tariffs"]) == (f"uplink:{CENTRE.kid}", "v-17", "1")
        said = await centre.final(await centre.order("archive", args={"put": {"people": [{"id": "x"}]}}))
        assert said["state"] == "refused" and "people cannot be put" in said["reason"]


def name(table: Mapping[str, object]) -> str:
    return str(table["id"])


def every_s(site: Site) -> set[int]:
    """How often billing registers are read."""
    return {poll.periods_ms[Group.BILLING] // 1000 for line in site.gateway.crew.lines.values() for poll in line.polls}
