"""Cases of the wallet: the purchase count is the identity of a top-up (dlt645.md 7). They put 1.00 into the meter.

What the meter deducts meanwhile lowers its balance, so a balance is judged by what it cannot be.

The MACs come from a security module; the test module, which protects nothing, is named as such in the report.
"""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from typing import TypeVar

from gateway.adapters.crypto_service import Crypto, CryptoError
from gateway.adapters.line_tools.acceptance.case import Broken, Case, Figure, NotRun, Seen
from gateway.adapters.line_tools.acceptance.subject import Subject
from protocols.dlt645.codes import Serr
from protocols.dlt645.master import Authenticate, OpenAccount, Purchase, QueryWallet, TopUp, Wallet
from protocols.dlt645.security import FACTOR, IdentityQuestion, SealQuestion
from protocols.errors import Refused

T = TypeVar("T")
FEN = 100
NOBODY = "000000000000"
OVER_ALL_FEN = 0xFFFF_FFFF
"""The most that can be said; no wallet may hold more than 999999.99."""

TOP_UP = "070102FF"
OPEN = "070101FF"
CLAUSE = "State Grid supplement to DL/T 645-2007, control code 03 (dlt645.md 7)"


async def _query(meter: Subject) -> Seen:
    wallet = await _wallet(meter)
    return Seen(
        f"balance {wallet.balance_fen / 100:.2f}, purchase count {wallet.purchase_count}, customer {wallet.customer}",
        (Figure("purchase count", wallet.purchase_count, ""),),
    )


async def _unauthenticated(meter: Subject) -> Seen:
    """Before anybody has shown who he is. Not judged where an earlier authentication still holds."""
    state = await meter.relay()
    if state.authenticated:
        raise NotRun("an earlier authentication still holds")
    wallet = await _wallet(meter)
    purchase = Purchase(FEN, wallet.purchase_count + 1, _customer(meter, wallet))
    return await _must_refuse(meter, purchase, Serr.NOT_AUTHENTICATED, wallet)


async def _next(meter: Subject) -> Seen:
    """The next count goes in, once: also when it is said again."""
    challenge = await _authenticated(meter)
    before = await _wallet(meter)
    purchase = await _signed(meter, Purchase(FEN, before.purchase_count + 1, _customer(meter, before)), challenge, before)
    await _sent(meter, purchase, before)
    after = await _wallet(meter)
    if after.purchase_count != before.purchase_count + 1 or not 0 < after.balance_fen - before.balance_fen <= FEN:
        raise Broken(f"from {_told(before)} to {_told(after)}, with {FEN / 100:.2f} put in")
    try:
        await _sent(meter, purchase, before)
    except Refused as refused:
        again = await _wallet(meter)
        if _moved(after, again):
            raise Broken(f"the repetition was {refused}, and changed {_told(after)} to {_told(again)}") from None
        if not int.from_bytes(refused.code, "little") & Serr.REPEATED:
            raise Broken(f"the repetition was {refused}, which does not say that it was one") from None
        return Seen(f"from {_told(before)} to {_told(after)}; the repetition was {refused}")
    raise Broken("the same purchase was taken twice")


async def _gap(meter: Subject) -> Seen:
    challenge = await _authenticated(meter)
    wallet = await _wallet(meter)
    purchase = await _signed(meter, Purchase(FEN, wallet.purchase_count + 2, _customer(meter, wallet)), challenge, wallet)
    return await _must_refuse(meter, purchase, Serr.COUNT, wallet)


async def _stranger(meter: Subject) -> Seen:
    challenge = await _authenticated(meter)
    wallet = await _wallet(meter)
    other = f"{(int(_customer(meter, wallet)) + 1) % 10**12:012d}"
    purchase = await _signed(meter, Purchase(FEN, wallet.purchase_count + 1, other), challenge, wallet)
    return await _must_refuse(meter, purchase, Serr.CUSTOMER, wallet)


async def _hoarding(meter: Subject) -> Seen:
    challenge = await _authenticated(meter)
    wallet = await _wallet(meter)
    purchase = await _signed(meter, Purchase(OVER_ALL_FEN, wallet.purchase_count + 1, _customer(meter, wallet)), challenge, wallet)
    return await _must_refuse(meter, purchase, Serr.HOARDING, wallet)


async def _bad_mac(meter: Subject) -> Seen:
    challenge = await _authenticated(meter)
    wallet = await _wallet(meter)
    good = await _signed(meter, Purchase(FEN, wallet.purchase_count + 1, _customer(meter, wallet)), challenge, wallet)
    meter.may_be_refused()
    meter.refused_once()
    wrong = replace(good, macs=(bytes(b ^ 0xFF for b in good.macs[0]), good.macs[1]))
    return await _must_refuse(meter, wrong, Serr.ESAM, wallet)


