"""A DL/T 645 meter's wallet: read by 078102FF and its records, filled by 070101FF and 070102FF, emptied by 070108FF (dlt645.md 7).

MACs and identities come from a crypto service. Nothing here decides what a purchase did: that is read afterwards.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import TypeVar

from gateway.adapters.crypto_service import Crypto, CryptoError
from gateway.adapters.lines.driver import NoAnswer, Timed
from gateway.adapters.lines.transport import LineDown
from gateway.adapters.meter_links.outcomes import Asker, NotSent, Unfit
from gateway.domain.jobs import WalletReadJob, WalletSeen, WalletWriteJob
from gateway.domain.readings import Reading
from gateway.domain.wallet_mirror import FEN
from gateway.domain.wallets import KEYS_REFUSED, Act, CountSeen
from protocols.dlt645.codes import Serr
from protocols.dlt645.identifiers import describe
from protocols.dlt645.items_security import OPEN_ACCOUNT, TOP_UP
from protocols.dlt645.master import (
    Authenticate,
    OpenAccount,
    OrderedMoney,
    OrderedTopUp,
    Purchase,
    QueryWallet,
    ReadAnswer,
    Refund,
    TopUp,
    Wallet,
)
from protocols.dlt645.security import FACTOR, IdentityQuestion, SealQuestion
from protocols.errors import ProtocolError, Refused
from protocols.profiles import WalletForm

T = TypeVar("T")

CRYPTO_S = 2.0
"""For one answer of the crypto service while a line waits for it: a restore for another meter waits no longer. Modules take less
than a second."""

REMAINING, OVERDRAWN, HOARDING = "00900200", "00900201", "04001004"
COUNT_OF, AMOUNT_OF = "033302", "033303"
"""Records of purchases, the newest as 01 (dlt645.md 8)."""

RECORDS = 10
NOBODY = "000000000000"
"""The customer number of a wallet that has none."""

_KEYS = Serr.ESAM | Serr.NOT_AUTHENTICATED | Serr.SUSPENDED

Ask = Callable[[str], Awaitable[Timed[ReadAnswer]]]
"""Reads an identifier."""


class MacRefused(Refused):
    """The meter believes neither our MAC nor who we are; some of these a day lock it (prepayment.md 9)."""

    def __str__(self) -> str:
        return f"{KEYS_REFUSED}: {super().__str__()}"


class Dlt645Wallet:
    """One meter's wallet. form: how its maker has it. crypto: None where none is configured: then it is only read.

    ask, bill: read an identifier, and the registers.
    """

    def __init__(
        self,
        asker: Asker,
        address: str,
        form: WalletForm,
        crypto: Crypto | None,
        ask: Ask,
        bill: Callable[[], Awaitable[Reading]],
        operator: str,
        preamble: int,
    ) -> None:
        self._asker, self._address, self._form, self._crypto = asker, address, form, crypto
        self._ask, self._bill = ask, bill
        self._operator, self._preamble = operator, preamble

    async def look(self, job: WalletReadJob) -> WalletSeen:
        """The wallet between two readings of the registers. Raises what an exchange raises."""
        before = await self._bill()
        wallet, at_ms = await self._wallet()
        overdrawn = 0 if wallet.balance_fen else await self._fen(OVERDRAWN) or 0
        purchase = None if job.count is None else await self._purchase(wallet.purchase_count - job.count + 1)
        after = await self._bill()
        hoarding = await self._fen(HOARDING) or 0 if job.limits else None
        count = CountSeen(wallet.purchase_count, None if wallet.customer == NOBODY else wallet.customer, purchase)
        return WalletSeen(wallet.balance_fen, overdrawn, count, at_ms, before, after, hoarding)

    async def write(self, job: WalletWriteJob) -> None:
        """Send a purchase or a refund, once. Raises Unfit or NotSent when it was not sent, and what an exchange raises."""
        if job.act is Act.REFUND and not self._form.refund:
            raise Unfit("not sent: this meter has no function for a refund")
        if self._form.kind == "ordered":
            money = OrderedMoney(job.fen, order_number(job), self._address)
            kind = Refund if job.act is Act.REFUND else OrderedTopUp
            return await self._once(kind(self._address, money, self._operator, self._preamble))
        if job.act is Act.REFUND:
            raise Unfit("not sent: a wallet with purchase counts knows no refund")
        if len(job.customer) != 12:
            raise Unfit("not sent: no customer number is known for this wallet")
        challenge = await self._identify()
        purchase = await self._signed(job, challenge)
        buy = OpenAccount if job.opening else TopUp
        await self._once(buy(self._address, purchase, self._operator, self._preamble))

    async def _wallet(self) -> tuple[Wallet, int]:
        """By 078102FF; from the registers of what remains and of the last purchase where a meter does not know that."""
        try:
            answer = await self._asker.once(QueryWallet(self._address, self._operator, self._preamble))
        except Refused:
            balance, count = await self._fen(REMAINING), await self._number(f"{COUNT_OF}01")
            if balance is None:
                raise
            answered = await self._ask(REMAINING)
            return Wallet(balance, int(count or 0), None, b""), answered.answered_ms
        return answer.value, answer.answered_ms

    async def _purchase(self, number: int) -> tuple[int, int] | None:
        """Count and amount of the purchase so many back; None where the meter keeps no record of it."""
        if not 1 <= number <= RECORDS:
            return None
        count, amount = await self._number(f"{COUNT_OF}{number:02X}"), await self._fen(f"{AMOUNT_OF}{number:02X}")
        return None if count is None or amount is None else (int(count), amount * FEN)

    async def _fen(self, di: str) -> int | None:
        value = await self._number(di)
        return None if value is None else int(value.scaleb(2))

    async def _number(self, di: str) -> Decimal | None:
        """One number; None where the meter does not have it, or a filler in its place."""
        try:
            answer = await self._ask(di)
        except Refused:
            return None
        item = describe(di)
        found = item.read(answer.value.data) if item is not None else None
        value = found[0].value if found else None
        return value if isinstance(value, Decimal) else None

    async def _identify(self) -> bytes:
        """The challenge that the MACs take in. Nothing of the purchase has left yet, whatever fails here."""
        question = IdentityQuestion(self._address, self._factor)
        identity = await self._crypto_says(lambda crypto: crypto.identify(question))
        show = Authenticate(self._address, identity.cipher, identity.random, identity.factor, self._operator, self._preamble)
        try:
            return (await self._asker.once(show)).value.random
        except Refused as refused:
            raise Unfit(f"{KEYS_REFUSED}: {refused}") from None
        except (LineDown, NoAnswer, ProtocolError) as error:
            raise NotSent("not sent, the meter did not answer who we are") from error

    async def _signed(self, job: WalletWriteJob, challenge: bytes) -> Purchase:
        purchase = Purchase(job.fen, job.count, job.customer)
        purpose = OPEN_ACCOUNT if job.opening else TOP_UP
        macs = []
        for plain in purchase.signed:
            question = SealQuestion(self._address, self._factor, challenge, purpose, plain)
            macs.append(await self._crypto_says(lambda crypto, question=question: crypto.mac(question)))  # type: ignore[misc]
        return replace(purchase, macs=(macs[0], macs[1]))

    async def _crypto_says(self, asked: Callable[[Crypto], Awaitable[T]]) -> T:
        if self._crypto is None:
            raise Unfit("not sent: [security] names no crypto service, and this meter takes money only with its MACs")
        try:
            async with asyncio.timeout(CRYPTO_S):
                return await asked(self._crypto)
        except CryptoError as error:
            raise Unfit(f"not sent: {error}") from None
        except TimeoutError:
            raise Unfit(f"not sent: {self._crypto.label} did not answer within {CRYPTO_S:g} s") from None

    async def _once(self, exchange: OpenAccount | TopUp | OrderedTopUp) -> None:
        try:
            await self._asker.once(exchange)
        except Refused as refused:
            if int.from_bytes(refused.code, "little") & _KEYS:
                raise MacRefused(refused.code, refused.flags) from None
            raise

    @property
    def _factor(self) -> bytes:
        """Two bytes of nothing and the meter's number, as State Grid derives keys."""
        return bytes(FACTOR - 6) + bytes.fromhex(self._address)


def order_number(job: WalletWriteJob) -> str:
    """16 digits that name this delivery for ever: its moment, and three that tell two of one moment apart."""
    return f"{job.order_ms % 10**13:013d}{sum(job.delivery.encode()) % 1000:03d}"
