"""The notice loop in virtual time: what is sent when, and that no provider holds up another."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import pytest

from gateway.domain.credit import CreditPolicy
from gateway.domain.findings import FindingKind
from gateway.domain.meters import Account
from gateway.domain.notices import MOST_TRIES, Answer, Contact, Hours, Notice, NoticeState, Reach, Verdict
from gateway.entrypoints import notice_loop
from gateway.entrypoints.notice_loop import AT_ONCE, FAILING_AFTER, Post, deliver
from gateway.services import notify
from gateway.services.ports import Site, Tx, Unavailable
from tests.gateway.price_lists import flat
from tests.gateway.services.memory_tx import MemoryStore
from tests.simulation.virtual_loop import VirtualClock, in_virtual_time

T = TypeVar("T")
SITE = Site("gw-1", "Asia/Shanghai", clock_trusted=True)
HOUR_S = 3600.0
TAKEN, AWAY, REFUSED = Verdict(Answer.ACCEPTED), Verdict(Answer.LATER, "no answer"), Verdict(Answer.REFUSED, "404")
SMS, MAIL = Contact("sms", "+8613800138000"), Contact("mail", "li@example.cn")


@dataclass
class FakePost:
    """A provider: says what `says` has next (its last for ever) after `takes_s`, and remembers when it was asked."""

    id: str
    says: list[Verdict | Exception] = field(default_factory=lambda: [TAKEN])
    takes_s: float = 0.1
    per_minute: int = 6_000
    hours: Hours | None = None
    asked: list[tuple[float, int, str]] = field(default_factory=list)
    under_way: int = 0
    most: int = 0

    def opens_ms(self, now_ms: int) -> int:
        return self.hours.opens_ms(now_ms) if self.hours else now_ms

    async def send(self, notice: Notice, language: str) -> Verdict:
        self.asked.append((asyncio.get_running_loop().time(), notice.number, language))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(self.takes_s)
        self.under_way -= 1
        said = self.says.pop(0) if len(self.says) > 1 else self.says[0]
        if isinstance(said, Exception):
            raise said
        return said


class Stand:
    """A store with an account, the providers, and the loop over them."""

    def __init__(self, *posts: FakePost) -> None:
        self.posts, self.store, self.clock = posts, MemoryStore(), VirtualClock()
        self.unavailable = 0
        reach = Reach((SMS, MAIL), "zh")
        account = Account("A-1", "Li Wei", "CNY", "flat", CreditPolicy(5_000_000), reach=reach)
        self.store.tx.save_price_list(flat(500_000))
        self.store.tx.save_account(account)
        self.account = account

    async def write(self, usecase: Callable[[Tx], T]) -> T:
        if self.unavailable:
            self.unavailable -= 1
            raise Unavailable("disk full")
        return self.store.write_now(usecase)

    async def read(self, query: Callable[[Tx], T]) -> T:
        return self.store.write_now(query)

    def tell(self, count: int = 1, *channels: str) -> None:
        now_ms = self.clock.now_ms()
        for _ in range(count):
            notify.tell(self.store.tx, self.account, "low", {"balance": "3.00"}, now_ms, channels or ("sms",))

    def notices(self) -> Sequence[Notice]:
        return list(reversed(self.store.write_now(lambda tx: tx.notices(None, 0, 10_000))))

    def states(self) -> list[NoticeState]:
        return [notice.state for notice in self.notices()]

    async def run(self, for_s: float) -> None:
        posts: Mapping[str, Post] = {post.id: post for post in self.posts}
        task = asyncio.create_task(deliver(self, lambda: posts, lambda: SITE, self.clock))
        await asyncio.sleep(for_s)
        assert not task.done(), task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture(autouse=True)
def quiet_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, Mapping[str, object]]]]:
    """What the loop logs."""
    said: list[tuple[str, Mapping[str, object]]] = []

    class Log:
        def __getattr__(self, _level: str) -> Callable[..., None]:
            return lambda event, **data: said.append((event, data))

    monkeypatch.setattr(notice_loop, "log", Log())
    yield said


@in_virtual_time
async def test_a_notice_leaves_within_seconds_in_the_accounts_language() -> None:
    sms = FakePost("sms")
    stand = Stand(sms)
    stand.tell()
    await stand.run(5)
    assert stand.states() == [NoticeState.ACCEPTED]
    assert [(number, language) for _, number, language in sms.asked] == [(1, "zh")]


@in_virtual_time
async def test_a_provider_that_hangs_holds_up_only_its_own() -> None:
    sms, mail = FakePost("sms", [AWAY], takes_s=20), FakePost("mail")
    stand = Stand(sms, mail)
    stand.tell(500, "sms")
    stand.tell(20, "mail")
    await stand.run(10)
    by_channel = {channel: [n.state for n in stand.notices() if n.channel == channel] for channel in ("sms", "mail")}
    assert set(by_channel["mail"]) == {NoticeState.ACCEPTED} and set(by_channel["sms"]) == {NoticeState.QUEUED}
    assert sms.most <= AT_ONCE and mail.most <= AT_ONCE


@in_virtual_time
async def test_a_phone_that_is_off_makes_nobody_else_wait() -> None:
    sms = FakePost("sms", [*[AWAY] * 4, TAKEN])
    stand = Stand(sms)
    stand.tell(4)
    other = replace(stand.account, id="A-2")
    stand.store.tx.save_account(other)
    notify.tell(stand.store.tx, other, "low", {"balance": "3.00"}, stand.clock.now_ms(), ("sms",))
    await stand.run(10)
    assert stand.states() == [*[NoticeState.QUEUED] * 4, NoticeState.ACCEPTED]


@in_virtual_time
async def test_a_provider_that_is_away_is_asked_rarely_told_of_and_comes_back() -> None:
    sms = FakePost("sms", [AWAY])
    stand = Stand(sms)
    stand.tell(300)
    await stand.run(3 * HOUR_S)
    assert FAILING_AFTER <= len(sms.asked) < 3 * 6 + 10, "once in ten minutes when it has long been away"
    found = stand.store.write_now(lambda tx: tx.finding(FindingKind.NOTICES_FAILING, "channel:sms"))
    assert found is not None and found.text == "channel sms gets nothing out: no answer"
    assert max(notice.tries for notice in stand.notices()) < 10, "those behind spend none of their tries"
    sms.says = [TAKEN]
    await stand.run(HOUR_S)
    assert set(stand.states()) == {NoticeState.ACCEPTED}
    assert stand.store.write_now(lambda tx: tx.finding(FindingKind.NOTICES_FAILING, "channel:sms")) is None


@in_virtual_time
async def test_pauses_grow_and_a_provider_away_for_days_ends_in_failure() -> None:
    sms = FakePost("sms", [AWAY])
    stand = Stand(sms)
    stand.tell()
    await stand.run(40 * HOUR_S)
    [notice] = stand.notices()
    assert notice.state is NoticeState.FAILED and notice.tries <= MOST_TRIES
    gaps = [later - sooner for (sooner, _, _), (later, _, _) in zip(sms.asked, sms.asked[1:], strict=False)]
    assert all(30 <= gap <= 3700 for gap in gaps) and gaps[0] < 40 and gaps[-1] > 3500
    assert 20 * HOUR_S < sms.asked[-1][0] < 37 * HOUR_S
    assert stand.store.write_now(lambda tx: tx.finding(FindingKind.NOTICES_FAILING, "A-1")) is not None


@in_virtual_time
async def test_a_refusal_is_final_and_no_fault_of_the_provider() -> None:
    sms = FakePost("sms", [REFUSED])
    stand = Stand(sms)
    stand.tell(10)
    await stand.run(60)
    assert set(stand.states()) == {NoticeState.FAILED} and len(sms.asked) == 10
    assert stand.store.write_now(lambda tx: tx.finding(FindingKind.NOTICES_FAILING, "channel:sms")) is None


@in_virtual_time
async def test_no_more_a_minute_than_the_channel_may_take() -> None:
    sms = FakePost("sms", per_minute=30)
    stand = Stand(sms)
    stand.tell(200)
    await stand.run(5 * 60)
    times = [at for at, _, _ in sms.asked]
    assert 30 * 5 - AT_ONCE <= len(times) <= 30 * 5 + AT_ONCE
    for start in times:
        assert sum(start <= at < start + 60 for at in times) <= 30 + AT_ONCE


@in_virtual_time
async def test_text_messages_wait_for_the_morning() -> None:
    hours = Hours(9 * 60, 20 * 60, "Asia/Shanghai")  # it is 08:00 there
    sms, mail = FakePost("sms", hours=hours), FakePost("mail")
    stand = Stand(sms, mail)
    stand.tell(500, "sms", "mail")
    await stand.run(HOUR_S - 10)
    assert sms.asked == [] and len(mail.asked) == 500
    await stand.run(120)
    assert len(sms.asked) == 500 and min(at for at, _, _ in sms.asked) >= HOUR_S


@in_virtual_time
async def test_an_error_of_ours_is_logged_and_the_loop_goes_on(quiet_log: list[tuple[str, Mapping[str, object]]]) -> None:
    sms = FakePost("sms", [KeyError("x"), TAKEN])
    stand = Stand(sms)
    stand.tell()
    await stand.run(60)
    assert stand.states() == [NoticeState.ACCEPTED] and len(sms.asked) == 2
    assert any(event == "notice_not_sent" for event, _ in quiet_log)


@in_virtual_time
async def test_what_was_accepted_is_not_sent_again_because_the_store_was_away() -> None:
    sms = FakePost("sms", takes_s=1.0)
    stand = Stand(sms)
    stand.tell()

    async def fill_the_disk() -> None:
        await asyncio.sleep(0.5)  # while the provider thinks
        stand.unavailable = 30

    await asyncio.gather(stand.run(120), fill_the_disk())
    assert stand.states() == [NoticeState.ACCEPTED] and len(sms.asked) == 1


@in_virtual_time
async def test_a_channel_that_is_gone_fails_its_notices() -> None:
    stand = Stand(FakePost("mail"))
    stand.tell(3, "sms")
    await stand.run(10)
    assert {(notice.state, notice.detail) for notice in stand.notices()} == {(NoticeState.FAILED, notify.NO_CHANNEL)}


@in_virtual_time
async def test_no_log_line_shows_an_address(quiet_log: list[tuple[str, Mapping[str, object]]]) -> None:
    sms = FakePost("sms", [AWAY, REFUSED, TAKEN])
    stand = Stand(sms)
    stand.tell(3)
    await stand.run(HOUR_S)
    assert quiet_log and SMS.to not in repr(quiet_log) and SMS.to[3:] not in repr(quiet_log)


@in_virtual_time
async def test_a_day_with_failures_is_told_once() -> None:
    stand = Stand(FakePost("sms", [REFUSED]))
    stand.tell(2)
    await stand.run(30 * HOUR_S)
    told = [each.event for each in stand.store.write_now(lambda tx: tx.events(500)) if each.event.kind == "notices_failed"]
    assert [dict(event.data) for event in told] == [{"failed": 2, "bad_contacts": 1}]
