"""Limits over the wire: read as bytes, written under the meter's password, refused where they cannot be."""

from __future__ import annotations

import pytest

from gateway.adapters.meter_links.dlt645_parameters import IDENTIFIERS, encoded
from gateway.domain.jobs import Answered, Failed, Fault, ParameterReadJob, ParametersSeen, ParameterWriteJob
from protocols.dlt645.identifiers import describe, read_fields
from protocols.errors import RequestError
from tests.gateway.adapters.meter_links.test_clock import Site, fault
from tests.simulation.virtual_loop import in_virtual_time

WRITE = 0x14
VALUES = (("trip_current_limit", 60_500), ("trip_guard_delay", 5), ("trip_delay", 3))


@pytest.mark.parametrize(
    ("name", "value", "wire"),
    [
        ("trip_current_limit", 60_500, "000506"),  # 060.500 A, lowest byte first
        ("trip_current_limit", 999_999, "999999"),
        ("trip_guard_delay", 5, "0500"),
        ("trip_delay", 1234, "3412"),
        ("balance_alarm_1", 2_050, "50200000"),  # 20.50 yuan
        ("hoarding_limit", 99_999_999, "99999999"),
    ],
)
def test_a_value_in_its_least_unit_is_what_stands_in_the_meter(name: str, value: int, wire: str) -> None:
    assert encoded(name, value).hex() == wire
    (field,) = read_fields(IDENTIFIERS[name], bytes.fromhex(wire))
    assert field.field.quantity == name


@pytest.mark.parametrize(
    ("name", "value"), [("trip_current_limit", 1_000_000), ("trip_delay", 10_000), ("trip_delay", -1), ("colour", 1)]
)
def test_what_does_not_fit_is_refused(name: str, value: int) -> None:
    with pytest.raises(RequestError):
        encoded(name, value)


def test_every_parameter_is_one_number_that_the_documents_name() -> None:
    for name, di in IDENTIFIERS.items():
        item = describe(di)
        assert item is not None and [field.quantity for field in item.fields] == [name]


async def seen(site: Site) -> ParametersSeen:
    outcome = await site.links["m"].perform(ParameterReadJob("m", VALUES))
    assert isinstance(outcome, Answered) and outcome.parameters is not None, outcome
    return outcome.parameters


@in_virtual_time
async def test_limits_are_read_written_and_read_back() -> None:
    site = await Site({"m": {}}).open()
    before = await seen(site)
    assert before.target == {"trip_current_limit": "000506", "trip_guard_delay": "0500", "trip_delay": "0300"}
    assert before.seen == {"trip_current_limit": "000000", "trip_guard_delay": "0000", "trip_delay": "0000"}
    for name, value in VALUES:
        assert isinstance(await site.links["m"].perform(ParameterWriteJob("m", name, value)), Answered)
    assert (await seen(site)).seen == before.target
    assert len(site.frames(WRITE)) == 3


@in_virtual_time
async def test_a_wrong_password_is_refused_and_changes_nothing() -> None:
    site = await Site({"m": {}}).open()
    site.book.digits = "000000"
    job = ParameterWriteJob("m", "trip_delay", 3)
    for _ in range(2):
        outcome = await site.links["m"].perform(job)
        assert fault(outcome) == (Fault.REFUSED, False)
        assert isinstance(outcome, Failed) and "password" in outcome.text
    assert fault(await site.links["m"].perform(job)) == (Fault.REFUSED, True)  # not a third time in a day
    assert (await seen(site)).seen["trip_delay"] == "0000"
    assert len(site.frames(WRITE)) == 2


@in_virtual_time
async def test_a_meter_that_has_no_such_parameter_says_so() -> None:
    site = await Site({"m": {}}).open()
    device = site.street.station("m").device
    assert device is not None
    get = device.parameters.get
    device.parameters.get = lambda di: None if di == IDENTIFIERS["trip_guard_delay"] else get(di)  # type: ignore[method-assign]
    assert (await seen(site)).seen == {"trip_current_limit": "000000", "trip_guard_delay": "", "trip_delay": "0000"}
