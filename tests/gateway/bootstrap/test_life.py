"""Accounts and meters that stand in the store alone: a running gateway polls and bills them at once, beside its file; they outlive
reloads, restarts and its own death."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from fractions import Fraction

import pytest

from gateway.adapters.http.life_api import Answer, ByMeter, Wrong
from gateway.adapters.http.life_forms import ArchiveForm, ChangeForm, CloseForm, CtForm, MoveForm, OpenForm
from gateway.adapters.http.reload import Changes, NotReloaded, Parts
from gateway.bootstrap.examine import CannotStart
from gateway.bootstrap.imports import Imports
from gateway.bootstrap.life import Life
from gateway.domain.life import Act, Kwh, Refusal
from gateway.domain.readings import TOTAL
from gateway.services.approve import approve
from gateway.services.two_people import ACTS
from gateway.settings.sheets import Raw, write_csv, write_toml
from tests.gateway.bootstrap.conftest import MakeSite
from tests.gateway.bootstrap.site import Site
from tests.gateway.bootstrap.test_reload import Killed, archived, picture

NEW: Raw = {"line": "l0", "address": "777", "profile": "dlt645-single"}


def act(id: str = "R-1", second: str | None = None, content: str = "") -> Act:
    return Act(id, "li", "so it was", content, "operator:li", second)


async def opened(site: Site, account: str = "A-9", id: str = "R-1", opening: str | None = None, **meter: object) -> Answer:
    table: Raw = {"id": account, "currency": "CNY", "tariff": "flat"}
    if opening is not None:
        table["opening"] = opening
    meters: list[Raw] = [meter or {"table": NEW}]
    form = OpenForm.model_validate({"id": id, "reason": "comes", "account": table, "meters": meters, "receipt": "K-1"})
    shown: Sequence[Kwh | None] = [None if each.kwh is None else {TOTAL: Decimal(each.kwh[TOTAL])} for each in form.meters]
    return await Life(site.gateway).open(form, act(id, content=account), shown)


async def closed(site: Site, account: str, id: str = "R-9", final: dict[str, str] | None = None) -> Answer:
    form = CloseForm.model_validate({"id": id, "reason": "goes"})
    shown: ByMeter = {meter: {TOTAL: Decimal(kwh)} for meter, kwh in (final or {}).items()}
    return await Life(site.gateway).close(account, form, act(id, content=account), shown)


async def taken(site: Site, what: str, tables: list[Raw], id: str = "I-1", kind: str = "csv") -> Answer:
    text = write_csv(tables) if kind == "csv" else write_toml(tables, what.removesuffix("s"))
    form = ArchiveForm(id=id, reason="import", name=f"{what}.{kind}", format=kind, text=text)  # type: ignore[arg-type]
    life = Life(site.gateway)
    return await Imports(site.gateway, life).take(what, form, act(id, "wang", text))


def accounts(site: Site) -> dict[str, bool]:
    """By id, whether it is closed."""
    return {a.id: a.closed for a in site.gateway.store.read_now(lambda tx: tx.accounts())}


def filed(site: Site) -> dict[str, bool]:
    return {m.id: m.filed for m in site.gateway.store.read_now(lambda tx: tx.meters())}


async def test_one_meter_comes_to_a_thousand_and_no_other_notices(site_of: MakeSite) -> None:
    site = site_of(20, 50)
    async with site.running() as gateway:
        await site.all_read()
        before, asked = picture(site), len(site.asked())
        told = await opened(site, opening="20.00")
        assert told["meters"] == [{"meter": "l0-777", "from": None, "to": "A-9", "wh": None}]
        await site.until(lambda: len(site.asked()) >= asked + 3, "the new device is read")
        await site.all_read()
        assert [a for wire in site.wires["l0"] for a in wire.asked][-3:] == ["000000000777"] * 3
        after = picture(site, but="l0-777")
        assert len(site.asked()) == asked + 3 and after == before, "nobody else is asked anything"
        assert (archived(site)["l0-777"], filed(site)["l0-777"]) == (("l0", "777", "A-9"), False)
        assert await opened(site, opening="20.00") == told
        assert len(gateway.settings.meter) == 1001 and len(gateway.filed.meter) == 1000


async def test_what_stands_beside_the_file_outlives_reload_and_restart(site_of: MakeSite) -> None:
    site = site_of(2, 2)
    async with site.running() as gateway:
        await site.all_read()
        await opened(site, opening="20.00")
        await site.all_read()
        site.plan.gaps["l1"] = 30
        site.write()
        assert await gateway.reload() == Changes(lines=Parts(changed=("l1",)))
        assert archived(site)["l0-777"] == ("l0", "777", "A-9")
    async with site.running() as gateway:
        await site.all_read()
        assert archived(site)["l0-777"] == ("l0", "777", "A-9") and accounts(site) == {"A-9": False}
        assert "000000000777" in site.asked()
        assert gateway.store.read_now(lambda tx: tx.balance("customer:A-9", "CNY")) == 20_000_000, "opened once"


async def test_a_line_on_which_such_a_meter_is_cannot_be_taken_away(site_of: MakeSite) -> None:
    site = site_of(2, 1)
    async with site.running() as gateway:
        await site.all_read()
        await opened(site)
        site.plan.meters = {"l1": site.plan.meters["l1"]}
        site.write()
        with pytest.raises(NotReloaded, match="meter l0-777: there is no line l0"):
            await gateway.reload()
    with pytest.raises(CannotStart, match="meter l0-777: there is no line l0"):
        async with site.running():
            pass


async def test_the_file_wins_where_both_have_a_table_and_says_so(site_of: MakeSite, capsys: pytest.CaptureFixture[str]) -> None:
    site = site_of(1, 1)
    async with site.running() as gateway:
        await site.all_read()
        await taken(site, "meters", [NEW | {"id": "m9"}])
        site.plan.meters["l0"]["m9"] = "000000000888"
        site.write()
        assert await gateway.reload() == Changes(meters=Parts(changed=("m9",)))
        assert (archived(site)["m9"][1], filed(site)["m9"]) == ("000000000888", True)
        assert "meter m9 stands in the file and in the store: the file is followed" in capsys.readouterr().out
        del site.plan.meters["l0"]["m9"]
        site.write()
        await gateway.reload()
        assert (archived(site)["m9"][1], filed(site)["m9"]) == ("777", False)


async def test_what_is_done_to_a_meter_of_the_file_holds_until_the_file_says_otherwise(site_of: MakeSite) -> None:
    site = site_of(1, 2)
    site.plan.accounts = {"m0-0": "A-0"}
    async with site.running() as gateway:
        await site.all_read()
        form = ChangeForm(id="C-1", reason="broken", device={"address": "555"}, first={TOTAL: "0.00"})
        await Life(gateway).change("m0-0", form, act("C-1"), {TOTAL: Decimal("6543.21")}, {TOTAL: Decimal("6543.21")})
        await closed(site, "A-0", final={"m0-0": "6543.21"})
        assert (archived(site)["m0-0"], filed(site)["m0-0"], accounts(site)) == (("l0", "555", None), True, {"A-0": True})
        assert not (await gateway.reload()), "the file still says what it said"
        await opened(site, meter="m0-0", id="R-2")
        assert archived(site)["m0-0"] == ("l0", "555", "A-9")
    async with site.running() as gateway:
        assert archived(site)["m0-0"] == ("l0", "555", "A-9") and accounts(site)["A-0"], "closed for ever"
        site.plan.meters["l0"]["m0-0"] = "000000000444"
        site.write()
        assert await gateway.reload() == Changes(meters=Parts(changed=("m0-0",)))
        assert archived(site)["m0-0"] == ("l0", "000000000444", "A-9"), "the address by the file, the customer by the act"


async def test_an_account_of_the_file_with_a_load_limit_is_closed_like_any_other(site_of: MakeSite) -> None:
    """It has no meter then that the limit could open, and needs none."""
    site = site_of(1, 1)
    site.plan.accounts, site.plan.account = {"m0-0": "A-0"}, "limit = {power_w = 3000, delay_s = 120}\n"
    async with site.running() as gateway:
        await site.all_read()
        await closed(site, "A-0", final={"m0-0": "6543.21"})
        assert accounts(site) == {"A-0": True} and not await gateway.reload()
    async with site.running():
        assert accounts(site) == {"A-0": True}


async def test_what_cannot_be_leaves_tables_lines_and_money_as_they_were(site_of: MakeSite) -> None:
    site = site_of(1, 2)
    site.plan.accounts = {"m0-0": "A-0"}
    async with site.running() as gateway:
        await site.all_read()
        before, stood = picture(site), (archived(site), accounts(site), gateway.stored, gateway.settings)
        for table, why in (
            ({**NEW, "line": "l7"}, "meter l7-777: there is no line l7"),
            ({**NEW, "address": "1"}, "address 1 on line l0 is already meter m0-0"),
            ({**NEW, "profile": "dlt999"}, "dlt999"),
            ({**NEW, "ct": "300/5"}, "with ct and pt it needs max_power_w"),
            ({**NEW, "colour": "red"}, "meter: colour: is not a known key"),
        ):
            with pytest.raises(Wrong, match=why):
                await opened(site, table=table)
        for meter, why in (("m0-0", "meter m0-0 is account A-0's"), ("m7", "m7 is not in the archive")):
            with pytest.raises(Refusal, match=why):
                await opened(site, meter=meter)
        with pytest.raises(Refusal, match="account A-0 is open already"):
            await opened(site, account="A-0", id="R-3")
        assert (archived(site), accounts(site), gateway.stored, gateway.settings) == stood and picture(site) == before


async def test_transformers_and_customers_change_at_a_running_gateway(site_of: MakeSite) -> None:
    site = site_of(1, 1)
    async with site.running() as gateway:
        await site.all_read()
        await opened(site, kwh={TOTAL: "6543.21"}, table=NEW)
        life = Life(gateway)
        ct = CtForm(id="T-1", reason="bigger", ct="10", max_power_w=600_000, kwh={TOTAL: "6543.21"})
        assert (await life.change_ct("l0-777", ct, act("T-1"), {TOTAL: Decimal("6543.21")}))["ratio"] == "10"
        meter = gateway.store.read_now(lambda tx: tx.meter("l0-777"))
        assert meter is not None and (meter.ratio, meter.max_power_w, meter.count_wh) == (Fraction(10), 600_000, 100)
        move = MoveForm.model_validate({"id": "M-1", "reason": "moves", "meters": [{"meter": "l0-777", "to": None}]})
        told = await life.move(move, act("M-1"), [{TOTAL: Decimal("6543.21")}])
        assert told["moved"] == [{"meter": "l0-777", "from": "A-9", "to": None, "wh": 65_432_100}]
        assert (await life.remove("l0-777", act("X-1")))["removed"] == 1
        assert gateway.stored.meters == {} and len(gateway.crew.lines["l0"].reads) == 1
        with pytest.raises(Refusal, match="m0-0 stands in the file: take it out there"):
            await life.remove("m0-0", act("X-2"))


# files


async def test_a_file_is_taken_over_once_and_given_out_again(site_of: MakeSite) -> None:
    site = site_of(2, 2)
    people: list[Raw] = [{"id": f"A-{n}", "currency": "CNY", "tariff": "flat", "opening": "10.00"} for n in range(50)]
    houses: list[Raw] = [NEW | {"id": f"h{n}", "address": str(5000 + n), "account": f"A-{n}"} for n in range(50)]
    async with site.running() as gateway:
        await site.all_read()
        before = picture(site)
        assert await taken(site, "accounts", list(people), "I-1") == {"accounts": 50, "changed": 50}
        assert await taken(site, "meters", houses, "I-2", "toml") == {"meters": 50, "changed": 50}
        await site.all_read()
        assert archived(site)["h49"] == ("l0", "5049", "A-49")
        head = gateway.store.read_now(lambda tx: tx.journal_end())
        assert await taken(site, "accounts", list(people), "I-3", "toml") == {"accounts": 50, "changed": 0}
        assert await taken(site, "meters", houses, "I-4") == {"meters": 50, "changed": 0}
        houses[7]["max_power_w"] = 9000
        assert await taken(site, "meters", houses, "I-5") == {"meters": 50, "changed": 1}
        assert gateway.store.read_now(lambda tx: tx.journal_end()) == head, "no opening twice"
        after = picture(site)
        assert {name: after[name] for name in before if name != "l0"} == {name: before[name] for name in before if name != "l0"}
        given = Imports(gateway, Life(gateway))
        assert {str(each["id"]): each for each in given.give("meters")} == {str(each["id"]): each for each in houses}
        assert len(given.give("accounts")) == 50


@pytest.mark.parametrize("kind", ["csv", "toml"])
async def test_a_file_with_errors_changes_nothing_and_names_each_where_it_stands(site_of: MakeSite, kind: str) -> None:
    site = site_of(1, 2)
    wrong: list[Raw] = [
        NEW | {"id": "h1"},
        NEW | {"id": "h2", "line": "l9", "address": "2002"},
        NEW | {"id": "h3", "address": "2003", "account": "A-7"},
        NEW | {"id": "h4", "address": "777"},
        NEW | {"id": "h5", "address": "2005", "profile": "nothing"},
    ]
    async with site.running() as gateway:
        await site.all_read()
        stood = (archived(site), gateway.stored)
        with pytest.raises(Wrong) as refused:
            await taken(site, "meters", wrong, kind=kind)
        at = {"csv": {2: (3, 1), 3: (4, 5), 4: (5, 2)}, "toml": {2: (8, 1), 3: (18, 1), 4: (22, 1)}}[kind]
        assert refused.value.errors == [
            f"meters.{kind}:{at[2][0]}:{at[2][1]}: meter h2: there is no line l9",
            f"meters.{kind}:{at[3][0]}:{at[3][1]}: meter h3: there is no account A-7",
            f"meters.{kind}:{at[4][0]}:{at[4][1]}: meter h4: address 777 on line l0 is already meter h1",
        ]
        doubled: list[Raw] = [wrong[0], NEW | {"id": "m0-0"}, wrong[0]]
        with pytest.raises(Wrong) as refused:
            await taken(site, "meters", doubled, kind=kind)
        said = "\n".join(refused.value.errors)
        assert (
            "h1 is there already, in line" in said and "meter m0-0 stands in the configuration file, with another address" in said
        )
        assert (archived(site), gateway.stored) == stood


async def test_openings_of_a_file_take_two_people(site_of: MakeSite) -> None:
    site = site_of(1, 1)
    async with site.running() as gateway:
        text = write_csv([{"id": "A-1", "currency": "CNY", "tariff": "flat", "opening": "10.00"}])
        form = ArchiveForm(id="I-1", reason="import", name="a.csv", format="csv", text=text)
        with pytest.raises(Refusal, match=r"1 accounts open with 10\.00 CNY: a second person .* it waits under I-1"):
            await Imports(gateway, Life(gateway)).take("accounts", form, act("I-1"))
        assert accounts(site) == {} and gateway.stored.accounts == {}
        site_now, now_ms = gateway.site(), gateway.clock.now_ms()
        yes = gateway.store.write_now(lambda tx: approve(tx, "I-1", "operator:wang", site_now, now_ms, ACTS))
        assert yes.refused is None
        other = form.model_copy(update={"text": text.replace("10.00", "99.00")})
        with pytest.raises(Refusal, match="known with another content"):
            await Imports(gateway, Life(gateway)).take("accounts", other, act("I-1", content="other"))
        await Imports(gateway, Life(gateway)).take("accounts", form, act("I-1"))
        assert gateway.store.read_now(lambda tx: tx.balance("customer:A-1", "CNY")) == 10_000_000
        assert gateway.store.read_now(lambda tx: tx.audit_rows(0, 99))[-1].data["second"] == "operator:wang"


# death


@pytest.mark.parametrize("committed", [False, True])
async def test_a_gateway_that_dies_in_the_middle_of_an_act_has_done_all_of_it_or_nothing(
    site_of: MakeSite, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    site = site_of(2, 2)
    async with site.running() as gateway:
        await site.all_read()
        write = gateway.write

        async def dies(usecase: Callable[..., object]) -> object:
            if committed:
                await write(usecase)
            raise Killed

        with monkeypatch.context() as patched, contextlib.suppress(Killed):
            patched.setattr(gateway, "write", dies)
            await opened(site, opening="20.00")
    async with site.running() as gateway:
        await site.all_read()
        assert (accounts(site) == {"A-9": False}) is committed and ("l0-777" in archived(site)) is committed
        assert ("000000000777" in [a for wire in site.wires["l0"][-1:] for a in wire.asked]) is committed
        told = await opened(site, opening="20.00")
        assert told["balance"] == "20.00" and gateway.store.read_now(lambda tx: tx.balance("customer:A-9", "CNY")) == 20_000_000
