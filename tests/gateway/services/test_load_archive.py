"""The configuration enters by difference: what the rules know about accounts and meters stays (design.md 5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain import ledger
from gateway.domain.debt_terms import DebtTerms
from gateway.domain.limits import LimitMemory, LimitPhase, LimitState, LoadLimit
from gateway.domain.meters import Contact, Meter
from gateway.domain.price_list import Terms, Version
from gateway.domain.supply import Verb
from gateway.domain.tariff_change import ALWAYS, VersionHolds
from gateway.services.load_archive import Archive, Opening, load_archive
from gateway.services.ports import Tx
from tests.gateway.price_lists import flat
from tests.gateway.services.house import FLAT, POLICY, TWO_RATE, House, account, local, meter, yuan


def test_an_opening_balance_is_booked_once(house: House) -> None:
    house.settle(balance="12.34")
    assert house.balance() == "12.340000"
    for balance in ("12.34", "99", "0"):
        house.later(hours=1).settle(balance=balance)
        assert house.balance() == "12.340000"
    assert (len(house.do(lambda tx: tx.entries(0, 99))), house.verified()) == (1, None)


def test_a_debt_may_be_taken_over_and_nothing_is_no_entry(house: House) -> None:
    house.settle(meter(account="debtor"), accounts=[account("debtor")], balance="-3.50")
    house.settle(accounts=[account()], balance="0")
    assert (house.balance("debtor"), house.balance()) == ("-3.500000", "0.000000")
    assert (len(house.do(lambda tx: tx.entries(0, 99))), house.verified()) == (1, None)


def test_state_is_kept_and_settings_follow(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(Contact.OPEN)
    kept: dict[str, object] = {"protect_until_ms": 7, "limit_state": LimitState(LimitPhase.OVER, 5, 1)}

    def remember(tx: Tx) -> None:
        known = tx.account("A-1")
        assert known is not None
        tx.save_account(replace(known, **kept))  # type: ignore[arg-type]

    house.do(remember)
    before, meter_before = house.account(), house.meter()
    limit = LoadLimit(5, 5, 5, 5)
    changed = account(
        holder="Wang", policy=replace(POLICY, low_micro=1), limit=limit, agreement="new", never_cut=True, tariff="two-rate"
    )
    house.settle(meter(line="bus-2", switch_line="bus-2", settle_ms=9), accounts=[changed])
    now_ms = house.now_ms
    kept |= {"priced_since": "2026-11-24", "limit_memory": LimitMemory(changed_ms=now_ms, edge_ms=now_ms, due_ms=now_ms)}
    assert house.account() == replace(changed, credit="cut", warned_ms=before.warned_ms, standing=before.standing, **kept)  # type: ignore[arg-type]
    after = house.meter()
    assert (after.line, after.settle_ms) == ("bus-2", 9)
    for name in ("desired", "observed", "observed_ms", "cut_reasons"):
        assert getattr(after, name) == getattr(meter_before, name)


def test_what_has_not_changed_is_not_written(house: House) -> None:
    house.settle(balance="1")
    writes: list[str] = []

    class Watching:
        def __init__(self, tx: Tx) -> None:
            self._tx = tx

        def __getattr__(self, name: str) -> object:
            if name.startswith(("save", "add", "set")):
                writes.append(name)
            return getattr(self._tx, name)

    real = house.store.write_now
    house.store.write_now = lambda usecase: real(lambda tx: usecase(Watching(tx)))  # type: ignore[method-assign, assignment, arg-type]
    house.settle(balance="1")
    assert writes == []
    house.settle(meter(settle_ms=1), balance="1")
    assert writes == ["save_meter"]


def test_a_currency_is_for_ever(house: House) -> None:
    euro = flat(1, "euro", "EUR")
    house.settle(balance="1")
    with pytest.raises(ValueError, match="its currency cannot be changed to EUR"):
        house.settle(accounts=[account(currency="EUR", tariff="euro", holder="Wang")], tariffs=[FLAT, TWO_RATE, euro])
    assert (house.account().currency, house.account().holder) == ("CNY", "Li Wei")  # all or nothing


def test_a_new_price_counts_from_the_next_midnight_on(house: House) -> None:
    house.settle(balance="100").exhaust(total="1.00")
    assert house.balance() == "99.500000"
    house.events()
    house.settle(tariffs=[flat(1_000_000), TWO_RATE])
    [event] = house.events()
    assert (event.kind, event.data) == ("tariff_changed", {"tariff": "flat", "version": "2026-11-25", "from_day": "2026-11-25"})
    house.later(minutes=1).block(total="2.00")
    assert house.balance() == "99.000000"
    house.now_ms = local("2026-11-25 00:00")
    house.block(total="3.00")
    house.later(hours=1).block(total="4.00")
    assert (house.balance(), house.verified()) == ("97.500000", None)
    house.settle(tariffs=[flat(1_000_000), TWO_RATE])
    assert house.kinds() == []


def test_a_price_may_change_at_once_as_long_as_nobody_was_priced_by_it(house: House) -> None:
    house.settle(balance="100")
    house.settle(tariffs=[flat(1_000_000), TWO_RATE]).exhaust(total="1.00")
    assert (house.balance(), "tariff_changed" in house.kinds()) == ("99.000000", False)


def test_a_price_that_is_taken_back_before_it_counts_never_does(house: House) -> None:
    house.settle(balance="100").exhaust(total="1.00")
    for micro in (1_000_000, 2_000_000, 500_000):
        house.settle(tariffs=[flat(micro), TWO_RATE])
    assert house.do(lambda tx: tx.price_list("flat")) == FLAT


def test_a_version_that_has_begun_is_for_ever(house: House) -> None:
    house.settle(balance="100").exhaust(total="1.00")

    def dated(micro: int, day: str) -> Version:
        return replace(flat(micro).versions[0], id=day, from_day=day)

    begun = FLAT.versions[0]
    for versions, sentence in (
        ((dated(1, "2026-11-24"),), "version 2026-11-24 begins on 2026-11-24, when others held; let a new version begin on "),
        ((dated(1, ALWAYS), dated(2, "2027-01-01")), "version 1970-01-01 holds since 1970-01-01 and cannot be changed; add "),
    ):
        with pytest.raises(VersionHolds, match=sentence):
            house.settle(tariffs=[replace(FLAT, versions=versions), TWO_RATE])
    to_come = dated(2, "2026-12-01")
    house.settle(tariffs=[replace(FLAT, versions=(to_come,)), TWO_RATE])
    known = house.do(lambda tx: tx.price_list("flat"))
    assert known is not None and known.versions == (begun, to_come)
    with pytest.raises(VersionHolds, match="tariff flat: its zone cannot be changed"):
        house.settle(tariffs=[replace(FLAT, zone="Asia/Colombo"), TWO_RATE])


def test_a_tariff_prices_an_account_since_it_changed_to_it(house: House) -> None:
    agreed = account("A-2", terms=Terms("2020-05-01", 4))
    house.settle(accounts=[account(), agreed])
    assert [house.account(name).terms_for("flat") for name in ("A-1", "A-2")] == [Terms(), Terms("2020-05-01", 4)]
    house.later(hours=24).settle(accounts=[account(), replace(agreed, tariff="two-rate")])
    assert house.account("A-2").terms_for("two-rate") == Terms("2026-11-25", 4)
    house.later(hours=24).settle(accounts=[account(), replace(agreed, tariff="two-rate")])
    assert house.account("A-2").terms_for("two-rate") == Terms("2026-11-25", 4)


def test_a_debt_is_taken_over_once(house: House) -> None:
    owing = Opening(account(debt=DebtTerms("signed 2026-01-01", 200, "2025-12-31")), yuan("5"), yuan("120"))
    for micro in (yuan("120"), yuan("99")):
        archive = Archive([FLAT], [replace(owing, debt_micro=micro)], [meter()])
        house.do(lambda tx, archive=archive: load_archive(tx, archive, house.site, house.now_ms))  # type: ignore[misc]
    assert house.do(lambda tx: tx.balance(ledger.debt("A-1"), "CNY")) == -yuan("120")
    assert (house.balance(), house.account().debt, house.verified()) == ("5.000000", owing.account.debt, None)


def test_a_waiting_command_follows_its_switch_to_another_line(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(Contact.OPEN)
    house.topup("10.00")
    house.settle(meter(line="bus-2", switch_line="bus-2"))
    assert [c.line for c in house.open()] == ["bus-2"]
    assert house.do(lambda tx: tx.open_commands(line="bus-1")) == []


def test_a_meter_that_is_gone_no_longer_speaks_for_its_account(house: House) -> None:
    house.settle(meter("m1"), meter("m2"), balance="1").exhaust()  # m2 never gave a reading
    assert house.kinds()[-1] == "cut_held"
    house.settle(meter("m1"))
    assert (house.meter("m2").account, house.meter("m1").account) == (None, "A-1")
    house.later(minutes=1).block(total="10.00")
    assert house.relay() == "open (credit:energy_debt), seen closed"


@pytest.mark.parametrize("after", [(meter("m2"),), (meter("m1", account=None),), (meter("m1", account="A-2"),)])
def test_a_meter_that_leaves_its_account_does_not_stay_dark_for_it(house: House, after: tuple[Meter, ...]) -> None:
    two = [account(limit=LoadLimit(2000, 0, 10**9, 0)), account("A-2")]
    house.settle(meter("m1"), accounts=two, balance="1").exhaust()
    for _ in range(2):
        house.later(s=1).read(power="5.000", contact=Contact.CLOSED)
    house.carry_out(Contact.OPEN)
    house.order(Verb.CUT, "theft_by_two_people")
    house.carry_out(Contact.OPEN)
    assert house.relay() == "open (credit:energy_debt, limit:safety, operator:theft_by_two_people), seen open"
    house.settle(*after, accounts=two)
    assert house.relay() == "open (operator:theft_by_two_people), seen open"  # a person's stays, for a person to lift
    house.order(Verb.RESTORE, id="O-2")
    assert [c.meter for c in house.open()] == ["m1"]


def test_a_meter_that_leaves_an_indebted_account_is_lit(house: House) -> None:
    house.settle(balance="1").exhaust()
    house.carry_out(Contact.OPEN)
    house.settle(meter(account=None))
    assert [f"{c.verb} {c.state}" for c in house.open()] == ["allow_close queued"]
    assert house.relay() == "closed, seen open"


def test_money_of_the_archive_is_exact() -> None:
    assert yuan("12.345678") == 12_345_678
