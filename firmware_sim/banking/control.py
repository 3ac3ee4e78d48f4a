"""The banks of a running simulator: each pays by itself, is ordered by the handle, uploads its day files and reports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from random import Random

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from firmware_sim.banking.bank import Office
from firmware_sim.banking.book import PLANTED, csv, planted
from firmware_sim.banking.config import TROUBLES, BankConfig
from firmware_sim.banking.line import HttpLine, IsoLine, Line, Signing
from firmware_sim.handle import Problem

POLL_S = 0.2
MAX_POLLS = 3_000  # ten minutes: a reconciliation of a million lines takes one
MOST_AT_ONCE = 10_000  # payments of one order by the handle


def _now() -> datetime:
    return datetime.now(UTC)


class BadKey(ValueError):
    """A signing key that is none, in one sentence."""


@dataclass
class Desk:
    """One bank. differences: of the last upload of each day, as the gateway found them, beside those that were planted."""

    config: BankConfig
    seed: int
    offset_min: int
    uploads: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        config, rng = self.config, Random(f"{self.seed}:{self.config.name}:bank")
        self._rng = rng
        self.http: HttpLine | None = None
        self.iso: IsoLine | None = None
        if config.url:
            signing = Signing(config.kid, _key(config.sign_key)) if config.kid else None
            self.http = HttpLine(
                config.url, _now, rng, bank=config.name, currency=config.currency, utc_offset_min=self.offset_min,
                signing=signing, timeout_s=config.timeout_s,
            )  # fmt: skip
        if config.iso is not None and config.dialect is not None:
            self.iso = IsoLine(
                *config.iso, config.dialect, config.mac_key, _now, currency=config.currency, utc_offset_min=self.offset_min,
                institution=config.institution, timeout_s=config.timeout_s,
            )  # fmt: skip
        lines: list[Line] = [line for line in (self.http, self.iso) if line is not None]
        self.office = Office(lines, config.accounts, _now, rng, dict(config.weights), config.least, config.most)

    async def run(self) -> bool:
        """Whatever the file orders. Whether nothing contradicted the contract."""
        if self.iso is not None:
            await self.iso.network("sign_on")
        if self.config.payments:
            await self.office.work(self.config.payments, self.config.side_by_side)
            await self.office.settle()
            if self.http is not None and self.config.reconcile:
                await self.reconcile(self.config.plant)
        return self.ok

    @property
    def ok(self) -> bool:
        """Nothing contradicted the contract, and each upload found exactly what was planted."""
        return not self.office.book.violations and all(upload["found"] == upload["planted"] for upload in self.uploads)

    async def reconcile(self, plant: Sequence[str] = ()) -> list[dict[str, object]]:
        """Upload the file of each accounting date; differences are planted into the longest of them."""
        if self.http is None:
            raise Problem(400, "This bank has no url to upload a day file to.")
        days = self.office.book.days()
        longest = max(days, key=lambda day: len(self.office.book.lines(day)), default=None)
        uploads = [await self._upload(self.http, day, plant if day == longest else ()) for day in days]
        self.uploads = uploads
        return uploads

    async def _upload(self, http: HttpLine, day: date, plant: Sequence[str]) -> dict[str, object]:
        lines = self.office.book.lines(day)
        file, there = planted(lines, plant, self._rng, list(self.config.accounts)) if plant else (csv(lines), {})
        status, result = await http.reconcile(day.isoformat(), file)
        for _ in range(MAX_POLLS):
            if status != 202 and result.get("state") != "running":
                break
            await asyncio.sleep(POLL_S)
            status, result = await http.ask("GET", f"/bank/v1/reconciliations/{day.isoformat()}")
        return {
            "day": day.isoformat(), "status": status, "lines": len(lines), "planted": dict(sorted(there.items())),
            "found": _kinds(result), "result": result,
        }  # fmt: skip

    def report(self) -> dict[str, object]:
        """What it believes."""
        uploads = [{key: upload[key] for key in ("day", "status", "lines", "planted", "found")} for upload in self.uploads]
        return {"bank": self.config.name, "seed": self.seed, "ok": self.ok, **self.office.book.report(), "uploads": uploads}

    async def answer(self, method: str, act: str, body: bytes) -> object:
        """The handle: GET tells the book; POST pay, work, reconcile, echo, sign_on, sign_off and cut_over act."""
        if method == "GET" and not act:
            return self.report()
        told = _object(body)
        match act if method == "POST" else "":
            case "pay":
                return await self._order(told)
            case "work":
                payments = told.get("payments", 1)
                if not isinstance(payments, int) or not 1 <= payments <= MOST_AT_ONCE:
                    raise Problem(400, f"payments is a whole number from 1 to {MOST_AT_ONCE}.")
                await self.office.work(payments, self.config.side_by_side)
                return self.report()
            case "reconcile":
                plant = told.get("plant", [])
                if not isinstance(plant, list) or not set(plant) <= set(PLANTED):
                    raise Problem(400, f"plant is a list of {', '.join(PLANTED)}.")
                return await self.reconcile(plant)
            case "echo" | "sign_on" | "sign_off" | "cut_over" if self.iso is not None:
                return {"ok": await self.iso.network(act)}
        raise Problem(404, "A bank is looked at with GET, and told by POST to pay, work, reconcile, echo, sign_on or sign_off.")

    async def _order(self, told: dict[str, object]) -> object:
        account, fen = told.get("account", self.config.accounts[0]), told.get("fen", 100)
        trouble, wanted = told.get("trouble", "plain"), told.get("line", "http" if self.http is not None else "iso8583")
        line: Line | None = {"http": self.http, "iso8583": self.iso}.get(str(wanted))
        if line is None or trouble not in TROUBLES or not isinstance(account, str) or not isinstance(fen, int) or fen < 1:
            raise Problem(400, f"pay takes account, fen, line (http or iso8583, as configured) and trouble: {', '.join(TROUBLES)}.")
        payment = self.office.new(line, account, fen)
        await self.office.one(str(trouble), line, payment)
        belief = self.office.book.beliefs.get(payment.serial)
        state = "unknown" if belief is None else belief.state
        return {"serial": payment.serial, "state": state, "violations": self.office.book.violations}

    async def close(self) -> None:
        """Hang up."""
        for line in self.office.lines:
            await line.close()


class Desks:
    """All banks of a file."""

    def __init__(self, configs: Sequence[BankConfig], seed: int, offset_min: int) -> None:
        """Raises BadKey."""
        self.desks = {config.name: Desk(config, seed, offset_min) for config in configs}

    async def run(self) -> bool:
        """Every bank's own work, side by side."""
        return all(await asyncio.gather(*(desk.run() for desk in self.desks.values())))

    async def answer(self, method: str, parts: list[str], body: bytes) -> object:
        """/sim/v1/banks, /sim/v1/banks/{id} and /sim/v1/banks/{id}/{act}. Raises Problem."""
        if not parts and method == "GET":
            return [desk.report() for desk in self.desks.values()]
        desk = self.desks.get(parts[0]) if parts and len(parts) < 3 else None
        if desk is None:
            raise Problem(404, f"The banks here are {', '.join(self.desks) or 'none'}.")
        return await desk.answer(method, parts[1] if len(parts) == 2 else "", body)

    def report(self) -> list[dict[str, object]]:
        """Of every bank."""
        return [desk.report() for desk in self.desks.values()]

    async def close(self) -> None:
        """Hang up everywhere."""
        for desk in self.desks.values():
            await desk.close()


def _key(raw: bytes) -> Ed25519PrivateKey | bytes:
    """A PEM file of an Ed25519 key, or the hex of an HMAC's secret."""
    try:
        if not raw.startswith(b"-----"):
            return bytes.fromhex(raw.decode())
        key = load_pem_private_key(raw, None)
    except (ValueError, TypeError) as problem:
        raise BadKey(f"sign_key_file holds neither an Ed25519 key in PEM nor a secret in hex: {problem}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadKey("sign_key_file must hold an Ed25519 key")
    return key


def _kinds(result: dict[str, object]) -> dict[str, int]:
    """How many differences of each kind a reconciliation found."""
    listed = result.get("differences", [])
    kinds: dict[str, int] = {}
    for each in listed if isinstance(listed, list) else []:
        kind = str(each.get("kind", "?"))
        kinds[kind] = kinds.get(kind, 0) + 1
    return dict(sorted(kinds.items()))


def _object(body: bytes) -> dict[str, object]:
    try:
        told = json.loads(body or b"{}")
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Problem(400, "The body is a JSON object.")
    return told
