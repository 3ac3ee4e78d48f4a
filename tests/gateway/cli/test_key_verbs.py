"""`wattgate keys` and `wattgate audit`: two people add a key, one revokes it, and the log proves both, far from the gateway too."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

from protocols.uplink.signing import private_key, x_of
from tests.gateway.cli import test_users
from tests.gateway.cli.street import Ran
from tests.gateway.cli.test_users import Here, folder, here, running, shown

__all__ = ["folder", "here", "running"]


def bare(here: Here, *words: object) -> Ran:
    """A verb that needs no configuration."""
    with patch.object(test_users, "FILE", ()):
        return here(*words)


def story(here: Here) -> None:
    """The same beside a running gateway and without one."""
    (token,) = shown(here("users", "add", "wang", "--role", "approver"))
    made = bare(here, "keys", "new", "centre-1", "--out", "centre-1.jwk")
    assert made.code == 0 and "[[uplink_key]]" in made.out, made
    file = Path("centre-1.jwk")
    assert file.stat().st_mode & 0o777 == 0o600
    x = x_of(private_key(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k != "kid"}).encode()))
    assert f'public = "{x}"' in made.out
    bare(here, "keys", "new", "centre-1", "--out", "centre-1.jwk").refused("cannot be written")

    here("keys", "add", "centre-1", "--public", "A" * 43, "--verb", "explode").refused("verbs")
    here("keys", "add", "centre-1", "--public", x).refused("without verbs")
    here("keys", "add", "centre-1", "--public", x[:-1] + "p", "--verb", "cut").refused("public")
    asked = here("keys", "add", "centre-1", "--public", x, "--verb", "cut", "--meter", "bus-1-*", "--most-topup", "500.00")
    assert asked.code == 0 and "waits for a second person" in asked.out, asked
    ident = shown(asked)[0].partition(":")[0]
    assert shown(here("keys", "list")) == []
    assert here("approve", "yes", ident, token=token).code == 0
    assert [line.split("  ") for line in shown(here("keys", "list"))] == [["centre-1", "commands", "cut", "in force"]]
    assert here("keys", "revoke", "centre-1", token=token).code == 0
    here("keys", "revoke", "centre-1").refused("revoked already")
    assert "revoked" in shown(here("keys", "list", "--json"))[0]

    own = here("keys", "own")
    kid, _, key = own.out.strip().partition(" = ")
    said = json.loads(here("keys", "own", "--json").out)
    assert own.code == 0 and (said["kid"], json.dumps(said["x"])) == (kid, key) and "anchor_keys" in own.err, own

    clean = here("audit", "verify")
    assert clean.code == 0 and "rows, 0 anchors: clean" in clean.out, clean
    assert here("audit", "export", "--out", "log.jsonl").code == 0
    here("audit", "export", "--out", "log.jsonl").refused("is there already")


def test_keys_beside_a_running_gateway(here: Here, running: str) -> None:
    story(here)


def test_keys_where_no_gateway_runs(here: Here) -> None:
    story(here)
    lines = Path("log.jsonl").read_text().splitlines()
    acts = [json.loads(line)["row"]["act"] for line in lines if '"row"' in line]
    assert [act for act in acts if "key" in act] == ["uplink_key_added", "uplink_key_revoked"]
    for name, text, why in (("cut", lines[:-1], "stops at row"), ("none", ["what"], "is not JSON"), ("empty", [], "nothing in it")):
        Path(f"{name}.jsonl").write_text("\n".join(text))
        here("audit", "verify", "--export", f"{name}.jsonl").refused(why)
    assert "clean" in here("audit", "verify", "--export", "log.jsonl").out
