"""The banks of a running simulator: each pays by itself, is ordered by the handle, uploads its day files and reports."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from random import Random, SystemRandom
from typing import TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from firmware_sim.banking.bank import Office
from firmware_sim.banking.book import PLANTED, Difference, csv, planted
from firmware_sim.banking.config import TROUBLES, BankConfig
from firmware_sim.banking.line import HttpLine, IsoLine, Line, Signing, unsigned
from firmware_sim.banking.mac_keys import MacKeys
from firmware_sim.handle import Problem

POLL_S = 0.2
MAX_POLLS = 3_000  # ten minutes: a reconciliation of a million lines takes one
MAX_UPLOADS, BETWEEN_UPLOADS_S = 5, 2.0
LATER = (0, 429, 503)  # no answer, or one that says to ask again
PATIENCE_S = 30.0  # whoever has not answered by then is not there
MOST_TOLD = 100  # sentences of one report
MAX_PAGES = 1_000  # of differences
MOST_AT_ONCE = 10_000  # payments of one order by the handle
KEYS = SystemRandom()  # no seed: the other side never takes a key twice

T = TypeVar("T")
_MONEY = re.compile(r"-?[0-9]+\.[0-9]{2}")


def _now() -> datetime:
    return datetime.now(UTC)


class BadKey(ValueError):
    """A key or a certificate that is none, in one sentence."""


@dataclass
class Desk:
    """One bank. differences: of the last upload of each day, as the gateway found them, beside those that were planted."""

    config: BankConfig
    seed: int
    offset_min: int
    uploads: list[dict[str, object]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        config, rng = self.config, Random(f"{self.seed}:{self.config.name}:bank")
        self._rng = rng
        self.http: HttpLine | None = None
        self.iso: IsoLine | None = None
        tls = _context(config)
        if config.url:
            signing = Signing(config.kid, _key(config.sign_key)) if config.kid else None
            self.http = HttpLine(
                config.url, _now, rng, bank=config.name, currency=config.currency, utc_offset_min=self.offset_min,
                signing=signing, public_url=config.public_url, by_day=config.by_day, timeout_s=config.timeout_s, tls=tls,
            )  # fmt: skip
        if config.iso is not None and config.dialect is not None:
            try:
                keys = MacKeys(config.dialect, config.mac_key, config.zone_key, config.keys_kept)
            except ValueError as problem:
                raise BadKey(f"bank {config.name}: {problem}") from None
            self.iso = IsoLine(
                *config.iso, config.dialect, keys, _now, currency=config.currency, utc_offset_min=self.offset_min,
                institution=config.institution, timeout_s=config.timeout_s, tls=tls if config.iso_tls else None,
            )  # fmt: skip
        lines: list[Line] = [line for line in (self.http, self.iso) if line is not None]
        self.office = Office(lines, config.accounts, _now, rng, dict(config.weights), config.least, config.most)

    async def run(self) -> bool:
        """Whatever the file orders. Whether nothing contradicted the contract."""
        if self.config.payments:
            self.wrong = await self._reach()
        elif self.iso is not None:
            await self.iso.network("sign_on")
        if self.config.payments and not self.wrong:
            before = await self._balances()
            wrong = await self._work()
            await self.office.settle()
            self.wrong = wrong + self._moved(before, await self._balances()) + await self._receipts()
            if self.http is not None and self.config.reconcile:
                await self.reconcile(self.config.plant)
        return not self.why()

    async def _work(self) -> list[str]:
        """Its payments, with new keys of MACs in between. Why one was not taken."""
        changes = self.config.new_keys if self.iso is not None and self.iso.keys.changes else 0
        parts, left = max(1, changes), self.config.payments
        for number in range(parts):
            if changes and self.iso is not None and not await self._patiently(partial(self.iso.new_key, KEYS)):
                return [f"the new key of MACs number {number + 1} was not taken"]
            share = left // (parts - number)
            await self.office.work(share, self.config.side_by_side)
            left -= share
        return []

    def why(self) -> list[str]:
        """What contradicted the contract, or kept us from finding out, in sentences."""
        book, found = self.office.book, list(self.wrong)
        states = book.states()
        if states.get("unknown"):
            found.append(f"{states['unknown']} payments have no answer")
        elif states and not states.get("posted", 0) + states.get("reversed", 0):
            found.append(f"none of {len(book.beliefs)} payments was taken: {dict(book.answers)}")
        for each in self.uploads:
            if each["problem"]:
                found.append(f"the file of {each['day']} was answered {each['status']} {each['problem']}".rstrip())
            found += [f"the file of {each['day']}: {text}" for text in texts(each["not_as_planted"])]
        return found + book.violations

    async def _reach(self) -> list[str]:
        """Why it is of no use to pay, if so; lines come up within PATIENCE_S."""
        found = []
        if self.http is not None:
            status, said = await self._patiently(partial(self.http.ask, "GET", f"/bank/v1/accounts/{self.config.accounts[0]}"))
            if status == 0:
                found.append(f"nobody answers at {self.config.url}")
            elif status == 401:
                found.append(f"{self.config.url} does not take the key {self.config.kid or '(none)'}: {said.get('detail', '')}")
        if self.iso is not None and not await self._patiently(partial(self._signed_on, self.iso)):
            found.append(f"nobody answers a sign-on or an echo at {':'.join(map(str, self.config.iso or ()))}")
        return found

    async def _signed_on(self, line: IsoLine) -> bool:
        return await line.network("sign_on") or await line.echo()

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The first answer, or the last of those that are none."""
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE_S
        while not (answer := await ask()) or answer == (0, {}):
            if loop.time() > until:
                break
            await asyncio.sleep(POLL_S)
        return answer

    async def _balances(self) -> dict[str, int]:
        """By account, in fen, of those that the other side knows."""
        found: dict[str, int] = {}
        for account in self.config.accounts if self.http is not None and self.config.balances else ():
            _, said = await self.http.ask("GET", f"/bank/v1/accounts/{account}") if self.http is not None else (0, {})
            shown = str(said.get("balance", ""))
            if _MONEY.fullmatch(shown):
                found[account] = int(shown.replace(".", ""))
        return found

    def _moved(self, before: dict[str, int], after: dict[str, int]) -> list[str]:
        if self.config.balances and not before:
            return ["no account tells its balance"]
        posted = self.office.book.posted_fen()
        return [
            f"account {name} moved by {(after[name] - was) / 100:.2f}, and {posted.get(name, 0) / 100:.2f} was posted"
            for name, was in before.items()
            if name in after and after[name] - was != posted.get(name, 0)
        ]

    async def _receipts(self) -> list[str]:
        """Receipts that the other side's published keys did not sign; only whoever signs expects any."""
        if self.http is None or not self.config.kid:
            return []
        keys, beliefs = await self.http.keys(), self.office.book.beliefs
        checked = ((serial, unsigned(belief.receipt, keys)) for serial, belief in beliefs.items() if belief.receipt.startswith("["))
        return [f"{serial}: {wrong}" for serial, wrong in checked if wrong]

    async def reconcile(self, plant: Sequence[str] = ()) -> list[dict[str, object]]:
        """Upload the file of each accounting date; differences are planted into the longest of them."""
        if self.http is None:
            raise Problem(400, "This bank has no url to upload a day file to.")
        days = self.office.book.days()
        longest = max(days, key=lambda day: len(self.office.book.lines(day)), default=None)
        self.uploads = [await self._upload(self.http, day, plant if day == longest else (), days) for day in days]
        return self.uploads

    async def _upload(self, http: HttpLine, day: date, plant: Sequence[str], days: Sequence[date]) -> dict[str, object]:
        lines, there = self.office.book.lines(day), list[Difference]()
        others = [line for other in days if other != day for line in self.office.book.lines(other)] if "other_day" in plant else []
        file = csv(lines)
        if plant:
            file, there = planted(lines, plant, self._rng, self.config.accounts, others)
        status, result = await self._sent(http, day.isoformat(), file)
        found = await _differences(http, day.isoformat(), result)
        strange = [f"{kind} {serial} was found" for kind, serial in sorted((Counter(found) - Counter(there)).elements())]
        strange += [f"{kind} {serial} was not found" for kind, serial in sorted((Counter(there) - Counter(found)).elements())]
        done = status == 200 and result.get("state", "done") == "done"
        problem = "" if done else str(result.get("detail") or result.get("note") or "no result")
        return {
            "day": day.isoformat(), "status": status, "problem": problem, "lines": len(lines), "planted": _kinds(there),
            "found": _kinds(found), "not_as_planted": strange[:MOST_TOLD],
        }  # fmt: skip

    async def _sent(self, http: HttpLine, day: str, file: bytes) -> tuple[int, dict[str, object]]:
        """A file uploaded, and its result."""
        for _ in range(MAX_UPLOADS):
            status, result = await http.reconcile(day, file)
            if status not in LATER:
                break
            await asyncio.sleep(BETWEEN_UPLOADS_S)
        for _ in range(MAX_POLLS):
            if status != 202 and status not in LATER and result.get("state") != "running":
                break
            await asyncio.sleep(POLL_S)
            status, result = await http.ask("GET", f"/bank/v1/reconciliations/{day}")
        return status, result

    def report(self) -> dict[str, object]:
        """What it believes."""
        why = self.why()
        told = {"bank": self.config.name, "seed": self.seed, "ok": not why, "why": why[:MOST_TOLD]}
        if self.iso is not None and self.iso.keys.changes:
            told["new_keys"] = self.iso.keys.taken
        return {**told, **self.office.book.report(), "uploads": self.uploads}

    async def answer(self, method: str, act: str, body: bytes) -> object:
        """The handle: GET tells the book; POST pay, work, reconcile, echo, sign_on, sign_off, cut_over and new_key act."""
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
            case "new_key" if self.iso is not None and self.iso.keys.changes:
                return {"ok": await self.iso.new_key(KEYS)}
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


