"""A small house over a store: what its tests say is what a statement of account would say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Protocol, TypeVar

from gateway.domain import ledger
from gateway.domain.credit import CreditPolicy
from gateway.domain.events import Event, Json, Outgoing, Topic
from gateway.domain.jobs import Answered, Failed, Fault, Outcome, SwitchJob
from gateway.domain.meters import Account, Contact, Meter, SwitchKind
from gateway.domain.price_list import Tariff
from gateway.domain.readings import Item, Quality, Reading
from gateway.domain.requests import PaymentIdentity, SupplyOrder, TopUp
from gateway.domain.supply import Command, SwitchReading, Verb
from gateway.domain.units import MICRO
from gateway.services import run_command
from gateway.services.apply_topup import apply_topup
from gateway.services.judge_account import judge_account
from gateway.services.load_archive import Archive, Opening, load_archive
from gateway.services.order_supply import order_supply
from gateway.services.ports import Site, SupplyAnswer, TopUpOutcome, Tx
from gateway.services.record_reading import record_reading
from gateway.services.verify_ledger import verify_ledger
from tests.gateway.price_lists import by_register, flat

T = TypeVar("T")

ZONE = "Asia/Shanghai"


def local(text: str) -> int:
    """UTC milliseconds of a wall-clock time in Shanghai (UTC+8, no summer time): "2026-11-24 10:00"."""
    return int((datetime.fromisoformat(text) - timedelta(hours=8)).replace(tzinfo=UTC).timestamp()) * 1000


TUESDAY_TEN = local("2026-11-24 10:00")
POLICY = CreditPolicy(low_micro=5 * MICRO, reconnect_direct=True)
FLAT = flat(500_000)
TWO_RATE = by_register({"energy_import_t1": 600_000, "energy_import_t2": 300_000})

SILENT = Failed(Fault.SILENT, "no answer")
NAK = Failed(Fault.REFUSED, "unauthorised")
PASSWORD = Failed(Fault.REFUSED, "refused with error 04 (password wrong or not authorised)")
DOWN = Failed(Fault.LINE_DOWN, "the line is down", certain=True)
BROKE = Failed(Fault.LINE_DOWN, "the line broke after the first byte")
OK = Answered()

ENOUGH: dict[str, dict[str, object]] = {
    "contract_time_table": {"facts": {"plan": "night supply 2026"}},
    "demand_response": {"facts": {"contract": "C-7", "event": "DR-2026-11-24"}},
    "theft_by_two_people": {"second": "operator:Wang Fang"},
}
"""What an order for this cause must name."""


class AnyStore(Protocol):
    """The real store and the one in memory alike."""

    def write_now(self, usecase: Callable[[Tx], T]) -> T: ...


def account(ident: str = "A-1", **changes: object) -> Account:
    """An account that may be cut when its credit is gone."""
    values: dict[str, object] = {
        "id": ident,
        "holder": "Li Wei",
        "currency": "CNY",
        "tariff": "flat",
        "policy": POLICY,
        "agreement": "signed 2026-01-01",
    }
    return Account(**{**values, **changes})  # type: ignore[arg-type]


def meter(ident: str = "m1", **changes: object) -> Meter:
    """A meter with a relay inside, of account A-1; 600 kW so that a minute may hold 10 kWh."""
    values: dict[str, object] = {
        "id": ident,
        "line": "bus-1",
        "address": "1",
        "protocol": "dlt645-2007",
        "profile": "dlt645-single",
        "account": "A-1",
        "point": f"point-{ident}",
        "switch": SwitchKind.INTERNAL,
        "switch_line": "bus-1",
        "max_power_w": 600_000,
    }
    return Meter(**{**values, **changes})  # type: ignore[arg-type]


def yuan(text: str) -> int:
    """Micro-units of an amount like "-0.25", however many digits."""
    return int(Decimal(text) * MICRO)


@dataclass
class House:
    """Time, site and store; every method is one use case at the present moment."""

    store: AnyStore
    now_ms: int = TUESDAY_TEN
    site: Site = field(default_factory=lambda: Site("gw-1", ZONE, clock_trusted=True))
    told: int = 0
    sent: int = 0

    def do(self, usecase: Callable[[Tx], T]) -> T:
        return self.store.write_now(usecase)

    def settle(
        self,
        *meters: Meter,
        accounts: Sequence[Account] = (account(),),
        balance: str = "0",
        tariffs: Sequence[Tariff] = (FLAT, TWO_RATE),
    ) -> House:
        """The archive is loaded; every account opens with this balance."""
        archive = Archive(tariffs, [Opening(a, yuan(balance)) for a in accounts], meters or (meter(),))
        self.do(lambda tx: load_archive(tx, archive, self.site, self.now_ms))
        return self

    def later(self, *, s: float = 0, minutes: float = 0, hours: float = 0) -> House:
        self.now_ms += round((s + 60 * minutes + 3600 * hours) * 1000)
        return self

    # what the meter says

    def read(
        self, ident: str = "m1", *, contact: Contact | None = None, power: str | None = None, kind: str = "relay_bit", **kwh: str
    ) -> Quality:
        """A reading of these registers (total, t1, t2 in kWh) and of the power in kW, with or without the switch."""
        names = {"total": "energy_import", **{f"t{n}": f"energy_import_t{n}" for n in range(1, 9)}}
        items = [Item(names[name], None if value == "FF" else Decimal(value), "kWh") for name, value in kwh.items()]
        if power is not None:
            items.append(Item("power", Decimal(power), "kW"))
        reading = Reading(ident, tuple(items), self.now_ms - 120, self.now_ms)
        seen = None if contact is None else SwitchReading(contact, kind, self.now_ms)
        return self.do(lambda tx: record_reading(tx, reading, seen, self.site, self.now_ms))

    def block(self, ident: str = "m1", total: str = "0.00", contact: Contact | None = Contact.CLOSED) -> Quality:
        """A register block that confirms itself; everything in the first rate."""
        return self.read(ident, total=total, t1=total, t2="0.00", contact=contact)

    def exhaust(self, *, total: str = "10.00", ident: str = "m1") -> House:
        """From a first reading of 0 to this one a minute later: what the house has used."""
        self.block(ident, "0.00")
        self.later(minutes=1)
        self.block(ident, total)
        return self

    # what the line does

    def start(self, command: str | None = None) -> SwitchJob | None:
        """The oldest queued command of all, or this one, goes to the wire."""
        ident = command or next(c.id for c in self.open() if c.state == "queued")
        return self.do(lambda tx: run_command.start_command(tx, ident, self.site, self.now_ms))

    def finish(self, job: SwitchJob | None, outcome: Outcome = OK) -> Command:
        assert job is not None
        self.do(lambda tx: run_command.finish_switch(tx, job.command, outcome, self.site, self.now_ms))
        return self.command(job.command)

    def send(self, outcome: Outcome = OK, command: str | None = None) -> Command:
        """A control frame goes out, and this comes back 100 ms later."""
        job = self.start(command)
        self.later(s=0.1)
        return self.finish(job, outcome)

    def look(self, command: Command, contact: Contact | None, *, power_w: int | None = None, kind: str = "relay_bit") -> Command:
        """The switch is read back when it is due; None for a silent meter."""
        due_ms = self.command(command.id).read_at_ms
        assert due_ms is not None, f"{command.state} is not to be read back"
        self.now_ms = max(self.now_ms, due_ms)
        outcome: Outcome = SILENT if contact is None else Answered(switch=SwitchReading(contact, kind, self.now_ms, power_w))
        self.do(lambda tx: run_command.finish_readback(tx, command.id, outcome, self.site, self.now_ms))
        return self.command(command.id)

    def carry_out(self, contact: Contact, *, power_w: int | None = 0, kind: str = "relay_bit") -> Command:
        """The oldest queued command is sent, acknowledged, and its switch read back once."""
        return self.look(self.send(), contact, power_w=power_w, kind=kind)

    def restart(self) -> int:
        return self.do(lambda tx: run_command.recover(tx, self.site, self.now_ms))

    # what people do

    def topup(self, amount: str, serial: str = "S-1", **changes: object) -> TopUpOutcome:
        values: dict[str, object] = {
            "identity": PaymentIdentity("bank", "", "", serial),
            "account": "A-1",
            "amount_micro": yuan(amount),
            "currency": "CNY",
            "paid_at": datetime.fromtimestamp(self.now_ms / 1000, UTC),
            "accounting_date": date(2026, 11, 24),
            "today": date(2026, 11, 24),
        }
        paid = TopUp(**{**values, **changes})  # type: ignore[arg-type]
        return self.do(lambda tx: apply_topup(tx, paid, self.site, self.now_ms))

    def order(
        self,
        verb: Verb,
        cause: str = "emergency",
        *,
        ident: str = "m1",
        id: str = "O-1",
        origin: str = "operator",
        lives_s: int = 600,
        **more: object,
    ) -> SupplyAnswer:
        """more: what else the order says; what its cause needs is named, unless it is given here."""
        if verb is Verb.CUT and "facts" not in more and "second" not in more:
            more |= ENOUGH.get(cause, {})
        order = SupplyOrder(id, ident, verb, cause, origin, self.now_ms + lives_s * 1000, **more)  # type: ignore[arg-type]
        return self.do(lambda tx: order_supply(tx, order, self.site, self.now_ms))

    def change(self, ident: str = "A-1", **changes: object) -> None:
        """The account's record changes, and it is judged."""

        def usecase(tx: Tx) -> None:
            tx.save_account(replace(self._account(tx, ident), **changes))  # type: ignore[arg-type]
            judge_account(tx, ident, self.site, self.now_ms)

        self.do(usecase)

    # what stands in the books

    @staticmethod
    def _account(tx: Tx, ident: str) -> Account:
        found = tx.account(ident)
        assert found is not None
        return found

    def account(self, ident: str = "A-1") -> Account:
        return self.do(lambda tx: self._account(tx, ident))

    def meter(self, ident: str = "m1") -> Meter:
        found = self.do(lambda tx: tx.meter(ident))
        assert found is not None
        return found

    def command(self, ident: str) -> Command:
        found = self.do(lambda tx: tx.command(ident))
        assert found is not None
        return found

    def open(self, ident: str | None = None) -> Sequence[Command]:
        return self.do(lambda tx: tx.open_commands(meter=ident))

    def balance(self, ident: str = "A-1") -> str:
        """Exactly, in yuan."""
        micro = self.do(lambda tx: tx.balance(ledger.customer(ident), "CNY"))
        return f"{Decimal(micro).scaleb(-6):f}"

    def relay(self, ident: str = "m1") -> str:
        """Where the switch is wanted, why, and where it was seen."""
        it = self.meter(ident)
        why = f" ({', '.join(it.cut_reasons)})" if it.cut_reasons else ""
        return f"{it.desired}{why}, seen {it.observed}"

    def orders(self) -> list[str]:
        """Every command there is, oldest first: verb and state."""
        return [f"{c.verb} {c.state}" for c in reversed(self.do(lambda tx: tx.commands(1000)))]

    def events(self) -> list[Event]:
        """What happened since the last call."""
        found = [s for s in reversed(self.do(lambda tx: tx.events(1000))) if s.id > self.told]
        self.told = max((s.id for s in found), default=self.told)
        return [s.event for s in found]

    def kinds(self) -> list[str]:
        """The names of what happened since the last call."""
        return [event.kind.value for event in self.events()]

    def outgoing(self, topic: Topic) -> list[Outgoing]:
        """What was put into the outbox under this topic since the last call of this method."""
        rows = self.do(lambda tx: tx.outgoing(self.sent, 10_000))
        self.sent = max((row.seq for row in rows), default=self.sent)
        return [row.message for row in rows if row.message.topic is topic]

    def balances_sent(self) -> list[tuple[Json, Json]]:
        return [(m.body["balance"], m.body["credit"]) for m in self.outgoing(Topic.BALANCE)]

    def verified(self) -> str | None:
        """What the verifier of the ledger finds."""
        return self.do(verify_ledger)[1]
