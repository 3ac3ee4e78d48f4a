"""One meter on a virtual line, and the questions that most tests ask it."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from firmware_sim.clockwork import local
from protocols.dlt645 import master
from protocols.dlt645.frames import Dialect
from protocols.dlt645.identifiers import read_fields, write_fields
from protocols.dlt645.master import Action
from protocols.dlt645.security import IdentityQuestion, SealQuestion
from protocols.errors import Refused
from tests.firmware_sim.virtual import VirtualStreet, one_meter

ADDRESS = "202611210001"
NOON = datetime(2026, 11, 21, 12, 0, 0)
CUSTOMER = "000000004711"
FACTOR = bytes(range(8))
PASSWORDS = {"4": "444444", "2": "222222"}


class Bench(VirtualStreet):
    """A DL/T 645 meter "m" on line "a", with passwords 222222 (level 2, for control) and 444444 (level 4, for writes)."""

    def __init__(self, saved: dict[str, object] | None = None, **meter: object) -> None:
        given = {"password": "222222", "passwords": {"4": "444444"}, "contact_ms": [100, 100], **meter}
        super().__init__(one_meter(**given), saved)

    def read(self, di: str, **how: Any) -> bytes:
        """The payload of an identifier."""
        return self.ask("a", master.Read(self.device().address, di, **how)).data

    def values(self, di: str, **how: Any) -> dict[str, object]:
        """The values of an identifier by quantity."""
        dialect = Dialect.V1997 if len(di) == 4 else Dialect.V2007
        return {each.field.quantity: each.value for each in read_fields(di, self.read(di, **how), dialect)}

    def value(self, di: str, **how: Any) -> Any:
        """The only value of an identifier."""
        (found,) = self.values(di, **how).values()
        return found

    def write(self, di: str, value: object, level: int = 4, password: str = "444444") -> None:
        """Write one value, or bytes as they are. Raises Refused."""
        data = value if isinstance(value, bytes) else write_fields(di, [value])
        self.ask("a", master.Write(self.device().address, di, data, level, password, "00000042", long=True))

    def control(self, action: Action, n2: int = 0, expires_s: float = 600, password: str = "222222", level: int = 2) -> None:
        """An order of supply, which expires on the meter's own clock. Raises Refused."""
        expiry = local(self.meter("m").clock_us) + timedelta(seconds=expires_s)
        self.ask("a", master.Control(self.device().address, action, expiry, level, password, n2=n2))

    def refusal(self, call: Any, *args: Any, **how: Any) -> str:
        """The error word with which a call is refused, in hex; fails when it is not."""
        try:
            call(*args, **how)
        except Refused as refused:
            return refused.code.hex()
        raise AssertionError("accepted")

    def authenticate(self) -> None:
        """Prove who asks, by the TEST module."""
        device = self.device()
        identity = device.session.module.identify(IdentityQuestion(device.address, FACTOR))
        self.ask("a", master.Authenticate(device.address, identity.cipher, identity.random, identity.factor))

    def mac(self, purpose: str, plain: bytes) -> bytes:
        """The MAC of the last authentication."""
        return self.device().session.module.mac(self.question(purpose, plain))

    def question(self, purpose: str, plain: bytes) -> SealQuestion:
        """What the TEST module is asked."""
        return SealQuestion(self.device().address, FACTOR, self.device().session.challenge, purpose, plain)

    def buy(self, yuan: str, count: int, customer: str = CUSTOMER, first: bool = False, authenticate: bool = True) -> None:
        """Open the account or top up. Raises Refused."""
        if authenticate:
            self.authenticate()
        bare = master.Purchase(int(Decimal(yuan) * 100), count, customer)
        di = "070101FF" if first else "070102FF"
        macs = tuple(self.mac(di, part) for part in bare.signed)
        purchase = master.Purchase(bare.amount_fen, count, customer, (macs[0], macs[1]))
        self.ask("a", (master.OpenAccount if first else master.TopUp)(self.device().address, purchase))

    def status3(self) -> int:
        """Status word 3."""
        return int(self.value("04000503"))

    @property
    def supplied(self) -> bool:
        """The contact is closed."""
        return self.meter("m").relay.contact_closed


def prepaid(**wallet: object) -> Bench:
    """A meter that holds money: 0.5 yuan per kWh, an open account; `balance` and limits as given; 10 kW of load."""
    made = {"prices": ["0.5"], "customer": CUSTOMER, "count": 1, **wallet}
    return Bench(wallet=made, rates=1, day=[["00:00", 1]], load={"power_w": 10_000, "pf": 1})
