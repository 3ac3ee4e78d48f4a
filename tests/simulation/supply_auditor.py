"""Auditor of a gateway that cuts: books of its own, from the simulator's truth and the schedule, none of the gateway's rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from firmware_sim.station import Station
from gateway.domain.credit import NOT_DUE
from gateway.domain.jobs import Answered, Group, Job, Outcome, ReadJob
from gateway.domain.supply import CommandState
from gateway.services.ports import Tx
from tests.simulation.supply_gateway import SupplyGateway
from tests.simulation.supply_line import Heard
from tests.simulation.supply_world import OFFSET_MIN, PRICE
from tests.simulation.virtual_loop import START_MS

PRICE_PER_COUNT = round(float(PRICE) * 1_000_000) // 100
"""Micro-units for 0.01 kWh."""

FRESH_S = 15 * 60
HEARTBEAT_S = 10 * 60
UNDER_WAY_S = 3.0
"""What is decided leaves so much later at most: the meter's clock is read between the decision and the frame."""

CUT_WITHIN_S = 35 * 60
"""Due, readable and allowed all that time, and cut by then: ten minutes to find a meter that was silent, five to its next read, as
long again for its notice and for an announced cut."""

LIT_WITHIN_S = 15 * 60
SHOWN_WITHIN_S, SHOWN_UNREAD_S = 10 * 60, 45 * 60
"""A hold is visible by then: two reads later, or one round of judging where nothing can be read."""


OVER = {"protect": ("jump", "never_cut"), "phone": ("protect", "never_cut")}
"""While one of these stands, that is told. Protection has ended for a clock that is ahead; nobody exempt is told of a cut."""


@dataclass(frozen=True, slots=True, order=True)
class Hold:
    """What stands from begin to end, seconds of the loop. house: empty for the whole site. forbids: no cut while it stands, after
    the first `after` seconds. said: what the held cut says, or the finding that is open."""

    name: str
    begin: float
    end: float
    house: str = ""
    forbids: bool = True
    after: float = 0.0
    said: str = ""
    finding: str = ""

    def stands(self, now: float) -> bool:
        return self.begin <= now < self.end

    def forbids_at(self, now: float) -> bool:
        """Whether a frame that leaves now was decided while it forbade it."""
        return self.forbids and self.begin + self.after + UNDER_WAY_S <= now < self.end


@dataclass
class Book:
    """One house. free_at: when it last had credit, or was exempt. due_since: since when nothing stands between it and a cut.
    slower_s: what more it may take."""

    house: str
    opening: int
    windows: Sequence[tuple[int, int]]
    paid: int = 0
    first_count: int = 0
    heard_at: float = -1e9
    free_at: float = 0.0
    due_since: float | None = None
    dark_since: float | None = None
    known_since: float | None = None
    trips: int = 0
    slower_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Told:
    """What the gateway says of a house. ordered: its cut for debt is."""

    credit: str
    ordered: bool
    proved: bool
    held: str