async def _must_refuse(meter: Subject, purchase: Purchase, why: Serr, before: Wallet) -> Seen:
    """Refused for this reason, with the wallet as it was. Raises Broken."""
    try:
        await _sent(meter, purchase, before)
    except Refused as refused:
        after = await _wallet(meter)
        if _moved(before, after):
            raise Broken(f"it was {refused}, and changed {_told(before)} to {_told(after)}") from None
        if not int.from_bytes(refused.code, "little") & why:
            raise Broken(f"it was {refused}, which is another reason") from None
        return Seen(f"{refused}; the wallet stayed as it was")
    raise Broken(f"it was accepted; the wallet is {_told(await _wallet(meter))}")


async def _sent(meter: Subject, purchase: Purchase, wallet: Wallet) -> None:
    """Once, and never again without looking: money is at most once."""
    if wallet.purchase_count:
        await meter.run(lambda: TopUp(meter.address, purchase, meter.options.operator))
    else:
        await meter.run(lambda: OpenAccount(meter.address, purchase, meter.options.operator))


async def _wallet(meter: Subject) -> Wallet:
    try:
        return await meter.run(lambda: QueryWallet(meter.address, meter.options.operator), 3)
    except Refused as refused:
        raise NotRun(f"the wallet cannot be read: {refused}") from None


async def _authenticated(meter: Subject) -> bytes:
    """The challenge that the MACs take in. Raises NotRun where the meter does not believe the module."""
    identity = await _asked(_module(meter).identify(IdentityQuestion(meter.address, _factor(meter))))
    try:
        challenge = await meter.run(
            lambda: Authenticate(meter.address, identity.cipher, identity.random, identity.factor, meter.options.operator), 2
        )
    except Refused as refused:
        raise NotRun(f"the meter does not know this security module: {refused}") from None
    return challenge.random


async def _signed(meter: Subject, purchase: Purchase, challenge: bytes, wallet: Wallet) -> Purchase:
    purpose = TOP_UP if wallet.purchase_count else OPEN
    module = _module(meter)
    first, second = (SealQuestion(meter.address, _factor(meter), challenge, purpose, plain) for plain in purchase.signed)
    return replace(purchase, macs=(await _asked(module.mac(first)), await _asked(module.mac(second))))


async def _asked(answer: Awaitable[T]) -> T:
    """What the security module gives. Raises NotRun where it does not: that says nothing about the meter."""
    try:
        return await answer
    except CryptoError as error:
        raise NotRun(str(error)) from None


def _factor(meter: Subject) -> bytes:
    """Two bytes of nothing and the meter's number, as State Grid derives keys."""
    return bytes(FACTOR - 6) + bytes.fromhex(meter.address)


def _module(meter: Subject) -> Crypto:
    if meter.module is None:
        raise NotRun("no security module was given")
    return meter.module


def _customer(meter: Subject, wallet: Wallet) -> str:
    if meter.options.customer is not None:
        return meter.options.customer
    if wallet.customer in (None, NOBODY):
        raise NotRun("the meter has no customer yet: name one with --customer")
    return str(wallet.customer)


def _moved(before: Wallet, after: Wallet) -> bool:
    """Whether a purchase went in; what is consumed only lowers."""
    return after.purchase_count != before.purchase_count or after.balance_fen > before.balance_fen


def _told(wallet: Wallet) -> str:
    return f"{wallet.balance_fen / 100:.2f} (count {wallet.purchase_count})"


CASES = (
    Case("wallet.query", CLAUSE, "Reading the wallet (078102FF)", "balance, count, customer", _query, opt_in="wallet"),
    Case("wallet.stranger", CLAUSE, "A top-up by nobody", "C3, b3; unchanged", _unauthenticated, opt_in="wallet"),
    Case("wallet.next", CLAUSE, "The next count, twice", "taken once, then C3, b1", _next, opt_in="wallet"),
    Case("wallet.gap", CLAUSE, "A count too far", "C3, b5; unchanged", _gap, opt_in="wallet"),
    Case("wallet.customer", CLAUSE, "Another customer", "C3, b4; unchanged", _stranger, opt_in="wallet"),
    Case("wallet.hoarding", CLAUSE, "More than it may hold", "C3, b6; unchanged", _hoarding, opt_in="wallet"),
    Case("wallet.mac", CLAUSE, "A wrong MAC", "C3, b2; unchanged", _bad_mac, opt_in="wallet"),
)
