"""A restored backup has an older key of MACs than the partner: it is said, and the next key that comes leads out of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.adapters.http.partner_metrics import partner_metrics
from gateway.domain.findings import Finding, FindingKind
from gateway.services.ports import Unavailable
from gateway.services.reopen import hold_money
from protocols.bank.iso8583 import Message
from protocols.bank.keywrap import check_value
from tests.gateway.adapters.iso8583_line import NOON_MS, network
from tests.gateway.adapters.test_iso8583_keys import FIRST, SECOND, THIRD, Site, brings
from tests.protocols.bank.tables import CONFIG, KEY


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    with found.store:
        yield found


async def exchanged(site: Site, new: bytes, old: bytes) -> None:
    assert (await site.say(brings(new), old))[0] == "00" and await site.echo(new) == "00"


async def restored(site: Site) -> None:
    """FIRST held at the backup, SECOND holds at the partner."""
    file, kept = site.folder / "store.sqlite3", site.folder / "backup"
    await exchanged(site, FIRST, KEY)
    site.store.close()
    shutil.copy(file, kept)
    site.reopen()
    await exchanged(site, SECOND, FIRST)
    site.store.close()
    for each in site.folder.glob("store.sqlite3*"):
        each.unlink()
    shutil.copy(kept, file)
    site.reopen()
    site.store.write_now(lambda tx: hold_money(tx, "feedfeedfeedfeed", NOON_MS, NOON_MS))
    site.restart()


def finding(site: Site) -> Finding | None:
    return site.store.read_now(lambda tx: tx.finding(FindingKind.MAC_KEYS_LOST, "icbc"))


def lost(site: Site) -> float:
    [metric] = [each for each in partner_metrics([site.partner.status(0, 0, {})]) if each.name == "wattgate_iso8583_keys_lost"]
    return metric.samples[0].value


async def test_it_is_said_once_and_over_with_the_first_right_mac(site: Site) -> None:
    await restored(site)
    assert finding(site) is None and lost(site) == 0, "nothing was heard of it yet"
    with capture_logs() as said:
        assert [await site.echo(SECOND) for _ in range(3)] == ["A0"] * 3
    assert [each["event"] for each in said] == ["iso8583_keys_lost"] and said[0]["partner"] == "icbc"
    told = finding(site)
    assert told is not None and lost(site) == 1
    assert told.text == said[0]["text"] and "MACs of partner icbc fail since the restore" in told.text
    assert "have it send a new one (0800, key exchange)" in told.text
    site.restart()
    assert await site.echo(SECOND) == "A0" and await site.echo(FIRST) == "00"
    assert finding(site) is None and lost(site) == 0
    assert (await site.say(brings(THIRD), SECOND))[0] == "A0", "what is right has been heard: no way around the MAC any more"
    site.restart()
    assert (await site.say(brings(THIRD), SECOND))[0] == await site.echo(SECOND) == "A0" and finding(site) is None


async def test_the_next_key_is_taken_although_its_seal_is_forgotten(site: Site) -> None:
    await restored(site)
    heard = site.line.heard
    assert await site.echo(SECOND) == "A0"
    assert await site.say(brings(THIRD, trace=701), SECOND) == ("00", THIRD), "answered in the one that it brought"
    assert await site.say(brings(THIRD, trace=702), SECOND) == ("00", THIRD), "and again when it is repeated"
    site.restart()
    assert finding(site) is not None and await site.valid() == [FIRST, THIRD], "nobody has used it"
    assert site.line.heard == heard, "what has no right seal is no sign of life"
    assert await site.echo(THIRD) == "00" and await site.valid() == [THIRD]
    assert finding(site) is None and lost(site) == 0
    assert await site.echo(FIRST) == "A0" and (await site.say(brings(bytes(range(16, 32))), SECOND))[0] == "A0"
    acts = [each for each in site.store.read_now(lambda tx: tx.audit_rows(0, 100)) if each.act == "new_mac_key"]
    assert [dict(each.data) for each in acts][-1].get("sealed_by") == "a key that the restore took back"


async def test_the_key_that_the_partner_has_comes_back_by_its_own_message(site: Site) -> None:
    await restored(site)
    assert await site.say(brings(SECOND, trace=703), SECOND) == ("00", SECOND)
    assert await site.echo(SECOND) == "00" and finding(site) is None


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (brings(THIRD, check="000000"), "A0"),
        (brings(THIRD, zone=bytes(16)), "A0"),
        (brings(KEY), "30"),
        (network("301", 700), "A0"),
        (network("001", 700), "A0"),
    ],
    ids=["check value", "other zone", "of the file", "echo", "sign-on"],
)
async def test_nothing_else_comes_in_under_a_forgotten_key(site: Site, message: Message, code: str) -> None:
    await restored(site)
    assert (await site.say(message, SECOND))[0] == code
    assert await site.valid() == [FIRST]


async def test_without_a_long_check_value_there_is_no_way_around_the_mac(tmp_path: Path) -> None:
    text = (CONFIG / "iso8583-ascii.toml").read_text()
    (tmp_path / "own.toml").write_text(text.replace("check = 6 ", "check = 4 "))
    site = Site(tmp_path, "own.toml")
    short = [brings(key, check=check_value("sm4-ecb", key)[:4]) for key in (FIRST, SECOND, THIRD)]
    assert (await site.say(short[0], KEY))[0] == "00" and await site.echo(FIRST) == "00"
    site.store.write_now(lambda tx: hold_money(tx, "feedfeedfeedfeed", NOON_MS, NOON_MS))
    site.restart()
    assert (await site.say(short[2], SECOND))[0] == "A0"
    told = finding(site)
    assert told is not None and told.text.endswith("backup: write another key into key_file on both sides")
    assert (await site.say(short[2], FIRST))[0] == "00"
    site.store.close()


async def test_a_key_that_seals_itself_needs_no_way_around(tmp_path: Path) -> None:
    text = (CONFIG / "iso8583-ascii.toml").read_text()
    assert 'sealed_by = "old"' in text
    (tmp_path / "own.toml").write_text(text.replace('sealed_by = "old"', 'sealed_by = "new"'))
    site = Site(tmp_path, "own.toml")
    assert (await site.say(brings(FIRST), FIRST))[0] == "00" and await site.echo(FIRST) == "00"
    site.store.write_now(lambda tx: hold_money(tx, "feedfeedfeedfeed", NOON_MS, NOON_MS))
    site.restart()
    assert (await site.say(brings(THIRD), SECOND))[0] == "A0" and finding(site) is not None
    assert (await site.say(brings(THIRD), THIRD))[0] == await site.echo(THIRD) == "00" and finding(site) is None
    site.store.close()


async def test_a_store_that_was_never_restored_has_no_way_around_the_mac(site: Site) -> None:
    await exchanged(site, FIRST, KEY)
    site.restart()
    assert (await site.say(brings(THIRD), SECOND))[0] == "A0" and finding(site) is None and lost(site) == 0


async def test_a_key_by_hand_leads_out_too(site: Site) -> None:
    await restored(site)
    assert await site.echo(SECOND) == "A0" and finding(site) is not None
    site.write("mac.key", THIRD)
    assert await site.echo(THIRD) == "00" and finding(site) is None


async def test_what_could_not_be_written_down_is_said_the_next_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await restored(site)

    async def full(usecase: object) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as without:
        without.setattr(site.line, "write", full)
        assert await site.echo(SECOND) is None and lost(site) == 0
    assert await site.echo(SECOND) == "A0" and lost(site) == 1 and finding(site) is not None