@dataclass
class Auditor:
    """problems: everything that was wrong, in the order in which it was seen."""

    gateway: SupplyGateway
    holds: list[Hold]
    books: Mapping[str, Book]
    loop_time: Callable[[], float]
    problems: list[str] = field(default_factory=list)
    shown: set[str] = field(default_factory=set)
    worst_cut_s: float = 0.0
    _told: Mapping[str, Told] = field(default_factory=dict)
    _findings: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Listen."""
        for name, book in self.books.items():
            book.first_count = self.station(name).meter.total_count
        self.gateway.heard = self._heard
        for tap in self.gateway.world.taps.values():
            tap.told = self._sent

    def station(self, house: str) -> Station:
        return self.gateway.world.street.station(house)

    def balance(self, house: str) -> int:
        """Micro-units, with every count that has flowed."""
        book = self.books[house]
        used = self.station(house).meter.total_count - book.first_count
        return book.opening + book.paid - used * PRICE_PER_COUNT

    def lit(self, house: str) -> bool:
        """Whether the contact carries current, or the customer may close it."""
        relay = self.station(house).meter.relay
        return relay.contact_closed or relay.allowed

    def forbidding(self, house: str, now: float) -> list[str]:
        """Why nobody may cut this house now."""
        book = self.books[house]
        why = [hold.name for hold in self._of(house) if hold.forbids_at(now)]
        if self._in_window(book, now) and self._in_window(book, now - UNDER_WAY_S):
            why.append("calendar")
        if now - book.heard_at > FRESH_S + UNDER_WAY_S:
            why.append("stale")
        if self.balance(house) > 0:
            why.append("credit")
        if not any(at > book.free_at and (who, step) == (f"A-{house}", "due") for at, who, step in self.gateway.world.phone.taken):
            why.append("notice")
        return why

    def tick(self) -> None:
        """Look at everybody, at least once a minute."""
        now = self.loop_time()
        if self.gateway.runs:
            self._told, self._findings = self.gateway.store.read_now(self._ask)
        for house in self.books:
            self._free(house, now)
            if self.gateway.runs:
                self._not_forgotten(house, now)
                self._visible(house, now)
            else:
                self.books[house].due_since = self.books[house].dark_since = None

    def done(self) -> bool:
        """Every debtor was cut, proved, and so reported, at the last look; whoever has credit is lit."""
        return all(self._cut(house) if self.balance(house) <= 0 else self.lit(house) for house in self.books)

    def _ask(self, tx: Tx) -> tuple[Mapping[str, Told], set[str]]:
        told = {}
        for house in self.books:
            account, meter, last = tx.account(f"A-{house}"), tx.meter(house), tx.last_command(house)
            assert account is not None and meter is not None
            proved = last is not None and last.state is CommandState.VERIFIED
            held = tx.meta(f"held:energy_debt:{account.id}") or ""
            told[house] = Told(account.credit, "credit:energy_debt" in meter.cut_reasons, proved, held)
        return told, {finding.kind.value for finding in tx.findings()}

    def _cut(self, house: str) -> bool:
        told = self._told.get(house)
        open_ = not self.station(house).meter.relay.contact_closed
        return told is not None and open_ and told.credit == "cut" and told.proved

    def _of(self, house: str) -> list[Hold]:
        return [hold for hold in self.holds if hold.house in ("", house)]

    def _in_window(self, book: Book, now: float) -> bool:
        local = datetime.fromtimestamp(START_MS / 1000, UTC) + timedelta(seconds=now, minutes=OFFSET_MIN)
        minute = local.weekday() * 1440 + local.hour * 60 + local.minute
        return any(first <= minute < last if first < last else minute >= first or minute < last for first, last in book.windows)

    def _heard(self, meter: str, job: Job, outcome: Outcome) -> None:
        if isinstance(job, ReadJob) and job.group is Group.BILLING and isinstance(outcome, Answered):
            self.books[meter].heard_at = self.loop_time()

    def _sent(self, heard: Heard) -> None:
        if not heard.trips:
            return
        [house] = [name for name in self.books if self.station(name).address == heard.frame.address]
        self.books[house].trips += 1
        self._free(house, heard.at)
        why = self.forbidding(house, heard.at)
        if why:
            self.problems.append(f"{heard.at:.0f} s: {house} was cut although: {', '.join(why)}")

    def _free(self, house: str, now: float) -> None:
        exempt = any(hold.name in ("protect", "never_cut") and hold.stands(now) for hold in self._of(house))
        if exempt or self.balance(house) > 0:
            self.books[house].free_at = now

    def _not_forgotten(self, house: str, now: float) -> None:
        """A debtor between whom and the cut nothing stands is cut in time; who has paid is lit in time."""
        book = self.books[house]
        standing = [hold for hold in self._of(house) if hold.stands(now)]
        owes = self.balance(house) <= 0
        held = any(hold.forbids or hold.name == "phone" for hold in standing) or self._in_window(book, now)
        if held or not owes or self._cut(house):
            if book.due_since is not None and owes and self._cut(house):
                self.worst_cut_s = max(self.worst_cut_s, now - book.due_since)
            book.due_since = None
        elif book.due_since is None:
            book.due_since = now
        elif now - book.due_since > CUT_WITHIN_S + book.slower_s:
            held_by = self._told[house].held
            self.problems.append(f"{now:.0f} s: {house} owes since {book.due_since:.0f} s and nobody cuts: {held_by}")
            book.due_since = now
        unreachable = any(hold.name in ("silent", "wire", "restart") for hold in standing)
        if owes or unreachable or self.lit(house):
            book.dark_since = None
        elif book.dark_since is None:
            book.dark_since = now
        elif now - book.dark_since > LIT_WITHIN_S:
            self.problems.append(f"{now:.0f} s: {house} has credit and is dark since {book.dark_since:.0f} s")
            book.dark_since = now

    def _must_tell(self, hold: Hold, house: str, now: float) -> bool:
        """A dead phone holds only who was not told before."""
        if any(other.name in OVER.get(hold.name, ()) and other.stands(now) for other in self._of(house)):
            return False
        return hold.forbids or (hold.name == "phone" and "notice" in self.forbidding(house, now))

    def _visible(self, house: str, now: float) -> None:
        """What holds the cut of somebody known to be out of credit is told with its reason."""
        book, told = self.books[house], self._told[house]
        if told.credit != "exhausted" or told.ordered:
            book.known_since = None
            return
        if book.known_since is None:
            book.known_since = now
        standing = [hold for hold in self._of(house) if hold.stands(now) and self._must_tell(hold, house, now)]
        dumb = any(hold.name in ("disk", "restart") and hold.end > now - SHOWN_WITHIN_S for hold in self.holds)
        for hold in standing:
            over = {other.name for other in self.holds} if hold.name == "log" else OVER.get(hold.name, ())  # asked for last of all
            others = [other.end for other in self._of(house) if other.name in over and other.end <= now]
            since = max(book.known_since, hold.begin + hold.after, *others)
            read = book.heard_at >= since + 60
            limit = SHOWN_WITHIN_S if read or hold.finding else SHOWN_UNREAD_S
            alone = len(standing) == 1 and not self._in_window(book, now)
            last = NOT_DUE in told.held or "no-cut" in told.held  # the log is asked for when nothing else is in the way
            waits = hold.name == "log" and (not alone or last)
            if now - since < limit or (dumb and not hold.finding) or waits:
                continue
            if (hold.said and hold.said in told.held) or hold.finding in self._findings:
                self.shown.add(hold.name)
            else:
                self.problems.append(f"{now:.0f} s: {house} is held by {hold.name}, and that is not told: {told.held!r}")
