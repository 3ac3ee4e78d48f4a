"""Security authentication (03): identity, account, top-up, refund, wallet (dlt645.md 7).

MACs and ciphers come from a `security.SecurityModule`; here they are bytes. A top-up is answered at most once: after a lost
answer the wallet is read (`QueryWallet`), never the same money sent again with another count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, NoReturn, TypeVar

from protocols.dlt645 import codes
from protocols.dlt645.frames import Frame
from protocols.dlt645.identifiers import describe
from protocols.dlt645.items import FieldValue, Item
from protocols.dlt645.items_security import (
    IDENTIFY,
    INITIALISE,
    INVALIDATE,
    OPEN_ACCOUNT,
    ORDERED_MONEY,
    QUERY,
    READ_BACK,
    REFUND,
    SET_VALIDITY,
    TOP_UP,
    describe_request,
)
from protocols.dlt645.question import Order, digits, identifier
from protocols.dlt645.values import Value
from protocols.errors import Malformed, RequestError
from protocols.exchange import Done, Step

T = TypeVar("T")
MAC = 4
_NO_MAC = bytes(MAC)


class _Security(Order[T], Generic[T]):
    """DI, operator and payload out; DI and payload back. A refusal has two bytes by the grid's documents, one at some makers'."""

    def __init__(self, address: str, di: str, operator: str, preamble: int) -> None:
        super().__init__(address, codes.SECURITY, preamble=preamble)
        self._di, self._operator = di.upper(), operator

    def _payload(self) -> bytes:
        """What stands behind identifier and operator."""
        raise NotImplementedError

    def _result(self, payload: bytes) -> T:
        """What the answer says. Raises Malformed."""
        raise NotImplementedError

    def _question(self) -> bytes:
        return identifier(self._di) + digits("operator", self._operator, 4) + self._payload()

    def _answer(self, frame: Frame) -> Step[T] | None:
        head = identifier(self._di)
        if len(frame.data) < len(head):
            raise Malformed(f"the answer to {self._di} has {len(frame.data)} bytes, not even the identifier")
        if not frame.data.startswith(head):
            return None
        return Done(self._result(frame.data[len(head) :]))

    def _refuse(self, frame: Frame) -> NoReturn:
        if len(frame.data) > 2:
            raise Malformed(f"a refusal of 03 has 1 or 2 bytes, not {len(frame.data)}")
        super()._refuse(frame)

    def _values(self, payload: bytes) -> dict[str, Decimal | str | None]:
        """The values of the answer by name."""
        item = describe(self._di)
        found = item.read(payload) if item else None
        if found is None:
            raise Malformed(f"{self._di} was answered with {len(payload)} bytes, which are not its values")
        return {value.field.quantity: value.value for value in found}


class Security(_Security[bytes]):
    """Any function of 03 with its payload as bytes: vendors' own, key updates by the security module. Done with the payload."""

    def __init__(self, address: str, di: str, payload: bytes = b"", operator: str = "00000000", preamble: int = 4) -> None:
        super().__init__(address, di, operator, preamble)
        self._bytes = payload

    def _payload(self) -> bytes:
        return self._bytes

    def _result(self, payload: bytes) -> bytes:
        return payload


