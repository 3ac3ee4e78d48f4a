"""A calendar that ends is told of in time, and what ended frees nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

from gateway.domain.events import EventKind
from gateway.domain.findings import FindingKind
from gateway.domain.no_cut import BUILT_IN, NoCutCalendar
from gateway.services.load_archive import Archive, load_archive
from gateway.services.watch_calendars import calendars_due, load_calendars, watch_calendars
from tests.gateway.services.house import POLICY, House, account, local

ENDS = date(2027, 3, 1)
CALENDAR = NoCutCalendar("cn", "Asia/Shanghai", BUILT_IN, ("2027-02-06",), ENDS.isoformat(), 540, ("2027-02-13",))
NEXT = replace(CALENDAR, valid_to="2028-03-01")


def at(house: House, days_before: int, clock: str = "10:00") -> House:
    house.now_ms = local(f"{(ENDS - timedelta(days=days_before)).isoformat()} {clock}")
    return house


def look(house: House) -> None:
    """As the upkeep does: a write only where something is due."""
    if house.do(lambda tx: calendars_due(tx, house.now_ms)):
        house.do(lambda tx: watch_calendars(tx, house.now_ms))


def findings(house: House) -> dict[FindingKind, str]:
    return {each.kind: each.text for each in house.do(lambda tx: tx.findings())}


def told(house: House) -> list[tuple[str, object]]:
    kinds = (EventKind.FINDING_OPENED, EventKind.FINDING_CLOSED)
    seen = reversed(house.do(lambda tx: tx.events(100)))
    return [(each.event.kind.value, each.event.data["finding"]) for each in seen if each.event.kind in kinds]


def test_told_of_at_60_days_again_at_14_and_when_it_has_ended(house: House) -> None:
    house.settle()
    house.do(lambda tx: load_calendars(tx, [CALENDAR]))
    look(at(house, 61))
    assert findings(house) == {}
    for days in (60, 59, 30, 15):
        look(at(house, days))
        assert findings(house) == {FindingKind.CALENDAR_ENDING: "calendar cn ends on 2027-03-01: load the next one"}
    assert told(house) == [("finding_opened", "calendar_ending")]
    for days in (14, 13, 1, 0):
        look(at(house, days, "23:59"))
    assert told(house) == [("finding_opened", "calendar_ending")] * 2 and len(findings(house)) == 1
    since_ms = house.do(lambda tx: tx.findings())[0].since_ms
    assert since_ms == local(f"{(ENDS - timedelta(days=60)).isoformat()} 10:00"), "told again, and stands since the first time"
    look(at(house, -1, "00:00"))
    assert findings(house) == {
        FindingKind.CALENDAR_ENDED: "calendar cn ended on 2027-03-01: the built-in no-cut hours hold until the next is loaded"
    }
    house.do(lambda tx: load_calendars(tx, [NEXT]))
    look(house)
    assert findings(house) == {} and told(house)[-1] == ("finding_closed", "calendar_ended")


def test_looking_again_writes_nothing(house: House) -> None:
    house.settle()
    house.do(lambda tx: load_calendars(tx, [CALENDAR]))
    look(at(house, 10))
    assert not house.do(lambda tx: calendars_due(tx, house.now_ms))


def test_a_calendar_that_an_account_names_and_nobody_has_is_a_finding(house: House) -> None:
    house.settle(accounts=[account(policy=replace(POLICY, calendar="gb"))])
    look(house)
    assert findings(house) == {
        FindingKind.CALENDAR_ENDED: "there is no calendar gb, which accounts name: the built-in no-cut hours hold for them"
    }
    house.do(lambda tx: load_calendars(tx, [replace(NEXT, id="gb")]))
    look(house)
    assert findings(house) == {}


def test_calendars_follow_the_configuration(house: House) -> None:
    house.settle()

    def load(*calendars: NoCutCalendar) -> list[NoCutCalendar]:
        house.do(lambda tx: load_archive(tx, Archive([], [], [], None, calendars), house.site, house.now_ms))
        return list(house.do(lambda tx: tx.no_cut_calendars()))

    other = replace(CALENDAR, id="gb", zone="Europe/London")
    assert load(CALENDAR, other) == [CALENDAR, other]
    assert load(NEXT) == [NEXT]
    house.do(lambda tx: load_archive(tx, Archive([], [], []), house.site, house.now_ms))
    assert house.do(lambda tx: tx.no_cut_calendar("cn")) == NEXT, "who says nothing about calendars leaves them"
