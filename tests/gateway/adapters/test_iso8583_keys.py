"""A partner changes the key of its MACs over the line: what holds at each moment, replays, restarts, and a death in between."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.adapters.iso8583_partner import Partner
from gateway.adapters.store import Store
from gateway.bootstrap.iso8583 import keys_sent, keys_unsure, listeners
from gateway.services.ports import Tx, Unavailable
from gateway.settings import Settings
from gateway.settings.bank import Bank
from gateway.settings.iso8583 import Iso8583
from protocols.bank.iso8583 import Message
from protocols.bank.keywrap import check_value, wrap
from tests.gateway.adapters.iso8583_line import Line, network, settle
from tests.protocols.bank.tables import CONFIG, KEY

ZONE = bytes.fromhex("00112233445566778899aabbccddeeff")
FIRST, SECOND, THIRD = (bytes([number]) * 8 + bytes(range(8)) for number in (1, 2, 3))


class Site:
    """A partner with a zone key, its files in a folder and its books on disk."""

    def __init__(self, folder: Path, table: str = "iso8583-ascii") -> None:
        self.folder, self.table = folder, table
        for name, key in (("mac.key", KEY), ("zone.key", ZONE)):
            self.write(name, key)
        self.store = Store.open(str(folder / "store.sqlite3"), inline=True)
        settle(self.store)
        self.line = Line(self.store)
        self.restart()

    def write(self, name: str, *keys: bytes) -> None:
        path = self.folder / name
        path.write_text("\n".join(key.hex() for key in keys))
        path.chmod(0o600)
        at_ns = os.stat(path).st_mtime_ns + 1_000_000
        os.utime(path, ns=(at_ns, at_ns))

    def settings(self) -> Settings:
        entry = {
            "partner": "icbc",
            "listen": "127.0.0.1:0",
            "key_file": "mac.key",
            "zone_key_file": "zone.key",
            "table": self.table,
        }
        return Settings.model_construct(bank=Bank(iso8583=[Iso8583.model_validate(entry)]))

    def reopen(self) -> None:
        """Another process on the same store."""
        self.store = self.line.store = Store.open(str(self.folder / "store.sqlite3"), inline=True)
        self.restart()

    def restart(self) -> Partner:
        settings = self.settings()
        sent = self.store.read_now(lambda tx: keys_sent(tx, settings))
        unsure = self.store.read_now(lambda tx: keys_unsure(tx, settings))
        [listener] = listeners(self.line, settings, self.folder, self.line.now, lambda: None, {}, sent, unsure)
        listener.close()
        self.line.partner = self.partner = listener.partner
        self.line.codec = type(self.line.codec)(listener.partner.dialect)
        return self.partner

    async def say(self, message: Message, key: bytes | None) -> tuple[str | None, bytes | None]:
        """Field 39 of the answer, and which of the keys sealed it."""
        answer = await self.partner.answer(self.line.codec.encode(message, key))
        if answer is None:
            return None, None
        received = self.line.codec.decode(answer)
        return received.message.get(39), self.line.codec.sealed_by(received, [KEY, FIRST, SECOND, THIRD])

    async def echo(self, key: bytes) -> str | None:
        """What an echo under this key is answered; the answer is sealed with the same."""
        code, seal = await self.say(network("301"), key)
        assert code != "00" or seal == key
        return code

    async def valid(self) -> list[bytes]:
        """The keys that an inquiry is answered under; asked so that nothing is confirmed by it."""
        sent = self.partner._terms.sent
        assert sent is not None
        return list(sent.valid())

    def balance(self) -> int:
        return self.store.read_now(lambda tx: tx.balance("customer:A-1", "CNY")) // 10_000


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    with found.store:
        yield found


def brings(key: bytes, zone: bytes = ZONE, check: str | None = None, trace: int = 700) -> Message:
    """0800/161."""
    told = wrap("sm4-ecb", zone, key).hex().upper() + (check_value("sm4-ecb", key)[:6] if check is None else check)
    return network("161", trace, f48="KEY=" + told)


async def test_the_old_key_holds_until_the_new_one_is_used(site: Site) -> None:
    assert await site.say(brings(FIRST), KEY) == ("00", KEY), "answered in the key that asked"
    assert await site.valid() == [KEY, FIRST]
    assert await site.echo(KEY) == "00" and await site.say(site.line.payment(), KEY) == ("00", KEY)
    assert await site.say(site.line.payment(), FIRST) == ("00", FIRST)
    assert await site.valid() == [FIRST]
    assert await site.say(site.line.payment(), KEY) == ("A0", FIRST)
    assert site.balance() == 12_000
    assert await site.say(brings(SECOND), FIRST) == ("00", FIRST) and await site.echo(SECOND) == "00"
    assert [await site.echo(key) for key in (KEY, FIRST, SECOND)] == ["A0", "A0", "00"]
    assert site.partner.status(0, 0, {}).keys == {"taken": 2, "confirmed": 2}


async def test_a_repeat_is_answered_the_same_and_a_replay_is_refused(site: Site) -> None:
    for _ in range(2):
        assert await site.say(brings(FIRST), KEY) == ("00", KEY)
    assert await site.echo(FIRST) == "00"
    assert await site.say(brings(FIRST), FIRST) == ("00", FIRST), "asked again although it is in use: its answer was lost"
    assert await site.say(brings(SECOND), FIRST) == ("00", FIRST) and await site.echo(SECOND) == "00"
    assert await site.say(brings(FIRST), FIRST) == ("A0", SECOND), "the recorded message: its key is no more"
    assert await site.say(brings(FIRST), SECOND) == ("30", SECOND), "and no partner comes back to a key of before"
    assert await site.valid() == [SECOND]
    assert await site.say(brings(KEY), SECOND) == ("30", SECOND), "nor to that of the file"
    site.restart()
    assert await site.say(brings(FIRST), SECOND) == ("30", SECOND) and await site.valid() == [SECOND]


async def test_a_key_that_was_never_used_gives_way_to_the_next(site: Site) -> None:
    assert (await site.say(brings(FIRST), KEY))[0] == (await site.say(brings(SECOND), KEY))[0] == "00"
    assert await site.valid() == [KEY, SECOND]
    assert (await site.say(brings(FIRST), KEY))[0] == "30"
    assert await site.echo(SECOND) == "00" and await site.valid() == [SECOND]


@pytest.mark.parametrize(
    ("message", "key", "code"),
    [
        (brings(FIRST), None, "A0"), (brings(FIRST), THIRD, "A0"), (brings(FIRST), FIRST, "A0"),
        (brings(FIRST, check="000000"), KEY, "30"), (brings(FIRST, zone=THIRD), KEY, "30"), (network("161"), KEY, "30"),
        (network("161", f48="KEY=00"), KEY, "30"), (brings(FIRST, check="000000"), THIRD, "A0"),
    ],
)  # fmt: skip
async def test_a_key_without_its_mac_or_its_check_value_is_none(site: Site, message: Message, key: bytes | None, code: str) -> None:
    assert await site.say(message, key) == (code, KEY)
    assert await site.valid() == [KEY] and site.store.read_now(lambda tx: dict(tx.metas_of("iso8583_key"))) == {}


async def test_restarts_forget_nothing(site: Site) -> None:
    assert (await site.say(brings(FIRST), KEY))[0] == "00"
    site.restart()
    assert await site.valid() == [KEY, FIRST] and await site.echo(FIRST) == "00"
    site.restart()
    assert await site.valid() == [FIRST] and await site.echo(KEY) == "A0"


async def test_nothing_is_answered_before_it_is_on_the_disk(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(usecase: Callable[[Tx], object]) -> object:
        raise Unavailable("full")

    with monkeypatch.context() as broken:
        broken.setattr(site.line, "write", fail)
        assert await site.say(brings(FIRST), KEY) == (None, None) and await site.valid() == [KEY]
    assert await site.say(brings(FIRST), KEY) == ("00", KEY)
    with monkeypatch.context() as broken:
        broken.setattr(site.line, "write", fail)
        assert await site.say(network("301"), FIRST) == (None, None), "the change of keys is not written down"
        assert await site.valid() == [KEY, FIRST]
    assert await site.echo(FIRST) == "00" and await site.valid() == [FIRST]


async def test_a_file_that_is_changed_by_hand_has_the_last_word(site: Site) -> None:
    assert (await site.say(brings(FIRST), KEY))[0] == "00" and await site.echo(FIRST) == "00"
    site.write("mac.key", KEY)
    assert await site.valid() == [FIRST], "written again, and the same keys"
    site.write("mac.key", SECOND)
    assert await site.valid() == [SECOND] and await site.echo(SECOND) == "00"
    site.restart()
    assert await site.valid() == [SECOND]
    assert (await site.say(brings(THIRD), SECOND))[0] == "00" and await site.echo(THIRD) == "00"
    assert await site.valid() == [THIRD]


async def test_the_zone_s_key_changes_with_both_in_its_file(site: Site) -> None:
    assert (await site.say(brings(FIRST), KEY))[0] == "00" and await site.echo(FIRST) == "00"
    site.write("zone.key", THIRD, ZONE)
    assert await site.echo(FIRST) == "00"
    assert (await site.say(brings(SECOND, zone=THIRD), FIRST))[0] == "00" and await site.echo(SECOND) == "00"
    site.write("zone.key", KEY)
    assert await site.valid() == [] and (await site.say(network("301"), SECOND))[0] == "A0", "no key of before comes back"
    site.write("zone.key", THIRD)
    assert await site.echo(SECOND) == "00"


async def test_a_partner_that_seals_with_the_key_it_brings(tmp_path: Path) -> None:
    text = (
        (CONFIG / "iso8583-ascii.toml")
        .read_text()
        .replace('sealed_by = "old"', 'sealed_by = "new"')
        .replace("check = 6 ", "check = 0 ")
    )
    (tmp_path / "own.toml").write_text(text)
    site = Site(tmp_path, "own.toml")
    with site.store:
        assert await site.say(brings(FIRST, check=""), KEY) == ("A0", KEY)
        assert await site.say(brings(FIRST, check=""), FIRST) == ("00", FIRST)
        assert await site.valid() == [KEY, FIRST], "the message that brings it is not its first use"
        assert await site.echo(FIRST) == "00"
        assert await site.say(brings(SECOND, check=""), SECOND) == ("00", SECOND) and await site.echo(SECOND) == "00"
        assert await site.say(brings(FIRST, check=""), FIRST) == ("30", SECOND), (
            "recorded and sent again: it fits itself, and is known"
        )
        assert await site.valid() == [SECOND]


async def test_the_audit_log_tells_of_it_and_nothing_holds_a_key_in_the_clear(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (await site.say(brings(FIRST), KEY))[0] == "00" and await site.echo(FIRST) == "00"
    rows = site.store.read_now(lambda tx: [row for row in tx.audit_rows(0, 100) if row.act.endswith(("mac_key", "in_use"))])
    check = check_value("sm4-ecb", FIRST)[:6]
    assert [(row.who, row.act, row.subject, row.data["check"]) for row in rows] == [
        ("bank:icbc", "new_mac_key", "icbc", check), ("bank:icbc", "mac_key_in_use", "icbc", check),
    ]  # fmt: skip
    kept = json.dumps(site.store.read_now(lambda tx: dict(tx.metas_of("iso8583_"))))
    for secret in (KEY, ZONE, FIRST):
        assert secret.hex() not in kept.lower() and secret.hex().upper() not in capsys.readouterr().out


@pytest.mark.parametrize("where", ["before", "after"])
async def test_killed_between_the_disk_and_the_answer(site: Site, where: str) -> None:
    """The process dies with a new key written and not answered, or not even written: either way both sides find each other."""
    site.store.close()
    child = os.fork()
    if child == 0:
        try:
            asyncio.run(_dies(site, where))
        finally:
            os._exit(1)
    assert _ended(child) == 9
    site.reopen()
    assert await site.valid() == ([KEY, FIRST] if where == "after" else [KEY])
    assert await site.echo(KEY) == "00", "whoever heard nothing goes on as before"
    assert await site.say(brings(FIRST), KEY) == ("00", KEY), "and asks again"
    assert await site.echo(FIRST) == "00" and await site.valid() == [FIRST]


def _ended(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


async def _dies(site: Site, where: str) -> None:
    site.reopen()
    write = site.line.write

    async def killed(usecase: Callable[[Tx], object]) -> object:
        if where == "after":
            await write(usecase)
        os._exit(9)

    site.line.write = killed  # type: ignore[method-assign,assignment]
    await site.say(brings(FIRST), KEY)
