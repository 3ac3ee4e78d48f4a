"""A partner's line into a store of its own, and messages as that partner writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import TypeVar

from gateway.adapters.iso8583_partner import IsoTerms, IsoUseCases, Partner
from gateway.adapters.store import Store
from gateway.bootstrap.iso8583 import use_cases
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.credit import CreditPolicy
from gateway.domain.meters import Account, Meter, SwitchKind
from gateway.domain.requests import PaymentIdentity
from gateway.domain.units import MICRO
from gateway.services.apply_topup import MOST_BALANCE_MICRO, masked
from gateway.services.load_archive import Archive, Opening, load_archive
from gateway.services.ports import Site, Tx
from protocols.bank.iso8583 import Codec, Message
from protocols.bank.iso8583_table import Dialect
from tests.gateway.price_lists import flat
from tests.gateway.services.memory_tx import MemoryStore
from tests.protocols.bank.tables import KEY, shipped

T = TypeVar("T")
BANK = "icbc"
NOON_MS = 1_795_233_600_000  # 2026-11-21T04:00:00Z, noon in Shanghai
SITE = Site("gw-1", "Asia/Shanghai", clock_trusted=True)
POLICY = CreditPolicy(low_micro=5 * MICRO, reconnect_direct=True, no_cut_hours=False)


def settle(store: Store | MemoryStore) -> None:
    """A-1 with 20.00, A-2 with 1.00, A-3 closed; each has a meter."""
    accounts = [
        Account(f"A-{n}", "张小明", "CNY", "flat", POLICY, agreement="signed 2026-01-01", closed=n == 3) for n in (1, 2, 3)
    ]
    meters = [
        Meter(
            id=f"bus-1-{n}", line="bus-1", address=f"{n:012d}", protocol="dlt645-2007", profile="generic-2007", account=f"A-{n}",
            point=f"point-{n}", switch=SwitchKind.INTERNAL, switch_line="bus-1",
        )
        for n in (1, 2, 3)
    ]  # fmt: skip
    openings = [Opening(each, micro) for each, micro in zip(accounts, (20 * MICRO, MICRO, 0), strict=True)]
    store.write_now(lambda tx: load_archive(tx, Archive([flat(617_000)], openings, meters), SITE, NOON_MS))


@dataclass
class Line:
    """now_ms, zone: as the partner's clock has it. woken, heard: how often."""

    store: Store | MemoryStore
    site_now: Callable[[], Site] = lambda: SITE
    now: Callable[[], int] = lambda: NOON_MS
    dialect: Dialect = field(default_factory=shipped)
    keys: list[bytes] = field(default_factory=lambda: [KEY])
    terms: PartnerTerms = field(default_factory=lambda: PartnerTerms(BANK))
    sign_on: bool = False
    institutions: frozenset[str] = frozenset()
    days: dict[str, date] = field(default_factory=dict)
    woken: int = 0
    heard: int = 0
    trace: int = 0
    rate: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        self.codec = Codec(self.dialect)
        self.partner = self.again()

    def again(self) -> Partner:
        """The partner after a restart of ours."""
        terms = IsoTerms(
            lambda: self.terms, lambda: self.keys, self.institutions, self.sign_on, "iso8583", MOST_BALANCE_MICRO, masked,
            rate=self.rate,
        )  # fmt: skip
        self.partner = Partner(self.dialect, terms, self.cases(), self.now)
        return self.partner

    def cases(self) -> IsoUseCases:
        """Of the gateway's own making."""
        return use_cases(self, self.now, self.hear, self.days)

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        return await self.store.write(usecase)

    async def read(self, query: Callable[[Tx], T]) -> T:
        return await self.store.read(query)

    def site(self) -> Site:
        return self.site_now()

    def wake(self) -> None:
        self.woken += 1

    def hear(self) -> None:
        self.heard += 1

    def payment(self, account: str = "A-1", fen: int = 5000, **fields: str) -> Message:
        """0200, as in the vectors, with a trace number of its own."""
        self.trace += 1
        told = {
            3: "500000", 4: f"{fen:012d}", 7: "1121120000", 11: f"{self.trace:06d}", 12: "120000", 13: "1121", 32: "1234567",
            37: f"2611{self.trace:08d}", 41: "TERM0001", 48: f"ACCT={account}", 49: "156",
        }  # fmt: skip
        return Message("0200", told | {int(name.removeprefix("f")): text for name, text in fields.items()})

    def reversal(self, of: Message, mti: str = "0400", **fields: str) -> Message:
        """0400 of this payment."""
        self.trace += 1
        told = {number: of.fields[number] for number in (3, 4, 32, 33, 37, 41, 49) if number in of.fields}
        told |= {7: "1121120100", 11: f"{self.trace:06d}"}
        told[90] = of.mti + of.get(11) + of.get(7) + of.get(32).rjust(11, "0") + of.get(33).rjust(11, "0")
        return Message(mti, told | {int(name.removeprefix("f")): text for name, text in fields.items()})

    async def send(self, message: Message, key: bytes | None = KEY) -> Message | None:
        """The answer, whose MAC is right; None for silence."""
        return await self.raw(self.codec.encode(message, key))

    async def raw(self, data: bytes) -> Message | None:
        answer = await self.partner.answer(data)
        if answer is None:
            return None
        received = self.codec.decode(answer)
        assert self.dialect.mac == "none" or self.codec.right(received, self.keys[:1])
        return received.message

    async def code(self, message: Message, key: bytes | None = KEY) -> str:
        """Field 39 of the answer."""
        answer = await self.send(message, key)
        assert answer is not None
        return answer.get(39)


def network(code: str, trace: int = 900, **fields: str) -> Message:
    """0800."""
    told: Mapping[int, str] = {7: "1121120000", 11: f"{trace:06d}", 32: "1234567", 70: code}
    return Message("0800", {**told, **{int(name.removeprefix("f")): text for name, text in fields.items()}})


def identity(serial: str) -> PaymentIdentity:
    """Of a payment of this bank."""
    return PaymentIdentity(BANK, "", "", serial)