class _Empty(_Security[None]):
    def _result(self, payload: bytes) -> None:
        if payload:
            raise Malformed(f"{self._di} was answered with {len(payload)} bytes, where none are awaited")


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the meter's chip answers to our identity. random: 4 bytes that the next MACs take in; serial: the chip's, 8 bytes."""

    random: bytes
    serial: bytes


class Authenticate(_Security[Challenge]):
    """Shows the meter who asks (070000FF): cipher, random and diversification factor of the security module, 8 bytes each.

    Done with Challenge.
    """

    def __init__(
        self, address: str, cipher: bytes, random: bytes, factor: bytes, operator: str = "00000000", preamble: int = 4
    ) -> None:
        super().__init__(address, IDENTIFY, operator, preamble)
        self._parts = (cipher, random, factor)

    def _payload(self) -> bytes:
        return _written(self._di, [part.hex() for part in self._parts])

    def _result(self, payload: bytes) -> Challenge:
        self._values(payload)
        return Challenge(payload[:4], payload[4:])


class SetValidity(_Empty):
    """Sets for how many minutes an authentication holds (070001FF), 1 to 9999. mac: of the security module. Done(None)."""

    def __init__(self, address: str, minutes: int, mac: bytes, operator: str = "00000000", preamble: int = 4) -> None:
        super().__init__(address, SET_VALIDITY, operator, preamble)
        self._minutes, self._mac = minutes, mac

    def _payload(self) -> bytes:
        if self._minutes < 1:
            raise RequestError(f"an authentication cannot hold for {self._minutes} minutes")
        return _written(self._di, [self._minutes, self._mac.hex()])


@dataclass(frozen=True, slots=True)
class Wallet:
    """A meter's own wallet. balance_fen: hundredths of the currency unit; customer: 12 digits; key_info: 4 bytes, not ours to read.

    purchase_count: the identity of the last top-up that went in; the next one must be one more.
    macs: of balance and count, for the security module to judge; empty where the answer has none.
    """

    balance_fen: int
    purchase_count: int
    customer: str | None
    key_info: bytes
    macs: tuple[bytes, ...] = ()


class _WalletQuestion(_Security[Wallet]):
    def _payload(self) -> bytes:
        return b""

    def _result(self, payload: bytes) -> Wallet:
        found = self._values(payload)
        balance, count, customer = found["balance"], found["purchase_count"], found["customer_number"]
        if not isinstance(balance, Decimal) or not isinstance(count, Decimal):
            raise Malformed(f"{self._di} was answered without balance and count")
        macs = tuple(bytes.fromhex(str(found[name])) for name in ("mac_1", "mac_2") if name in found)
        fen = int(balance.scaleb(2))
        return Wallet(fen, int(count), None if customer is None else str(customer), bytes.fromhex(str(found["key_info"])), macs)


class QueryWallet(_WalletQuestion):
    """Reads the wallet in the meter's chip (078102FF). Done with Wallet."""

    def __init__(self, address: str, operator: str = "00000000", preamble: int = 4) -> None:
        super().__init__(address, QUERY, operator, preamble)


class Invalidate(_WalletQuestion):
    """Ends the authentication (070002FF). Done with the Wallet, which the meter tells on that occasion, without MACs."""

    def __init__(self, address: str, operator: str = "00000000", preamble: int = 4) -> None:
        super().__init__(address, INVALIDATE, operator, preamble)


@dataclass(frozen=True, slots=True)
class Purchase:
    """Money for a meter's wallet. amount_fen: hundredths of the currency unit; customer: 12 digits; macs: 4 bytes each.

    count: the purchase count that this makes (the meter's plus one; 0 or 1 at opening). `signed` gives what each MAC must cover.
    """

    amount_fen: int
    count: int
    customer: str
    macs: tuple[bytes, bytes] = (_NO_MAC, _NO_MAC)

    @property
    def signed(self) -> tuple[bytes, bytes]:
        """The bytes before each MAC: amount and count; the customer number. Raises RequestError for what does not fit."""
        data = self.payload(TOP_UP)
        return data[:8], data[12:18]

    def payload(self, di: str) -> bytes:
        """The payload of 070101FF or 070102FF. Raises RequestError for an amount, a count or a number that does not fit."""
        first, second = self.macs
        return _written(di, [Decimal(self.amount_fen).scaleb(-2), self.count, first.hex(), self.customer, second.hex()])


class _Money(_Empty):
    def __init__(self, address: str, di: str, purchase: Purchase, operator: str, preamble: int) -> None:
        super().__init__(address, di, operator, preamble)
        self._purchase = purchase

    def _payload(self) -> bytes:
        return self._purchase.payload(self._di)


