"""Channels, contacts and no-cut calendars in a configuration: what is taken, and what is refused with which sentence."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from gateway.bootstrap.archive import archive_of
from gateway.bootstrap.calendars import calendars_of, ended_calendars, shipped
from gateway.bootstrap.examine import examine
from gateway.bootstrap.notices import LivePosts, posts_of
from gateway.domain.no_cut import BUILT_IN, NoCutCalendar, Window
from gateway.domain.notices import Contact, Hours, Reach
from gateway.settings import SettingsError, load

HEAD = '[gateway]\nid = "gw-1"\n'
ACCOUNT = (
    '[[tariff]]\nid = "flat"\ncurrency = "CNY"\nkind = "flat"\nprice = "0.617"\n'
    '[[account]]\nid = "A-1"\ncurrency = "CNY"\ntariff = "flat"\n'
)
CHANNEL = '[[notice_channel]]\nid = "sms"\nurl_file = "sms.url"\n'
CALENDAR = '[[no_cut_calendar]]\nid = "c"\n'


def secret(folder: Path, url: str = "json://127.0.0.1:9/?:to={to}", mode: int = 0o600) -> None:
    (folder / "sms.url").write_text(url)
    (folder / "sms.url").chmod(mode)


def written(folder: Path, text: str) -> Path:
    file = folder / "gateway.toml"
    file.write_text(HEAD + text)
    return file


def errors(folder: Path, text: str) -> list[str]:
    """What `check` refuses it for."""
    try:
        settings = load(written(folder, text))
    except SettingsError as problem:
        return [error.partition("gateway.toml: ")[2] for error in problem.errors]
    report = examine(settings, folder)
    return [*report.errors, *report.ended]


def test_a_channel_contacts_and_a_calendar_are_taken(tmp_path: Path) -> None:
    secret(tmp_path)
    contacts = 'contacts = [{channel = "sms", to = "+8613800138000"}, {channel = "paper"}]\nlanguage = "zh"\n'
    text = ACCOUNT + contacts + CHANNEL + 'hours = "08:00-20:00"\n' + CALENDAR + 'file = "cn-example"\n'
    assert errors(tmp_path, text) == []
    settings = load(tmp_path / "gateway.toml")
    archive = archive_of(settings, tmp_path)
    assert archive.accounts[0].account.reach == Reach((Contact("sms", "+8613800138000"), Contact("paper")), "zh")
    assert [calendar.id for calendar in archive.calendars or ()] == ["c"]
    assert settings.notice_channel[0].open_hours("Asia/Shanghai") == Hours(480, 1200, "Asia/Shanghai")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[[notice_channel]]\nid = "sms"\n', "notice_channel[0]: needs either url_file or url_env"),
        ('[[notice_channel]]\nid = "sms"\nurl = "json://x"\n', "notice_channel[0].url: is not a known key"),
        ('[[notice_channel]]\nid = "log"\nurl_file = "x"\n', "notice_channel[0]: log is built in"),
        (CHANNEL + 'hours = "20:00-08:00"\n', "are no hours of a day"),
        (CHANNEL + CHANNEL, "notice_channel sms: is there twice"),
        (CHANNEL, "sms.url: cannot be read: No such file or directory"),
        ('[[notice_channel]]\nid = "sms"\nurl_env = "HOME"\n', "url_env"),
        ('[[notice_channel]]\nid = "sms"\nurl_env = "WATTGATE_NOT_SET"\n', "the variable WATTGATE_NOT_SET is not set"),
        (ACCOUNT + 'contacts = [{channel = "sms", to = "1"}]\n', "account A-1: there is no notice_channel sms"),
        (ACCOUNT + 'contacts = [{channel = "sms"}]\n' + CHANNEL, "a contact on channel sms needs an address"),
        ('[notices]\ntexts = "nowhere"\n', "there is no such folder of texts"),
    ],
)
def test_what_is_wrong_with_a_channel_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    found = errors(tmp_path, text)
    assert len(found) == 1 and sentence in found[0], found


@pytest.mark.parametrize(
    ("url", "to", "sentence"),
    [
        ("nosuch://secret-key/{to}", "1", "channel sms: apprise does not understand its URL"),
        ("mailto://127.0.0.1:9?from=a@example.cn&to={to}", "nobody", "account A-1: channel sms: its URL does not take the address"),
    ],
)
def test_a_url_or_an_address_that_nothing_could_be_sent_to(tmp_path: Path, url: str, to: str, sentence: str) -> None:
    secret(tmp_path, url)
    found = errors(tmp_path, ACCOUNT + f'contacts = [{{channel = "sms", to = "{to}"}}]\n' + CHANNEL)
    assert len(found) == 1 and sentence in found[0] and "secret-key" not in found[0]


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    secret(tmp_path, mode=0o644)
    assert "may be read by others; chmod 600 it" in errors(tmp_path, CHANNEL)[0]


def test_a_secret_may_stand_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATTGATE_SMS_URL", "json://127.0.0.1:9/?:to={to}")
    assert errors(tmp_path, '[[notice_channel]]\nid = "sms"\nurl_env = "WATTGATE_SMS_URL"\n') == []


def test_channels_follow_their_secrets_and_outlive_their_loss(tmp_path: Path) -> None:
    secret(tmp_path)
    settings = load(written(tmp_path, CHANNEL))
    posts = LivePosts(lambda: settings, tmp_path)
    first = posts()["sms"]
    assert posts()["sms"] is first
    (tmp_path / "sms.url").write_text("json://127.0.0.1:10/?:to={to}")
    second = posts()["sms"]
    assert second is not first
    (tmp_path / "sms.url").unlink()
    assert posts()["sms"] is second
    assert posts_of(load(written(tmp_path, "")), tmp_path) == {}


# calendars


def calendar(folder: Path, text: str) -> NoCutCalendar:
    settings = load(written(folder, CALENDAR + text))
    return calendars_of(settings.no_cut_calendar, folder, "Asia/Shanghai")[0]


DAY = 1440


@pytest.mark.parametrize(
    ("windows", "expected"),
    [
        (["Fri 12:00 - Mon 09:00"], [Window(4 * DAY + 720, 540)]),
        (["Mon-Thu 17:00-09:00"], [Window(d * DAY + 1020, (d + 1) * DAY + 540) for d in range(4)]),
        (["Sun 22:00-06:00"], [Window(6 * DAY + 1320, 360)]),
        (["00:00-06:00"], [Window(d * DAY, d * DAY + 360) for d in range(7)]),
        (["Sat-Sun 00:00-24:00"], [Window(5 * DAY, 6 * DAY), Window(6 * DAY, 7 * DAY)]),
        (["Sat-Mon 10:00-11:00"], [Window(d * DAY + 600, d * DAY + 660) for d in (5, 6, 0)]),
        (["Mon-Thu 17:00-09:00", "fri 12:00-mon 09:00"], list(BUILT_IN)),
    ],
)
def test_windows_as_people_write_them(tmp_path: Path, windows: list[str], expected: list[Window]) -> None:
    assert list(calendar(tmp_path, f'windows = {windows}\nvalid_to = "2099-12-31"\n').windows) == expected


def test_days_may_be_written_as_spans(tmp_path: Path) -> None:
    text = 'days = ["2026-12-30/2027-01-02", "2026-05-01"]\nworkdays = ["2027-01-03"]\nvalid_to = "2099-12-31"\n'
    found = calendar(tmp_path, text + 'until_next_workday = "09:30"\n')
    assert found.days == ("2026-05-01", "2026-12-30", "2026-12-31", "2027-01-01", "2027-01-02")
    assert (found.workdays, found.until_next_workday_minute, found.zone) == (("2027-01-03",), 570, "Asia/Shanghai")


VALID = 'valid_to = "2099-12-31"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "needs valid_to, the last day that it knows"),
        ('valid_to = "2025-12-31"\n', "no_cut_calendar c: ended on 2025-12-31; load the next one"),
        ('days = ["2027-01-01"]\nvalid_to = "2026-12-31"\n', "lies before its last day"),
        (VALID + 'windows = ["Mon 08:00"]\n', "is no window; write one like Fri 12:00 - Mon 09:00"),
        (VALID + 'windows = ["Foo 08:00-09:00"]\n', "'Foo' is no day of the week"),
        (VALID + 'windows = ["Mon 25:00-09:00"]\n', "is no time of the day"),
        (VALID + 'windows = ["Mon 09:00-09:00"]\n', "begins where it ends"),
        (VALID + 'windows = ["Mon-Sun 00:00-24:00"]\n', "leave no minute of the week"),
        (VALID + 'days = ["2026-13-01"]\n', "is no date"),
        (VALID + 'days = ["2026-10-07/2026-10-01"]\n', "is no span of days"),
        (VALID + 'days = ["2026-10-01"]\nworkdays = ["2026-10-01"]\n', "is both a protected day and a workday"),
        (VALID + 'until_next_workday = "11"\n', "is no time of the day"),
        (VALID + 'zone = "Mars/Base"\n', "is no time zone"),
        ('file = "cn-example"\nzone = "Asia/Shanghai"\n', "a calendar in a file of its own has no zone here"),
        ('file = "nowhere"\n', "there is no calendar nowhere; write a path that ends with .toml, or one of cn-example, gb-example"),
        ('file = "nowhere.toml"\n', "cannot be read"),
    ],
)
def test_what_is_wrong_with_a_calendar_is_said(tmp_path: Path, text: str, sentence: str) -> None:
    found = errors(tmp_path, CALENDAR + text)
    assert len(found) == 1 and sentence in found[0], found


def test_a_policy_that_names_no_calendar_there_is_is_refused(tmp_path: Path) -> None:
    text = ACCOUNT + '[account.policy]\ncalendar = "gb"\n'
    assert errors(tmp_path, text) == ["account A-1: there is no no_cut_calendar gb"]


def test_a_file_of_ones_own_may_not_name_another(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('file = "cn-example"\n')
    assert "names another file" in errors(tmp_path, CALENDAR + 'file = "mine.toml"\n')[0]


def test_a_start_lives_with_a_calendar_that_has_ended(tmp_path: Path) -> None:
    settings = load(written(tmp_path, CALENDAR + 'valid_to = "2026-12-31"\n'))
    assert ended_calendars(settings, tmp_path, date(2026, 12, 31)) == []
    assert len(ended_calendars(settings, tmp_path, date(2027, 1, 1))) == 1
    assert examine(settings, tmp_path).errors == []


def test_the_shipped_calendars_name_their_source_and_can_be_used(tmp_path: Path) -> None:
    assert sorted(shipped()) == ["cn-example", "gb-example"]
    for name in shipped():
        settings = load(written(tmp_path, f'[[no_cut_calendar]]\nid = "{name}"\nfile = "{name}"\n'))
        [found] = calendars_of(settings.no_cut_calendar, tmp_path, "Etc/UTC")
        assert found.zone != "Etc/UTC" and len(found.days) > 15 and "source = " in shipped()[name].read_text("utf-8")
        weekend_work = [date.fromisoformat(day).weekday() for day in found.workdays]
        assert all(weekday >= 5 for weekday in weekend_work)
