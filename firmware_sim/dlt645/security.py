"""Security functions (03) and what PA 98 and 99 carry (DL/T 645 notes 6, 7), judged by the TEST module of protocols.dlt645.

Nothing here is secret: the module's key is public, and its label says so.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from firmware_sim.clockwork import MINUTE_US
from firmware_sim.loads import DAY_US
from firmware_sim.meter import Meter
from firmware_sim.wallet import Refusal, Wallet
from protocols.bcd import decode_bcd, decode_digits, encode_digits
from protocols.dlt645.codes import Serr
from protocols.dlt645.items_security import (
    IDENTIFY,
    INITIALISE,
    INVALIDATE,
    KEY_UPDATE_2013,
    KEY_UPDATES_2009,
    OPEN_ACCOUNT,
    QUERY,
    READ_BACK,
    REFUND,
    SET_VALIDITY,
    TOP_UP,
    is_ordered,
)
from protocols.dlt645.layers import Purchases
from protocols.dlt645.security import MAC, Identity, Sealed, SealQuestion, TestSecurityModule
from protocols.dlt645.slave import SecurityRequest

if TYPE_CHECKING:
    from firmware_sim.dlt645.device import Device

DEFAULT_MINUTES = 5
MAC_LIMIT = 15  # refused MACs of one day, then remote functions rest until the next
MAX_ORDERS = 10  # order numbers that a meter without a chip remembers
WALLET_FILE = 1
_REFUSALS = {
    Refusal.NOT_OPEN: Serr.OTHER,
    Refusal.REPEATED: Serr.REPEATED,
    Refusal.COUNT: Serr.COUNT,
    Refusal.CUSTOMER: Serr.CUSTOMER,
    Refusal.HOARDING: Serr.HOARDING,
    Refusal.TOO_LITTLE: Serr.OTHER,
}


class Session:
    """Who has proved who he is, and until when. A wrong MAC counts toward the suspension of a day."""

    def __init__(self, meter: Meter, rng: Random) -> None:
        self._meter = meter
        self.module = TestSecurityModule(rng.randbytes)
        self.serial = rng.randbytes(8)
        self.validity_min = DEFAULT_MINUTES
        self._until_us = 0
        self._identity: tuple[bytes, bytes] = (b"", b"")
        self._refused = (0, 0)

    @property
    def valid(self) -> bool:
        """An authentication holds."""
        return self._meter.now_us < self._until_us

    @property
    def minutes(self) -> int:
        """Whole minutes for which it still holds."""
        return max(0, self._until_us - self._meter.now_us) // MINUTE_US

    @property
    def suspended(self) -> bool:
        """Too many wrong MACs today."""
        day, count = self._refused
        return day == self._meter.clock_us // DAY_US and count >= MAC_LIMIT

    @property
    def challenge(self) -> bytes:
        """The random bytes that were given to who has proved himself last."""
        return self._identity[1]

    def open(self, address: str, identity: Identity) -> bytes | None:
        """The challenge for one who is known; None for anybody else."""
        challenge = self.module.challenge(address, identity)
        if challenge is not None:
            self._identity = identity.factor, challenge
            self._until_us = self._meter.now_us + self.validity_min * MINUTE_US
        return challenge

    def close(self) -> None:
        """The authentication ends."""
        self._until_us = 0

    def question(self, address: str, purpose: str, plain: bytes = b"") -> SealQuestion:
        """What a MAC of this session covers."""
        factor, challenge = self._identity
        return SealQuestion(address, factor, challenge, purpose, plain)

    def accepts(self, address: str, purpose: str, plain: bytes, mac: bytes) -> bool:
        """Whether the MAC is right; a wrong one is counted."""
        return self._counted(self.module.accepts(self.question(address, purpose, plain), mac))

    def unseal(self, address: str, purpose: str, cipher: bytes, mac: bytes) -> bytes | None:
        """The plain bytes; None for a wrong MAC, which is counted."""
        plain = self.module.open(self.question(address, purpose), Sealed(cipher, mac))
        self._counted(plain is not None)
        return plain

    def _counted(self, right: bool) -> bool:
        if not right:
            today = self._meter.clock_us // DAY_US
            day, count = self._refused
            self._refused = today, count + 1 if day == today else 1
        return right


def serve(device: Device, request: SecurityRequest) -> bytes | Serr:
    """The payload of the answer, or why not."""
    if device.session.suspended and request.di != INVALIDATE:
        return Serr.SUSPENDED
    acts: dict[str, Callable[[Device, SecurityRequest], bytes | Serr]] = {
        IDENTIFY: _identify,
        SET_VALIDITY: _set_validity,
        INVALIDATE: _invalidate,
        OPEN_ACCOUNT: _purchase,
        TOP_UP: _purchase,
        INITIALISE: _initialise,
        REFUND: _refund,
        READ_BACK: _read_back,
        QUERY: _query,
        **dict.fromkeys((*KEY_UPDATES_2009, KEY_UPDATE_2013), _update_keys),
    }
    return acts[request.di](device, request) if request.di in acts else Serr.OTHER


def _identify(device: Device, request: SecurityRequest) -> bytes | Serr:
    payload = request.payload
    if len(payload) != 24:
        return Serr.OTHER
    challenge = device.session.open(device.address, Identity(payload[:8], payload[8:16], payload[16:]))
    return Serr.NOT_AUTHENTICATED if challenge is None else challenge + device.session.serial


def _set_validity(device: Device, request: SecurityRequest) -> bytes | Serr:
    plain, mac = request.payload[:2], request.payload[2:]
    if (refusal := _checked(device, request.di, plain, mac)) is not None:
        return refusal
    minutes = decode_bcd(plain) or 0
    if not minutes:
        return Serr.OTHER
    device.session.validity_min = minutes
    return b""


def _invalidate(device: Device, request: SecurityRequest) -> bytes | Serr:
    device.session.close()
    wallet = device.wallet
    if wallet is None:
        return Serr.OTHER
    return encode_digits(wallet.customer) + _amount(wallet) + wallet.count.to_bytes(4, "little") + _key_info(device)


def _purchase(device: Device, request: SecurityRequest) -> bytes | Serr:
    """070101FF and 070102FF: amount, count, MAC over both, customer number, MAC over that."""
    wallet, payload = device.wallet, request.payload
    if wallet is None:
        return Serr.OTHER
    if device.options.profile.purchases is Purchases.ORDERED and is_ordered(payload):
        return _ordered(device, request, wallet)
    if len(payload) != 22:
        return Serr.OTHER
    for plain, mac in ((payload[:8], payload[8:12]), (payload[12:18], payload[18:])):
        if (refusal := _checked(device, request.di, plain, mac)) is not None:
            return refusal
    amount, count = (int.from_bytes(payload[at : at + 4], "little") for at in (0, 4))
    enter = wallet.open if request.di == OPEN_ACCOUNT else wallet.top_up
    return _entered(device, enter(amount, count, decode_digits(payload[12:18]), device.meter.clock_us))


def _ordered(device: Device, request: SecurityRequest, wallet: Wallet) -> bytes | Serr:
    """One maker's form without a chip: the order number is the identity, the MACs are zero."""
    amount, order = int.from_bytes(request.payload[:4], "little"), request.payload[4:12].hex()
    if decode_digits(request.payload[16:22]) != device.address:
        return Serr.CUSTOMER
    if order in device.orders:
        return Serr.REPEATED
    if request.di == REFUND:
        refusal = wallet.refund(amount)
    elif wallet.opened:
        refusal = wallet.top_up(amount, wallet.count + 1, wallet.customer, device.meter.clock_us)
    else:
        refusal = wallet.open(amount, 1, wallet.customer, device.meter.clock_us)
    if refusal is None:
        device.orders.append(order)
    return _entered(device, refusal)


