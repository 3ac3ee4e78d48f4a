"""An archive that is put into a store: all kinds of tables in one transaction, or none of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import pytest

from gateway.domain.jobs import Want
from gateway.domain.life import Act, Filing, FilingKind, ImportArchive, Refusal
from gateway.domain.no_cut import NoCutCalendar, Window
from gateway.domain.readings import Source
from gateway.domain.schemes import Scheme
from gateway.domain.tariff_change import ALWAYS
from gateway.services import spend_budget
from gateway.services.acts import Answer
from gateway.services.filings import filings, keep_filings
from gateway.services.import_archive import import_archive
from gateway.services.ports import Site, Tx
from tests.gateway.price_lists import flat
from tests.gateway.services.house import AnyStore, House, account, meter

SITE, NOW_MS = Site("gw-1", "Asia/Shanghai", clock_trusted=True), 1_795_000_000_000
DAILY = Scheme("daily", Want.DAY, "5 0 * * *", 3_600_000, 0, 1, 3, 9_900, {"m1": Source.LIVE})
HOURLY = replace(DAILY, id="hourly", want=Want.CURVE, step_ms=3_600_000)
CALENDAR = NoCutCalendar("winter", "Asia/Shanghai", (Window(0, 60),), ("2026-12-25",), "2027-01-31")


def act(ident: str) -> Act:
    return Act(ident, "uplink:c-1", "so the centre has it", ident, "uplink:c-1")


def put(store: AnyStore, order: ImportArchive, kept: Sequence[Filing] = ()) -> Answer:
    def usecase(tx: Tx) -> Answer:
        answer = import_archive(tx, order, SITE, NOW_MS)
        keep_filings(tx, kept)
        return answer

    return store.write_now(usecase)


def whole(ident: str, price: int = 500_000) -> ImportArchive:
    return ImportArchive(
        act(ident),
        ((account(tariff="home"), 0, 0),),
        (meter(),),
        tariffs=(flat(price, "home"),),
        schemes=(DAILY, HOURLY),
        calendars=(CALENDAR,),
        version="v7",
    )


def billed(store: AnyStore) -> House:
    """1 kWh of 0.50 was billed by the tariff `flat`."""
    house = House(store).settle(balance="100")
    house.block(total="100.00")
    house.later(minutes=1).block(total="101.00")
    house.kinds()
    return house


def prices(house: House) -> list[tuple[str, list[int]]]:
    tariff = house.do(lambda tx: tx.price_list("flat"))
    assert tariff is not None
    return [(version.from_day, [*version.seasons[0].prices.values()]) for version in tariff.versions]


class ImportContract:
    """Part of what every store must do."""

    def test_tables_of_all_kinds_enter_and_say_what_version_they_are(self, store: AnyStore) -> None:
        kept = [Filing(kind, "x", '{"id": "x"}') for kind in (FilingKind.TARIFF, FilingKind.SCHEME, FilingKind.CALENDAR)]
        told = put(store, whole("I-1"), kept)
        assert told == {"accounts": 1, "meters": 1, "removed": 0, "tariffs": 1, "calendars": 1}
        assert put(store, whole("I-1"), kept) == told
        assert store.write_now(lambda tx: tx.price_list("home")) == flat(500_000, "home")
        assert store.write_now(lambda tx: [*tx.schemes()]) == [DAILY, HOURLY]
        assert store.write_now(lambda tx: [*tx.no_cut_calendars()]) == [CALENDAR]
        assert store.write_now(lambda tx: {each.kind for each in filings(tx)}) == {each.kind for each in kept}
        row = store.write_now(lambda tx: tx.audit_rows(0, 99))[-1]
        assert (row.who, row.act, row.data["version"], row.data["tariffs"]) == ("uplink:c-1", "import_archive", "v7", "1")

    def test_what_is_not_named_stays_and_a_scheme_that_is_gone_expects_nothing(self, store: AnyStore) -> None:
        put(store, whole("I-1"))
        put(store, ImportArchive(act("I-2"), tariffs=(flat(1, "other"),), calendars=(replace(CALENDAR, id="summer"),)))
        assert store.write_now(lambda tx: [*tx.schemes()]) == [DAILY, HOURLY]
        assert store.write_now(lambda tx: [c.id for c in tx.no_cut_calendars()]) == ["summer", "winter"]
        put(store, ImportArchive(act("I-3"), schemes=(DAILY,)))
        assert store.write_now(lambda tx: [*tx.schemes()]) == [DAILY]
        assert store.write_now(lambda tx: tx.price_list("home")) == flat(500_000, "home")

    def test_a_price_that_was_billed_goes_on_with_a_version_of_tomorrow(self, store: AnyStore) -> None:
        house = billed(store)
        for ident in ("I-2", "I-3"):
            order = ImportArchive(act(ident), tariffs=(flat(900_000),))
            house.do(partial(import_archive, order=order, site=house.site, now_ms=house.now_ms))
        assert prices(house) == [(ALWAYS, [500_000]), ("2026-11-25", [900_000])]
        of = house.account()
        assert house.do(lambda tx: spend_budget._changed_by(tx, of, house.site, house.now_ms)) == "uplink:c-1"
        assert house.kinds().count("tariff_changed") == 1

    def test_a_version_that_was_billed_is_not_rewritten_and_nothing_else_enters(self, store: AnyStore) -> None:
        house = billed(store)
        old = replace(flat(900_000), versions=(replace(flat(900_000).versions[0], from_day="2026-11-01", id="2026-11-01"),))
        order = replace(whole("I-2"), tariffs=(flat(7, "new"), old), openings=((account("A-2"), 0, 0),))
        before = house.do(lambda tx: (tx.accounts(), tx.audit_end(), tx.journal_end(), tx.outbox_state()))
        with pytest.raises(Refusal, match="version 2026-11-01 begins on 2026-11-01, when others held"):
            house.do(lambda tx: import_archive(tx, order, house.site, house.now_ms))
        assert house.do(lambda tx: (tx.accounts(), tx.audit_end(), tx.journal_end(), tx.outbox_state())) == before
        assert (prices(house), house.do(lambda tx: tx.price_list("new"))) == ([(ALWAYS, [500_000])], None)
        assert house.do(lambda tx: ([*tx.schemes()], [*tx.no_cut_calendars()])) == ([], [])
