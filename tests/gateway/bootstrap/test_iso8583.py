"""What a configuration says of partners on ISO 8583 lines, and what is wrong with it before anything starts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gateway.bootstrap.iso8583 import faults, keys_of, listeners, table_of
from gateway.settings import Settings, SettingsError
from gateway.settings.bank import Bank
from gateway.settings.iso8583 import Iso8583
from tests.gateway.adapters.iso8583_line import Line, settle
from tests.gateway.services.memory_tx import MemoryStore
from tests.protocols.bank.tables import CONFIG, KEY, shipped

NOW_MS = 1_795_233_600_000  # 2026-11-21


def settings_of(**entry: object) -> Settings:
    values: dict[str, object] = {"partner": "icbc", "listen": "127.0.0.1:0", "key_file": "mac.key", **entry}
    bank = Bank(iso8583=[Iso8583.model_validate(values)])
    return Settings.model_construct(bank=bank)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    secret(tmp_path / "mac.key", KEY.hex())
    return tmp_path


def secret(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_partner_is_ready_and_its_port_is_taken(folder: Path) -> None:
    store = MemoryStore()
    settle(store)
    assert faults(settings_of(), folder, NOW_MS) == []
    [listener] = listeners(Line(store), settings_of(), folder, lambda: 0, lambda: None, {})
    assert listener.port > 0 and listener.accepting and listener.partner.bank == "icbc"
    listener.close()
    assert not listener.accepting


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"listen": "0.0.0.0:8583", "key_file": None}, "must be on loopback"), ({"listen": "8583"}, "no address to listen on"),
        ({"peers": []}, "at least 1 item"), ({"peers": ["bank.example"]}, "no address or network"),
        ({"institutions": ["x"]}, "pattern"), ({"idle_s": 1}, "greater"), ({"most_connections": 65}, "less"),
        ({"more": 1}, "Extra"), ({"zone_key_file": "z", "key_file": None}, "stands in key_file"),
        ({"certificate": "c.pem"}, "belong together"), ({"client_ca": "ca.pem"}, "wants TLS"),
        ({"client_certificate": "icbc"}, "nobody is asked for one"),
        ({"listen": "0.0.0.0:8583", "key_file": None, "certificate": "c.pem", "key": "c.key"}, "or ask for the partner's certif"),
    ],
)  # fmt: skip
def test_a_wrong_entry_is_refused(entry: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        settings_of(**entry)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"table": "nowhere.toml"}, "cannot be read"),
        ({"key_file": None}, "key_file is missing: table iso8583-ascii has MACs by sm4-ecb"),
        ({"key_file": "none"}, "cannot be read"), ({"key_file": "short"}, "line 1: a key for sm4-ecb has 16 bytes, not 8"),
        ({"key_file": "words"}, "line 2: is no key in hex"), ({"key_file": "empty"}, "holds no key"),
        ({"key_file": "open"}, "chmod 600"),
        ({"table": "broken.toml"}, "broken.toml"), ({"table": "half.toml"}, "half.toml: "),
    ],
)  # fmt: skip
def test_check_says_what_is_wrong_with_tables_and_keys(folder: Path, entry: dict[str, object], says: str) -> None:
    secret(folder / "short", "0011223344556677")
    secret(folder / "words", f"{KEY.hex()}\nsecret words\n")
    secret(folder / "empty", "\n")
    secret(folder / "open", KEY.hex(), 0o644)
    (folder / "broken.toml").write_text("[[")
    (folder / "half.toml").write_text('name = "half"\n')
    [fault] = faults(settings_of(**entry), folder, NOW_MS)
    assert fault.startswith("bank.iso8583[0]: ") and says in fault
    assert KEY.hex() not in fault and "secret words" not in fault


def test_without_a_mac_only_loopback_is_listened_on(folder: Path) -> None:
    text = (CONFIG / "iso8583-ascii.toml").read_text().replace('"sm4-ecb"', '"none"')
    (folder / "open.toml").write_text(text)
    assert faults(settings_of(table="open.toml", key_file=None), folder, NOW_MS) == []
    [fault] = faults(settings_of(table="open.toml", listen="0.0.0.0:8583"), folder, NOW_MS)
    assert "no MAC, and the listener must be on loopback" in fault


def test_two_entries_share_neither_partner_nor_port(folder: Path) -> None:
    entry = Iso8583(partner="icbc", listen="127.0.0.1:8583", key_file="mac.key")
    both = Settings.model_construct(bank=Bank(iso8583=[entry, entry]))
    assert [fault.partition(": ")[2] for fault in faults(both, folder, NOW_MS)] == [
        "partner icbc stands there twice", "listen 127.0.0.1:8583 stands there twice",
    ]  # fmt: skip


async def test_keys_are_read_anew_when_their_file_changes_and_kept_while_it_is_broken(folder: Path) -> None:
    store = MemoryStore()
    settle(store)
    line = Line(store)
    [listener] = listeners(line, settings_of(), folder, line.now, lambda: None, {})
    listener.close()
    line.partner = listener.partner
    new = bytes(range(16))

    async def code(key: bytes) -> str:
        answer = await line.partner.answer(line.codec.encode(line.payment(), key))
        assert answer is not None
        return line.codec.decode(answer).message.get(39)

    def rewrite(text: str, at_ns: int) -> None:
        secret(folder / "mac.key", text)
        os.utime(folder / "mac.key", ns=(at_ns, at_ns))

    assert [await code(KEY), await code(new)] == ["00", "A0"]
    rewrite(f"{new.hex()}\n{KEY.hex()}\n", 1)
    assert [await code(KEY), await code(new)] == ["00", "00"]
    rewrite("not a key", 2)
    assert [await code(KEY), await code(new)] == ["00", "00"]
    rewrite(new.hex(), 3)
    assert [await code(KEY), await code(new)] == ["A0", "00"]


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIG.glob("iso8583-*.toml")))
def test_shipped_tables_load(name: str, tmp_path: Path) -> None:
    assert table_of(name, tmp_path).name == name


def test_a_table_of_a_megabyte_is_none(tmp_path: Path) -> None:
    (tmp_path / "big.toml").write_text("#" * 300_000)
    with pytest.raises(SettingsError, match="is no table of a partner"):
        table_of("big.toml", tmp_path)
    with pytest.raises(SettingsError, match="chmod 600"):
        keys_of(secret(tmp_path / "key", KEY.hex(), 0o640), shipped())
