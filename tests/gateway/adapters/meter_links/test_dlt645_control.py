"""Alarm and protection over the wire: what the meter obeys, what it shows, and who cannot be told at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.adapters.meter_links.dlt645_link import Dlt645Link
from gateway.adapters.meter_links.modbus_link import ModbusLink
from gateway.adapters.profiles import profile
from gateway.domain.jobs import Answered, ControlJob, ControlReadJob, Failed, Fault
from gateway.domain.signs import SignsSeen
from gateway.domain.supply import Verb
from protocols.profile_file import parse_profile
from protocols.profiles import ProfileError
from tests.gateway.adapters.meter_links.test_clock import Site, fault
from tests.simulation.virtual_loop import in_virtual_time

CONTROL = 0x1C
LOOK = ControlReadJob("m", "c")


def order(site: Site, verb: Verb) -> ControlJob:
    return ControlJob("m", "c", verb, site.clock.now_ms() + 60_000)


async def look(link: Dlt645Link) -> tuple[bool | None, bool | None]:
    outcome = await link.perform(LOOK)
    assert isinstance(outcome, Answered) and isinstance(outcome.signs, SignsSeen), outcome
    return outcome.signs.alarm, outcome.signs.protect


def with_signs(site: Site, signs: tuple[str, ...] = ("alarm", "protect"), status: tuple[str, ...] = ("04000503",)) -> Dlt645Link:
    model = profile("dlt645-single")
    assert model.dlt645 is not None
    other = replace(model, dlt645=replace(model.dlt645, signs=signs, status=status))
    return Dlt645Link(site.driver, "m", site.address("m"), other, clock=site.clock, passwords=site.book)


@in_virtual_time
async def test_each_order_sets_its_own_bit_and_moves_no_switch() -> None:
    site = await Site({"m": {}}).open()
    link, meter = site.links["m"], site.meter("m")
    for verb, shows in (
        (Verb.ALARM, (True, False)),
        (Verb.PROTECT, (True, True)),
        (Verb.ALARM_OFF, (False, True)),
        (Verb.UNPROTECT, (False, False)),
    ):
        assert await link.perform(order(site, verb)) == Answered()
        assert await look(link) == (meter.alarm, meter.protect) == shows
        assert meter.relay.contact_closed
    assert len(site.frames(CONTROL)) == 4


@in_virtual_time
async def test_what_a_meter_has_no_bit_for_is_not_told_from_another_one() -> None:
    site = await Site({"m": {}}).open()
    await site.links["m"].perform(order(site, Verb.ALARM))
    assert await look(with_signs(site, signs=("protect",))) == (None, False)
    assert await look(with_signs(site, signs=())) == (None, None)
    assert await look(with_signs(site, status=())) == (None, None)
    asked = len(site.street.lines["rs"].sent)
    await look(with_signs(site, status=()))
    assert len(site.street.lines["rs"].sent) == asked, "there is nothing to ask for"


@in_virtual_time
async def test_two_refused_passwords_of_a_day_are_all() -> None:
    site = await Site({"m": {}}).open()
    site.book.digits = "000000"
    for _ in range(2):
        assert fault(await site.links["m"].perform(order(site, Verb.ALARM))) == (Fault.REFUSED, False)
    assert fault(await site.links["m"].perform(order(site, Verb.ALARM))) == (Fault.REFUSED, True)
    assert len(site.frames(CONTROL)) == 2 and not site.meter("m").alarm


@pytest.mark.parametrize("verb", [Verb.ALARM, Verb.ALARM_OFF, Verb.PROTECT, Verb.UNPROTECT])
@in_virtual_time
async def test_a_modbus_meter_is_sent_nothing(verb: Verb) -> None:
    site = await Site({"m": {}}).open()
    link = ModbusLink(site.driver, "m", 1, profile("acrel-ddsy1352"), clock=site.clock)
    sent = len(site.street.lines["rs"].sent)
    outcome = await link.perform(order(site, verb))
    assert outcome == Failed(Fault.REFUSED, f"meter m has no register by which it could be told: {verb}", certain=True)
    assert len(site.street.lines["rs"].sent) == sent


def test_a_profile_says_which_bits_its_meters_have() -> None:
    table: dict[str, object] = {
        "name": "x", "protocol": "dlt645-2007", "unconfirmed": ["all of it"],
        "dlt645": {"billing": ["0001FF00"], "authority": "02", "password_class": "control", "signs": ["alarm"]},
    }  # fmt: skip
    found = parse_profile(table)
    assert found.dlt645 is not None and found.dlt645.signs == ("alarm",)
    with pytest.raises(ProfileError, match="signs may hold alarm and protect"):
        parse_profile({**table, "dlt645": {**table["dlt645"], "signs": ["bell"]}})  # type: ignore[dict-item]