def _context(config: BankConfig) -> ssl.SSLContext | None:
    """None where nothing was said of certificates, and HTTP trusts whom the system does."""
    if config.ca is None and config.certificate is None and not config.iso_tls:
        return None
    try:
        context = ssl.create_default_context(cafile=config.ca)
        if config.certificate is not None:
            context.load_cert_chain(*config.certificate)
    except (OSError, ValueError) as problem:
        files = ", ".join(str(file) for file in (config.ca, *(config.certificate or ())) if file is not None)
        raise BadKey(f"bank {config.name}: TLS with {files} cannot be used: {problem}") from None
    return context


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


async def _differences(http: HttpLine, day: str, result: dict[str, object]) -> list[Difference]:
    """What a reconciliation found, page by page."""
    found: dict[object, Difference] = {}
    for _ in range(MAX_PAGES):
        listed = result.get("differences")
        fresh = [each for each in listed if each.get("id") not in found] if isinstance(listed, list) else []
        if not fresh:  # also where the other side knows no pages
            break
        found |= {each.get("id"): (str(each.get("kind")), str(each.get("serial") or "")) for each in fresh}
        _, result = await http.ask("GET", f"/bank/v1/reconciliations/{day}?after={fresh[-1].get('id')}")
    return list(found.values())


def _kinds(differences: Sequence[Difference]) -> dict[str, int]:
    """How many there are of each kind."""
    return dict(sorted(Counter(kind for kind, _ in differences).items()))


def texts(value: object) -> list[str]:
    """Sentences of a report."""
    return value if isinstance(value, list) else []


def _object(body: bytes) -> dict[str, object]:
    try:
        told = json.loads(body or b"{}")
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Problem(400, "The body is a JSON object.")
    return told
