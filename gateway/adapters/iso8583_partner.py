"""One partner on an ISO 8583 line: a message in, its answer out, by the same use cases as over HTTP (contract.md 3).

Silence is an answer too: whoever gets none must take the outcome as unknown, asks again or reverses, and is then told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from gateway.adapters.http.bank_account import account_view
from gateway.adapters.http.bank_rates import BankRates
from gateway.adapters.http.reads import Reads
from gateway.adapters.http.status import PartnerStatus
from gateway.adapters.iso8583_keys import SentKeys, WrongKey
from gateway.domain.bank_acts import Reversal, ReversalOutcome, ReversalVerdict
from gateway.domain.bank_terms import PartnerTerms
from gateway.domain.requests import PaymentIdentity, TopUp
from gateway.domain.traces import Trace
from gateway.domain.units import DECIMALS, MICRO, parse_signed_money
from gateway.services.ports import InvalidField, MoneyHeld, NotOpen, TopUpOutcome, TopUpVerdict, Unavailable
from protocols.bank import iso8583_meaning as meaning
from protocols.bank.iso8583 import BadMessage, Codec, Message, Received
from protocols.bank.iso8583_table import CUT_OVER, RESULTS, Dialect

ANSWER_WITHIN_S = 4.5
"""As over HTTP: later nobody is told anything, while the posting goes on to its end."""

MOST_UNANSWERED = 256
"""Postings of one partner under way, also those nobody waits for any more: beyond it new messages get no answer."""

_REVERSED = {
    ReversalVerdict.REVERSED: "ok",
    ReversalVerdict.TOMBSTONE: "ok",
    ReversalVerdict.NOTHING: "ok",
    ReversalVerdict.PENDING: "pending",
    ReversalVerdict.DELIVERED: "delivered",
    ReversalVerdict.DAY_CLOSED: "day_closed",
}


@dataclass(frozen=True, slots=True)
class IsoUseCases:
    """What a line can have done; pay and reverse raise ports.InvalidField, NotOpen, MoneyHeld, Unavailable, the others the last.

    pay is told whether the payment's name has its own day and time.
    cut_over: remembers a partner's accounting date; day: gives it back. heard: told of every message that is the partner's.
    """

    pay: Callable[[TopUp, Trace, bool], Awaitable[TopUpOutcome]]
    reverse: Callable[[Reversal, Trace], Awaitable[ReversalOutcome]]
    read: Reads
    cut_over: Callable[[str, date], Awaitable[None]]
    day: Callable[[str], date | None]
    heard: Callable[[], None]


@dataclass(frozen=True, slots=True)
class IsoTerms:
    """What is agreed with a partner beside its table. keys: for MACs, the first of which signs; asked for anew with each message.

    institutions: what field 32 may say; empty for anything. sign_on: nothing but network messages is taken before one. channel: of
    its payments. most_balance_micro, masked: as over HTTP. sent: keys that the partner may change itself, of which `keys` are the
    first; None where they change by hand only. rate: messages a second and a minute, beyond which it is heard more slowly.
    """

    partner: Callable[[], PartnerTerms]
    keys: Callable[[], Sequence[bytes]]
    institutions: frozenset[str]
    sign_on: bool
    channel: str
    most_balance_micro: int
    masked: Callable[[str], str]
    sent: SentKeys | None = None
    rate: tuple[int, int] | None = None


@dataclass(slots=True)
class Counted:
    """Messages of a partner by what became of them, and by MTI and code of field 39 ("" for silence), for metrics."""

    answered: dict[str, int] = field(default_factory=dict)
    silent: int = 0
    messages: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, mti: str, result: str | None, code: str) -> None:
        self.messages[mti, code] = self.messages.get((mti, code), 0) + 1
        if result is None:
            self.silent += 1
        else:
            self.answered[result] = self.answered.get(result, 0) + 1


@dataclass(frozen=True, slots=True)
class _Said:
    """A result and the balance that goes with it, in the currency's smallest unit."""

    result: str
    balance: int | None = None