def _refund(device: Device, request: SecurityRequest) -> bytes | Serr:
    if device.wallet is None or device.options.profile.refund != REFUND or not is_ordered(request.payload):
        return Serr.OTHER
    return _ordered(device, request, device.wallet)


def _initialise(device: Device, request: SecurityRequest) -> bytes | Serr:
    """070103FF: amount, MAC, count 0, MAC; with the test key, which is all we have."""
    wallet, payload = device.wallet, request.payload
    if wallet is None or len(payload) != 16:
        return Serr.OTHER
    for plain, mac in ((payload[:4], payload[4:8]), (payload[8:12], payload[12:])):
        if (refusal := _checked(device, request.di, plain, mac)) is not None:
            return refusal
    if any(payload[8:12]):
        return Serr.COUNT
    wallet.initialise(int.from_bytes(payload[:4], "little"))
    return _entered(device, None)


def _entered(device: Device, refusal: Refusal | None) -> bytes | Serr:
    if refusal is not None:
        return _REFUSALS[refusal]
    device.purchased()
    return b""


def _query(device: Device, request: SecurityRequest) -> bytes | Serr:
    wallet = device.wallet
    if wallet is None:
        return Serr.OTHER
    parts = _amount(wallet), wallet.count.to_bytes(4, "little")
    answer = b"".join(part + _mac(device, request.di, part) for part in parts)
    return answer + encode_digits(wallet.customer) + _key_info(device)


def _read_back(device: Device, request: SecurityRequest) -> bytes | Serr:
    """078001FF: the wallet's file alone can be read: money and count."""
    wallet, payload = device.wallet, request.payload
    if wallet is None or len(payload) != 8:
        return Serr.OTHER
    length, offset, file, _directory = (int.from_bytes(payload[at : at + 2], "little") for at in range(0, 8, 2))
    content = _amount(wallet) + wallet.count.to_bytes(4, "little")
    if file != WALLET_FILE or not 0 < length <= len(content) - offset:
        return Serr.FLASH_ADDRESS
    data = content[offset : offset + length]
    return payload + data + _mac(device, request.di, data)


def _update_keys(device: Device, request: SecurityRequest) -> bytes | Serr:
    """Key slots become production keys in the status word 04000508; the keys themselves are not used by the test module."""
    payload = request.payload
    if request.di not in device.options.profile.key_updates or len(payload) < 36:
        return Serr.OTHER
    if request.di == KEY_UPDATE_2013:
        plain, mac, slots = payload[:-MAC], payload[-MAC:], payload[0:32:4]
    else:
        plain, mac, slots = payload[:4] + payload[8:], payload[4:8], payload[:1]
    if (refusal := _checked(device, request.di, plain, mac)) is not None:
        return refusal
    word = device.parameters.word("04000508")
    for slot in slots:
        word |= 1 << slot % 32
    device.parameters.set("04000508", word.to_bytes(4, "little"))
    return b""


def _checked(device: Device, purpose: str, plain: bytes, mac: bytes) -> Serr | None:
    """Authentication first, then the MAC."""
    if not device.session.valid:
        return Serr.NOT_AUTHENTICATED
    if len(mac) != MAC or not device.session.accepts(device.address, purpose, plain, mac):
        return Serr.ESAM
    return None


def _mac(device: Device, purpose: str, plain: bytes) -> bytes:
    return device.session.module.mac(device.session.question(device.address, purpose, plain))


def _amount(wallet: Wallet) -> bytes:
    return wallet.shown_fen[0].to_bytes(4, "little")


def _key_info(device: Device) -> bytes:
    return device.parameters.get("04000508") or bytes(4)
