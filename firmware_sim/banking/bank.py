"""A bank at work: it pays, and makes all the trouble that banks and their lines make, from a seed; it keeps its own book."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random

from firmware_sim.banking.book import UNDECIDED, Answer, Belief, Book, Outcome, Payment
from firmware_sim.banking.config import TROUBLES
from firmware_sim.banking.line import Line

MAX_TRIES = 40  # with the back-off below some minutes: an outage of the gateway is waited out, then a person looks
BACKOFF_S = (0.05, 0.1, 0.3, 1.0, 2.0, 5.0)
TRIES_BEFORE_REVERSAL = 6  # contract 3: ask again, query, then reverse until answered

Sleep = Callable[[float], Awaitable[None]]


@dataclass
class Office:
    """One partner over one or more lines. clock: aware wall clock. weights: how often each of TROUBLES is made, by name.

    least, most: fen of a payment. patience: tries before it is reversed.
    """

    lines: Sequence[Line]
    accounts: Sequence[str]
    clock: Callable[[], datetime]
    rng: Random
    weights: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TROUBLES, 1))
    least: int = 1
    most: int = 20_000
    patience: int = TRIES_BEFORE_REVERSAL
    sleep: Sleep = asyncio.sleep
    book: Book = field(default_factory=Book)
    _number: int = 0

    async def work(self, payments: int, side_by_side: int = 1) -> None:
        """So many payments, so many of them at a time."""
        names = list(self.weights)
        plan = [(self.rng.choices(names, [self.weights[name] for name in names])[0], self._next()) for _ in range(payments)]
        room = asyncio.Semaphore(side_by_side)

        async def one(trouble: str, line: Line, payment: Payment) -> None:
            async with room:
                await self.one(trouble, line, payment)

        async with asyncio.TaskGroup() as group:
            for trouble, (line, payment) in plan:
                group.create_task(one(trouble, line, payment))

    def new(self, line: Line, account: str, fen: int, day_offset: int = 0) -> Payment:
        """A payment that nobody has heard of yet; its number says on which line it goes."""
        self._number += 1
        while self.lines[self._number % len(self.lines)] is not line:
            self._number += 1
        return line.name(self._number, account, fen, self.clock(), day_offset)

    async def pay(self, line: Line, account: str, fen: int) -> Belief:
        """One payment without trouble, to its end."""
        payment = self.new(line, account, fen)
        await self.one("plain", line, payment)
        return self.book.beliefs[payment.serial]

    def _next(self) -> tuple[Line, Payment]:
        line = self.lines[(self._number + 1) % len(self.lines)]
        return line, self.new(line, self.rng.choice(self.accounts), self.rng.randint(self.least, self.most))

    async def settle(self) -> int:
        """Ask once more about whatever is unknown; how much of it still is."""
        for belief in [each for each in self.book.beliefs.values() if each.state == "unknown"]:
            line = self.lines[belief.payment.number % len(self.lines)]
            await self._undo(line, belief.payment)
        return self.book.states().get("unknown", 0)

    async def one(self, trouble: str, line: Line, payment: Payment) -> None:
        """One payment with this trouble, to its end."""
        if trouble == "spoil" and not getattr(line, "signs", False):
            trouble = "plain"
        self.book.acts[trouble] += 1
        self.book.believe(payment, "unknown")
        await getattr(self, f"_{trouble}")(line, payment)

    async def _plain(self, line: Line, payment: Payment) -> None:
        await self._pay(line, payment)

    async def _midnight(self, line: Line, payment: Payment) -> None:
        """Its accounting date is the bank's own: yesterday's or tomorrow's."""
        self.book.beliefs.pop(payment.serial, None)
        await self._pay(line, self.new(line, payment.account, payment.fen, self.rng.choice((-1, 1))))

    async def _lose(self, line: Line, payment: Payment) -> None:
        for _ in range(self.rng.randint(1, 3)):
            await line.pay(payment, lose=True)
        await self._pay(line, payment)

    async def _repeat(self, line: Line, payment: Payment) -> None:
        first = await self._pay(line, payment)
        for again in await asyncio.gather(*(self._until_said(line.pay, payment) for _ in range(self.rng.randint(1, 4)))):
            self._same(payment, first, again)

    async def _reorder(self, line: Line, payment: Payment) -> None:
        """Several senders of the same payment, none of which knows of the others."""
        found = await asyncio.gather(*(self._until_said(line.pay, payment) for _ in range(self.rng.randint(2, 5))))
        first = self._take(payment, found[0])
        for again in found[1:]:
            self._same(payment, first, again)

    async def _reverse(self, line: Line, payment: Payment) -> None:
        first = await self._pay(line, payment)
        if first.outcome is not Outcome.POSTED:
            return
        await self._undo(line, payment, lose=self.rng.random() < 0.5)
        if self.book.beliefs[payment.serial].state == "reversed":
            late = await self._until_said(line.pay, payment)
            self.book.must(late.outcome in (Outcome.REVERSED, *UNDECIDED), payment.serial, f"paid again after its reversal: {late}")

    async def _reverse_first(self, line: Line, payment: Payment) -> None:
        undone = await self._until_said(line.reverse, payment)
        self._count(undone)
        if undone.outcome in UNDECIDED:
            return
        self.book.must(undone.outcome is Outcome.REVERSED, payment.serial, f"reversed before it came: {undone}")
        self.book.believe(payment, "never")
        for _ in range(2):
            late = await self._until_said(line.pay, payment)
            self.book.must(late.outcome in (Outcome.REVERSED, *UNDECIDED), payment.serial, f"came after its reversal: {late}")

    async def _race(self, line: Line, payment: Payment) -> None:
        """Payment and reversal at the same moment: whatever comes first, the money is not there at the end."""
        paid, undone = await asyncio.gather(self._until_said(line.pay, payment), self._until_said(line.reverse, payment))
        self._count(paid)
        if undone.outcome is not Outcome.REVERSED:
            await self._undo(line, payment)
            return
        self.book.believe(payment, "reversed", paid.receipt)

    async def _change(self, line: Line, payment: Payment) -> None:
        first = await self._pay(line, payment)
        if first.outcome is not Outcome.POSTED:
            return
        others = [replace(payment, fen=payment.fen + 1)]
        others += [replace(payment, account=name) for name in self.accounts if name != payment.account][:1]
        for other in others:
            answer = await self._until_said(line.pay, other)
            right = answer.outcome in (Outcome.CONFLICT, *UNDECIDED)
            self.book.must(right, payment.serial, f"other content under its serial: {answer}")
        self._same(payment, first, await self._until_said(line.pay, payment))

    async def _spoil(self, line: Line, payment: Payment) -> None:
        """A wrong MAC or signature is refused and is no payment; the right one after it is the first of its name."""
        for verb in (line.pay, line.reverse):
            answer = await verb(payment, spoil=True)
            right = answer.outcome in (Outcome.BAD_SIGNATURE, *UNDECIDED)
            self.book.must(right, payment.serial, f"wrongly signed: {answer}")
        asked = await line.query(payment)
        right = asked is None or asked.outcome in (Outcome.NOT_FOUND, *UNDECIDED)
        self.book.must(right, payment.serial, f"booked by a wrong signature: {asked}")
        paid = await self._pay(line, payment)
        right = paid.outcome is not Outcome.REVERSED
        self.book.must(right, payment.serial, "a wrongly signed reversal was heeded")

    async def _pay(self, line: Line, payment: Payment) -> Answer:
        """Pay and find out: ask again with the same serial, query, and in the end reverse until answered."""
        answer = await self._until_said(line.pay, payment, self.patience)
        asked = await line.query(payment) if answer.outcome in UNDECIDED else None
        if asked is not None and asked.outcome is not Outcome.NOT_FOUND:
            answer = asked
        if answer.outcome in UNDECIDED:
            await self._undo(line, payment)
            return answer
        return self._take(payment, answer)

    async def _undo(self, line: Line, payment: Payment, *, lose: bool = False) -> None:
        """Reverse until answered; a reversal that was never answered leaves the payment unknown."""
        was = self.book.beliefs.get(payment.serial)
        if lose:
            await line.reverse(payment, lose=True)
        answer = await self._until_said(line.reverse, payment)
        self._count(answer)
        if answer.outcome is Outcome.STANDS:
            self.book.believe(payment, "posted", was.receipt if was else "")
        elif answer.outcome is Outcome.REVERSED:
            self.book.believe(payment, "reversed", was.receipt if was else "")
        else:
            self.book.must(answer.outcome in UNDECIDED, payment.serial, f"its reversal: {answer}")
            self.book.believe(payment, "unknown")

    async def _until_said(self, verb: Callable[[Payment], Awaitable[Answer]], payment: Payment, tries: int = MAX_TRIES) -> Answer:
        answer = await verb(payment)
        for number in range(tries - 1):
            if answer.outcome not in UNDECIDED:
                break
            await self.sleep(BACKOFF_S[min(number, len(BACKOFF_S) - 1)] * self.rng.uniform(0.8, 1.2))
            answer = await verb(payment)
        return answer

    def _take(self, payment: Payment, answer: Answer) -> Answer:
        self._count(answer)
        known = {Outcome.POSTED: "posted", Outcome.REFUSED: "refused", Outcome.REVERSED: "never"}
        self.book.believe(payment, known.get(answer.outcome, "unknown"), answer.receipt)
        self.book.must(answer.outcome in (*known, *UNDECIDED), payment.serial, f"a payment was answered {answer}")
        return answer

    def _same(self, payment: Payment, first: Answer, again: Answer) -> None:
        """A repeat is answered as the first time, or not at all."""
        if first.outcome in UNDECIDED or again.outcome in UNDECIDED:
            return
        right = again.outcome is first.outcome and again.receipt == first.receipt
        self.book.must(right, payment.serial, f"first {first}, then {again}")

    def _count(self, answer: Answer) -> None:
        self.book.answers[f"{answer.outcome} {answer.code}".strip()] += 1
