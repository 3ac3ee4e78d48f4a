"""The table of accounts for the banks' front: as the centre knows them, and no table at all before there are any."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from gateway.adapters.store import Store
from gateway.adapters.uplink_payloads import pseudonym
from gateway.cli.answers import Failure
from gateway.cli.app import app
from gateway.domain.meters import Account
from gateway.services.ports import Tx
from tests.gateway.services.house import FLAT, POLICY

CONFIG = '[gateway]\nid = "G1"\ndata = "data"\n'


def asked(folder: Path) -> tuple[str, Failure | None]:
    (folder / "gateway.toml").write_text(CONFIG)
    done = CliRunner().invoke(app, ["accounts", "pseudonyms", "-c", str(folder / "gateway.toml")])
    assert done.exception is None or isinstance(done.exception, Failure), done.exception
    return done.stdout, done.exception


def fill(tx: Tx) -> str:
    tx.save_price_list(FLAT)
    tx.save_account(Account("A1", "Li Wei", "CNY", "flat", POLICY))
    return tx.meta("pseudonym_key") or ""


def test_names_are_those_of_the_uplink(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with Store.open(str(tmp_path / "data" / "wattgate.db"), inline=True) as store:
        told, refused = asked(tmp_path)
        assert refused is not None and "run the gateway once" in refused.sentences[0] and told == ""
        secret = store.write_now(fill)
    told, refused = asked(tmp_path)
    name = pseudonym(bytes.fromhex(secret), "A1")
    assert (told, refused) == (f"account,gateway,pseudonym,currency,holder\nA1,G1,{name},CNY,L*****\n", None)


@pytest.mark.parametrize("there", (False, True))
def test_without_a_store_the_table_is_not_begun(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "data").mkdir()
    told, refused = asked(tmp_path)
    assert told == "" and refused is not None and "when it is first run" in refused.sentences[0]