class Partner:
    """The conversation with one partner, over however many connections. now_ms: UTC."""

    def __init__(self, dialect: Dialect, terms: IsoTerms, cases: IsoUseCases, now_ms: Callable[[], int]) -> None:
        self._dialect, self._codec = dialect, Codec(dialect)
        self._terms, self._cases, self._now_ms = terms, cases, now_ms
        self._zone = ZoneInfo(terms.partner().zone)
        self.bank = terms.partner().bank
        self._signed_on = not terms.sign_on
        self._echo_ms: int | None = None
        self._rates = BankRates()
        self._running: set[asyncio.Task[_Said | None]] = set()
        self.counted = Counted()

    @property
    def dialect(self) -> Dialect:
        """Its table."""
        return self._dialect

    def too_fast(self, now_s: float) -> bool:
        """Whether its next message has to wait; else it is counted. now_s: only rises."""
        return self._terms.rate is not None and self._rates.take(self.bank, *self._terms.rate, now_s) > 0

    async def answer(self, data: bytes) -> bytes | None:
        """The answer to one message without its frame; None for silence."""
        try:
            received = self._codec.decode(data)
        except BadMessage as bad:
            return self._reply(bad.partial, _Said("format"))
        message = received.message
        if not _asks(message):
            return self._reply(message, None)
        kind = meaning.kind_of(self._dialect, message)
        act = self._dialect.network.get(message.get(70)) if kind == "network" else None
        try:
            if act == "key_exchange" and self._terms.sent is not None:
                return await self._new_key(received, self._terms.sent)
            key = self._codec.sealed_by(received, self._keys())
            what = act if act == CUT_OVER else kind
            free = self._dialect.mac == "none" or (not received.mac and what in self._dialect.open_kinds)
            if key is None and not free:
                return await self._wrong_mac(message)
            sender = message.get(32).rjust(11, "0")
            if self._terms.institutions and kind != "network" and sender not in self._terms.institutions:
                return self._reply(message, _Said("sender"))
            await self._confirmed(key)
        except Unavailable:
            return self._reply(message, None)
        self._cases.heard()
        return self._reply(message, await self._judge(kind, message), key)

    def status(self, sessions: int, calls: int, turned_away: Mapping[str, int]) -> PartnerStatus:
        """For metrics; what is passed in is the listener's."""
        age_s = None if self._echo_ms is None else max(0, self._now_ms() - self._echo_ms) / 1000
        keys = {} if self._terms.sent is None else dict(self._terms.sent.counted)
        bad, messages = self.counted.answered.get("mac", 0), dict(self.counted.messages)
        lost = self._terms.sent is not None and self._terms.sent.lost
        return PartnerStatus(self.bank, messages, bad, sessions, calls, turned_away, age_s, self._signed_on, keys, lost)

    async def _new_key(self, received: Received, sent: SentKeys) -> bytes | None:
        """A new key for MACs. It always comes sealed, and whoever repeats one that was replaced since is refused. Unavailable.

        Whose seal a restore has made unknown is answered in the key that it brings.
        """
        message, form = received.message, self._dialect.key
        try:
            brought, new = sent.brought(message)
        except (BadMessage, WrongKey) as wrong:
            said, brought, new = _Said("format" if isinstance(wrong, BadMessage) else "invalid"), None, b""
        by_new = form is not None and form.by_new
        key = self._codec.sealed_by(received, [new] if by_new and brought is not None else self._keys())
        if (key is None and not (sent.forgiving and brought is not None)) or (by_new and brought is None):
            return await self._wrong_mac(message)
        if key is not None and not by_new:
            await self._confirmed(key)
        if key is None:
            await sent.wrong()
        else:
            self._cases.heard()
        if brought is not None and not await sent.take(brought, new, sealed=key is not None):
            said, key = _Said("invalid"), None
        elif brought is not None:
            said, key = _Said("ok"), key or new
        return self._reply(message, said, key)

    async def _wrong_mac(self, message: Message) -> bytes | None:
        if self._terms.sent is not None:
            await self._terms.sent.wrong()
        return self._reply(message, _Said("mac"))

    async def _confirmed(self, key: bytes | None) -> None:
        if key is not None and self._terms.sent is not None:
            await self._terms.sent.used(key)

    def _keys(self) -> Sequence[bytes]:
        return self._terms.keys() if self._terms.sent is None else self._terms.sent.valid()

    def _reply(self, message: Message | None, said: _Said | None, key: bytes | None = None) -> bytes | None:
        """key: what sealed the question. A partner that changes its keys itself is answered in the one that it used."""
        mti = "other" if message is None or meaning.first_sent(message.mti) not in self._dialect.messages else message.mti
        if message is None or said is None or not _asks(message):
            self.counted.add(mti, None, "")
            return None
        keys = self._keys()
        seal = key if key is not None and self._terms.sent is not None else next(iter(keys), None)
        answer = meaning.answer(self._dialect, message, said.result, said.balance)
        self.counted.add(mti, said.result, answer.get(39))
        try:
            return self._codec.encode(answer, seal)
        except BadMessage:  # of a message that was no good itself: what of it can be said again
            return self._codec.encode(_bare(self._dialect, answer), seal)

    async def _judge(self, kind: str | None, message: Message) -> _Said | None:
        try:
            match kind:
                case "network":
                    return await self._network(message)
                case "inquiry" if self._signed_on:
                    return await self._inquiry(message)
                case "payment" if self._signed_on:
                    return await self._bounded(self._payment(message))
                case "reversal":  # whoever is signed off still has to undo what nobody told him about
                    return await self._bounded(self._reversal(message))
                case "inquiry" | "payment":
                    return _Said("not_signed_on")
            return _Said("unknown_message")
        except BadMessage:
            return _Said("format")
        except (MoneyHeld, NotOpen):
            return _Said("not_open")
        except InvalidField:
            return _Said("invalid")
        except Unavailable:
            return None

    async def _network(self, message: Message) -> _Said:
        match self._dialect.network.get(message.get(70)):
            case "sign_on":
                self._signed_on = True
            case "sign_off":
                self._signed_on = False
            case "cut_over":
                today = self._today()
                day = meaning.settled_on(message, today) or today + timedelta(days=1)
                if abs(day - today) > timedelta(days=1):
                    return _Said("invalid")
                await self._cases.cut_over(self.bank, day)
            case "echo":
                self._echo_ms = self._now_ms()
            case _:
                return _Said("unknown_message")
        return _Said("ok")

    async def _inquiry(self, message: Message) -> _Said:
        account = meaning.account(self._dialect, message)
        most, masked = self._terms.most_balance_micro, self._terms.masked
        view = await self._cases.read(lambda tx: account_view(tx, account, most, masked))
        if view is None:
            return _Said("unknown_account")
        if message.get(49) and meaning.currency(self._dialect, message) != view.currency:
            return _Said("currency_mismatch")
        return _Said("ok", _smallest(view.balance, view.currency))

    async def _payment(self, message: Message) -> _Said | None:
        day = self._accounting_date(message)
        topup, trace = self._topup(message, day)
        outcome = await self._cases.pay(topup, trace, self._dated)
        payment = outcome.payment
        if outcome.verdict is TopUpVerdict.CONFLICT:
            return _Said("serial_conflict")
        if payment.status != "posted":
            code = "reversed" if payment.status == "reversed" else payment.problem or "other"
            return _Said(code if code in RESULTS else "other")
        return _Said("ok", _smallest(json.loads(payment.receipt or "{}").get("balance_after", ""), payment.currency))

    async def _reversal(self, message: Message) -> _Said | None:
        name = meaning.original(self._dialect, message)
        currency = meaning.currency(self._dialect, message)
        day = self._accounting_date(message)
        trace = self._trace(name, day)
        reversal = Reversal(
            PaymentIdentity(trace.bank, "", trace.scope, trace.serial),
            f"{message.get(7)}-{message.get(11)}",
            day,
            _micro(meaning.amount(message), currency),
            currency,
            f"ISO 8583 {meaning.first_sent(message.mti)}",
            self._sent_at(message),
        )
        outcome = await self._cases.reverse(reversal, trace)
        return _Said(_REVERSED[outcome.verdict])

    def _topup(self, message: Message, day: date) -> tuple[TopUp, Trace]:
        trace = self._trace(meaning.named(self._dialect, message), day)
        currency = meaning.currency(self._dialect, message)
        topup = TopUp(
            PaymentIdentity(trace.bank, "", trace.scope, trace.serial),
            meaning.account(self._dialect, message),
            _micro(meaning.amount(message), currency),
            currency,
            self._sent_at(message),
            day,
            self._today(),
            self._terms.channel,
        )
        return topup, trace

    def _trace(self, name: meaning.Named, day: date) -> Trace:
        partner = self._terms.partner()
        return Trace(partner.bank, name.original, partner.scope_of(day), name.serial, name.parts)

    def _today(self) -> date:
        return self._terms.partner().today(self._now_ms())

    def _accounting_date(self, message: Message) -> date:
        """Field 15, else the day of the last cut-over while it is no older than that, else the partner's own date."""
        today = self._today()
        told = meaning.settled_on(message, today)
        if told is not None:
            return told
        day = self._cases.day(self.bank)
        return day if day is not None and abs(day - today) <= timedelta(days=1) else today

    def _sent_at(self, message: Message) -> datetime:
        now = datetime.fromtimestamp(self._now_ms() / 1000, self._zone).replace(tzinfo=None)
        return meaning.sent_at(message, now).replace(tzinfo=self._zone).astimezone(UTC)

    @property
    def _dated(self) -> bool:
        """Whether a payment's name has its day."""
        return bool({7, 13} & {*self._dialect.always, *self._dialect.where_sent})

    async def _bounded(self, work: Coroutine[Any, Any, _Said | None]) -> _Said | None:
        """The posting runs to its end even when nobody waits any more."""
        if len(self._running) >= MOST_UNANSWERED:
            work.close()
            return None
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._forget)
        done, _ = await asyncio.wait({task}, timeout=ANSWER_WITHIN_S)
        return task.result() if done else None

    def _forget(self, task: asyncio.Task[_Said | None]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that nothing complains about an error nobody waited for


def _asks(message: Message) -> bool:
    """Whether it wants an answer, as requests and advices do, and answers and notifications do not."""
    return message.mti[2] in "02"


def _bare(dialect: Dialect, answer: Message) -> Message:
    """The same answer with what names the question, and nothing else."""
    kept = {number: text for number, text in answer.fields.items() if number in (7, 11, 39) or (number == 70 and len(text) == 3)}
    return Message(answer.mti, {number: text for number, text in kept.items() if number in dialect.fields}, answer.header)


def _micro(smallest: int, currency: str) -> int:
    return smallest * _step(currency)


def _smallest(shown: str, currency: str) -> int | None:
    """A decimal string in the currency's smallest unit; None for none."""
    return None if not shown else parse_signed_money(shown, currency) // _step(currency)


def _step(currency: str) -> int:
    step: int = MICRO // 10 ** DECIMALS[currency]
    return step