class OpenAccount(_Money):
    """The first purchase (070101FF), count 0 or 1. Done(None): accepted."""

    def __init__(self, address: str, purchase: Purchase, operator: str = "00000000", preamble: int = 4) -> None:
        super().__init__(address, OPEN_ACCOUNT, purchase, operator, preamble)


class TopUp(_Money):
    """A purchase (070102FF) with the meter's count plus one. Done(None): accepted; `Refused` with "repeated recharge": it is in."""

    def __init__(self, address: str, purchase: Purchase, operator: str = "00000000", preamble: int = 4) -> None:
        super().__init__(address, TOP_UP, purchase, operator, preamble)


class InitialiseWallet(_Empty):
    """Puts an amount and the count 0 into a wallet (070103FF; test keys alone). That it refunds, as some say, is not confirmed."""

    def __init__(
        self, address: str, amount_fen: int, macs: tuple[bytes, bytes], operator: str = "00000000", preamble: int = 4
    ) -> None:
        super().__init__(address, INITIALISE, operator, preamble)
        self._amount_fen, self._macs = amount_fen, macs

    def _payload(self) -> bytes:
        first, second = self._macs
        return _written(self._di, [Decimal(self._amount_fen).scaleb(-2), first.hex(), 0, second.hex()])


@dataclass(frozen=True, slots=True)
class OrderedMoney:
    """Money for meters without a security chip: an order number (16 digits) is its identity. meter: 12 digits."""

    amount_fen: int
    order: str
    meter: str

    def payload(self, di: str) -> bytes:
        """Raises RequestError for an amount or a number that does not fit."""
        empty = _NO_MAC.hex()
        return Item(di, ORDERED_MONEY).write([Decimal(self.amount_fen).scaleb(-2), self.order, empty, self.meter, empty])


class OrderedTopUp(_Empty):
    """A purchase with an order number (070102FF at one maker's; one source). Done(None): accepted."""

    def __init__(self, address: str, money: OrderedMoney, operator: str = "00000000", preamble: int = 4) -> None:
        super().__init__(address, TOP_UP, operator, preamble)
        self._money = money

    def _payload(self) -> bytes:
        return self._money.payload(self._di)


class Refund(OrderedTopUp):
    """Takes money out again (070108FF at one maker's; one source). Done(None): accepted."""

    def __init__(self, address: str, money: OrderedMoney, operator: str = "00000000", preamble: int = 4) -> None:
        super().__init__(address, money, operator, preamble)
        self._di = REFUND


@dataclass(frozen=True, slots=True)
class ChipPlace:
    """Where in the meter's security chip: directory, file, offset and how many bytes."""

    directory: int
    file: int
    offset: int
    length: int

    @property
    def wire(self) -> bytes:
        """The 8 bytes that ask for it. Raises RequestError for a number beyond two bytes."""
        return _written(READ_BACK, [self.length, self.offset, self.file, self.directory])


@dataclass(frozen=True, slots=True)
class ChipData:
    """What the chip holds there, and its MAC, 4 bytes, for the security module to judge."""

    data: bytes
    mac: bytes


class ReadBack(_Security[ChipData]):
    """Reads data out of the meter's security chip (078001FF). Done with ChipData."""

    def __init__(self, address: str, place: ChipPlace, operator: str = "00000000", preamble: int = 4) -> None:
        super().__init__(address, READ_BACK, operator, preamble)
        self._place = place

    def _payload(self) -> bytes:
        return self._place.wire

    def _result(self, payload: bytes) -> ChipData:
        place = self._place.wire
        if not payload.startswith(place) or len(payload) < len(place) + MAC:
            raise Malformed(f"{self._di} was answered for another place, or without a MAC: {payload.hex().upper()}")
        return ChipData(payload[len(place) : -MAC], payload[-MAC:])


def _written(di: str, values: Sequence[FieldValue | Value]) -> bytes:
    item = describe_request(di)
    if item is None:
        raise RequestError(f"{di} is no function of 03 that we know")
    return item.write(values)
