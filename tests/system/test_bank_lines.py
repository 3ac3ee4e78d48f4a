"""A bank that makes every trouble pays by HTTP and ISO 8583 while the gateway is killed: one credit for each payment, or none."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random, SystemRandom

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from firmware_sim.banking.book import PLANTED
from firmware_sim.banking.config import TROUBLES, BankConfig
from firmware_sim.banking.control import Desk
from gateway.adapters.identity import x_of
from tests.protocols.bank.tables import CONFIG, KEY, shipped
from tests.system.processes import Process, free_port, wattgate
from tests.system.proofs import balances, credited, finding, rows
from tests.system.stand import copy_store, tracebacks

SIGNS = Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32)
PEM = SIGNS.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
KID = "icbc-1"
BANK, ACCOUNTS = "icbc", ("A-1", "A-2", "A-3", "A-4")
KILLS, PROOF_KILLS = 4, 200
AT_A_TIME = 60  # payments that are ordered at once, so that all troubles come side by side
DURING_START = 0.2  # the share of kills that do not wait until the gateway is up
OPENING_MICRO = 20_000_000


class BankStand:
    """A gateway without meters, with both lines open to one bank; signed: the bank signs what it says by HTTP."""

    def __init__(self, folder: Path, *, signed: bool = False, accounts: Sequence[str] = ACCOUNTS) -> None:
        self.folder, self.data, self.signed, self.accounts = folder, folder / "data", signed, accounts
        self.http, self.iso = free_port(), free_port()
        self.config = folder / "gateway.toml"
        self.config.write_text("\n".join(self._lines()))
        for name, secret in (("mac.key", KEY.hex().encode()), ("bank.pem", PEM)):
            (folder / name).write_bytes(secret + b"\n")
            (folder / name).chmod(0o600)
        self.gateway = Process("gateway", "gateway", "run", "-c", self.config, "--ready", folder=folder)

    def _lines(self) -> list[str]:
        accounts = [
            f'[[account]]\nid = "{name}"\nholder = "{name}"\ncurrency = "CNY"\ntariff = "flat"\nopening = "20.00"\n'
            for name in self.accounts
        ]
        return [
            '[gateway]\nid = "G1"\ndata = "data"\n[store]\nreserve_mib = 8\n[clock]\nsource = "vouched"\n',
            f'[http]\nlisten = "127.0.0.1:{self.http}"\nopen_get = true\n',
            f'[[bank.iso8583]]\npartner = "{BANK}"\nlisten = "127.0.0.1:{self.iso}"\nkey_file = "mac.key"\n',
            *self._signatures(),
            '[[tariff]]\nid = "flat"\ncurrency = "CNY"\nkind = "flat"\nprice = "0.617"\n',
            *accounts,
        ]

    def _signatures(self) -> list[str]:
        if not self.signed:
            return []
        rights = '["query", "topup", "reversal", "reconcile"]'
        return [
            f'[bank]\npublic_url = "http://127.0.0.1:{self.http}"\n[[bank.partner]]\nid = "{BANK}"\nscopes = {rights}\n',
            f'[[bank.partner.key]]\nkid = "{KID}"\npublic = "{x_of(SIGNS)}"\n',
        ]

    def desk(self, seed: int, side_by_side: int = 6) -> Desk:
        """The bank. Its last account is unknown here."""
        config = BankConfig(
            BANK, (*self.accounts, "A-9"), f"http://127.0.0.1:{self.http}", ("127.0.0.1", self.iso), shipped(), KEY,
            side_by_side=side_by_side, most=50_000, timeout_s=30.0,
        )  # fmt: skip
        if self.signed:
            config = replace(config, kid=KID, sign_key=PEM)
        return Desk(config, seed, 480)


def check_kept(stand: BankStand, desk: Desk, keep: Path) -> None:
    """What lies on the disk after a kill: whole, each payment credited once at most, and all that was answered is there."""
    answered = {serial for serial, belief in desk.office.book.beliefs.items() if belief.state == "posted"}
    store = copy_store(stand.data, keep)
    assert finding(store) is None
    kept = credited(store)
    assert {serial: times for serial, times in kept.items() if len(times) > 1} == {}
    assert answered - set(kept) == set()
    shutil.rmtree(keep)


def check_books(stand: BankStand, desk: Desk) -> None:
    """The bank's book and the gateway's, payment by payment, and the balances."""
    book = desk.office.book
    assert book.violations == []
    kept = {row["serial"]: row for row in rows(stand.data / "wattgate.db", "SELECT * FROM payment")}
    for serial, belief in book.beliefs.items():
        row, paid = kept.get(serial), belief.payment
        state = "nothing" if row is None else str(row["status"])
        right = {"posted": ("posted",), "reversed": ("reversed", "refused"), "never": ("reversed",), "refused": ("refused",)}
        assert state in right[belief.state], (serial, belief, state)
        if belief.state == "posted" and row is not None:
            told = (row["account"], row["amount_micro"], row["accounting_date"])
            assert told == (paid.account, paid.fen * 10_000, paid.day.isoformat()), serial
    assert set(kept) <= set(book.beliefs), "booked and never paid"
    left = balances(stand.data / "wattgate.db")
    for account in ACCOUNTS:
        assert left[account] == OPENING_MICRO + book.posted_fen().get(account, 0) * 10_000, account


async def pay_until(suffered: asyncio.Event, desk: Desk) -> None:
    while not suffered.is_set():
        await desk.office.work(AT_A_TIME, side_by_side=6)


async def test_payments_through_both_lines_survive_kills_and_every_trouble(
    tmp_path: Path, proof_scale: int, figure: Callable[[str, object], None]
) -> None:
    kills = KILLS if proof_scale == 1 else PROOF_KILLS
    seed = int(os.environ.get("KILL_SEED") or SystemRandom().getrandbits(32))
    print(f"KILL_SEED={seed} kills and pays the same again")
    rng, stand = Random(seed), BankStand(tmp_path, signed=True)
    desk = stand.desk(seed)
    try:
        await stand.gateway.start()
        suffered = asyncio.Event()
        working = asyncio.ensure_future(pay_until(suffered, desk))
        for number in range(kills):
            if rng.random() < DURING_START:
                await stand.gateway.kill()
                await stand.gateway.spawn()
            await asyncio.sleep(rng.uniform(0.1, 1.5))
            await stand.gateway.kill()
            check_kept(stand, desk, tmp_path / "kept" / str(number))
            await stand.gateway.start()
        suffered.set()
        await working
        assert await desk.office.settle() == 0
        check_books(stand, desk)
        uploads = await desk.reconcile()
        assert uploads and [upload["found"] for upload in uploads] == [{}] * len(uploads), json.dumps(uploads)[:2000]
        assert await stand.gateway.end() == 0
        ran = await wattgate("ledger", "verify", "--data", stand.data)
        assert (ran.code, "clean" in ran.out) == (0, True), ran
        assert tracebacks(tmp_path) == []
    finally:
        await desk.close()
        await stand.gateway.kill()
    figure("kills", kills)
    figure("payments over both lines", len(desk.office.book.beliefs))
    figure("troubles made", dict(desk.office.book.acts))
    figure("how the payments ended", desk.office.book.states())


async def test_signed_and_sealed_every_trouble_and_every_planted_difference(tmp_path: Path) -> None:
    stand = BankStand(tmp_path, signed=True)
    desk = stand.desk(7)
    try:
        await stand.gateway.start()
        await desk.office.work(80, side_by_side=8)
        assert await desk.office.settle() == 0
        check_books(stand, desk)
        assert set(desk.office.book.acts) == set(TROUBLES)
        plant = [*PLANTED, "amount", "missing_here", "duplicate_in_file"]
        uploads = await desk.reconcile(plant)
        assert all(upload["found"] == upload["planted"] for upload in uploads), json.dumps(uploads)[:3000]
        there = next(upload["planted"] for upload in uploads if upload["planted"])
        assert isinstance(there, dict) and set(there) == set(PLANTED)
    finally:
        await desk.close()
        await stand.gateway.kill()


def sim_toml(stand: BankStand, payments: int) -> str:
    return (
        f'[sim]\nseed = 3\n[[bank]]\nid = "{BANK}"\nurl = "http://127.0.0.1:1"\niso8583 = "127.0.0.1:{stand.iso}"\n'
        f'kid = "{KID}"\nsign_key_file = "bank.pem"\nbalances = true\n'
        f'table = "iso.toml"\nmac_key_file = "mac.key"\naccounts = {json.dumps(ACCOUNTS)}\npayments = {payments}\n'
        f"plant = {json.dumps(PLANTED)}\n"
    )


async def test_the_simulator_s_bank_measures_a_signed_gateway_and_says_so(tmp_path: Path) -> None:
    stand = BankStand(tmp_path, signed=True)
    (tmp_path / "iso.toml").write_text((CONFIG / "iso8583-ascii.toml").read_text())
    (tmp_path / "bank.toml").write_text(sim_toml(stand, 60))
    sim = ("sim", tmp_path / "bank.toml", "--url", f"http://127.0.0.1:{stand.http}")
    try:
        await stand.gateway.start()
        ran = await wattgate(*sim, "--report", tmp_path / "report")
        assert (ran.code, ran.err) == (0, ""), ran
        ready, told = (json.loads(line) for line in ran.out.splitlines())
        assert ready["banks"] == [BANK] and told["ok"] and told["payments"] == 60 and told["why"] == told["violations"] == []
        assert json.loads((tmp_path / "report" / "report.json").read_text())["banks"] == [told]
        assert {kind for upload in told["uploads"] for kind in upload["found"]} == set(PLANTED)
        other = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "bank.pem").write_bytes(other)
        ran = await wattgate(*sim)
        ran.refused(f"bank {BANK}: http://127.0.0.1:{stand.http} does not take the key {KID}")
        assert not json.loads(ran.out.splitlines()[1])["ok"]
    finally:
        await stand.gateway.kill()


async def test_direct_debit_from_the_mandate_to_the_money(tmp_path: Path) -> None:
    stand, out = BankStand(tmp_path), tmp_path / "out.txt"
    terms = ("--bank", BANK, "--account", "A-1", "--payer", "6222020", "--below", "30.00", "--upto", "50.00")
    day = "2026-11-21"
    try:
        await stand.gateway.start()

        async def debit(*words: object) -> tuple[int, str]:
            ran = await wattgate("debit", *words, "-c", stand.config)
            return ran.code, ran.out + ran.err

        assert await debit("sign", "M-1", *terms, "--check") == (0, "M-1: this can be done\n")
        assert await debit("sign", "M-1", *terms) == (0, "M-1: signed\n")
        code, said = await debit("batch", BANK, day, "--out", out)
        assert (code, out.read_text()) == (0, "DD-icbc-20261121|20261121|1|3000\n1|DD-20261121-000001|6222020|A-1|3000\n"), said
        code, said = await debit("end", "M-1", "--check")
        assert code == 1 and "has no result yet" in said
        back = tmp_path / "back.txt"
        back.write_text("DD-icbc-20261121|20261121|1|3000\n1|DD-20261121-000001|3000|0000|\n")
        assert await debit("result", BANK, back, "--day", day) == (0, f"{back}: 1 booked\n")
        assert await debit("result", BANK, back, "--day", day) == (0, f"{back}: 1 again\n")
        back.write_text(back.read_text().replace("|0000|", "|E51|no money"))
        code, said = await debit("result", BANK, back, "--day", day)
        assert code == 1 and "DD-20261121-000001: contradicts (E51 no money)" in said
        assert await debit("end", "M-1") == (0, "M-1: ended\n")
        assert "M-1: ended, account A-1 from ***2020 at icbc" in (await debit("list"))[1]
        assert balances(stand.data / "wattgate.db")["A-1"] == 50_000_000
        assert await stand.gateway.end() == 0
        assert (await wattgate("ledger", "verify", "--data", stand.data)).code == 0
    finally:
        await stand.gateway.kill()
