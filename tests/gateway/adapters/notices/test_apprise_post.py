"""Notices through apprise to real servers on loopback: taken, refused, away, hanging."""

from __future__ import annotations

import email
import email.policy
import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from gateway.adapters.notices import apprise_post
from gateway.adapters.notices.apprise_post import MOST_HUNG, ApprisePost, ChannelError, Terms, check, judged
from gateway.adapters.notices.texts import Texts, load_texts
from gateway.adapters.profiles import config_folder
from gateway.domain.notices import Answer, Notice, Verdict
from tests.gateway.adapters.notices.providers import HttpProvider, MailServer, http_provider, mail_server
from tests.system.processes import free_port

TO, MAIL = "+8613800138000", "li.wei@example.cn"
NOTICE = Notice(42, "A-1", "low", "sms", TO, {"balance": "3.00", "currency": "CNY"}, 0)


@pytest.fixture(scope="module")
def texts() -> Texts:
    return load_texts(config_folder() / "notices")


@pytest.fixture
def http() -> Iterator[HttpProvider]:
    with http_provider() as provider:
        yield provider


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with mail_server(free_port()) as server:
        yield server


async def test_a_text_message_arrives_with_its_number(http: HttpProvider, texts: Texts) -> None:
    post = ApprisePost("sms", http.url, texts, Terms(short=True))
    assert await post.send(NOTICE, "en") == Verdict(Answer.ACCEPTED)
    [(body, _)] = http.got
    assert (body["to"], body["notice"]) == (TO, "42")
    assert body["message"] == "Electricity A-1: balance 3.00 CNY. Please top up. [42]" and body["title"] == ""


async def test_a_mail_arrives_in_chinese_and_carries_its_number(mail: MailServer, texts: Texts) -> None:
    post = ApprisePost("mail", mail.url, texts, Terms())
    assert await post.send(replace(NOTICE, channel="mail", to=MAIL), "zh") == Verdict(Answer.ACCEPTED)
    [(to, raw)] = mail.got
    message = email.message_from_string(raw, policy=email.policy.default)
    body = message.get_body()
    assert to == [MAIL] and message["X-Wattgate-Notice"] == "42" and body is not None
    assert "余额" in str(message["subject"]) and "3.00 CNY" in body.get_content() and "[42]" in body.get_content()


@pytest.mark.parametrize(
    ("status", "answer", "detail"),
    [
        (200, Answer.ACCEPTED, ""),
        (400, Answer.REFUSED, "the provider refuses it: 400"),
        (404, Answer.REFUSED, "the provider refuses it: 404"),
        (401, Answer.LATER, "error=401"),  # our account with the provider, not the customer's number
        (429, Answer.LATER, "error=429"),
        (500, Answer.LATER, "error=500"),
        (503, Answer.LATER, "error=503"),
    ],
)
async def test_what_an_answer_means(http: HttpProvider, texts: Texts, status: int, answer: Answer, detail: str) -> None:
    http.statuses = [status]
    verdict = await ApprisePost("sms", http.url, texts, Terms()).send(NOTICE, "en")
    assert verdict.answer is answer and detail in verdict.detail


@pytest.mark.parametrize(
    ("rcpt", "data", "answer", "detail"),
    [
        ("550 5.1.1 no such user", "250 OK", Answer.REFUSED, "the mail server refuses it: 550"),
        ("553 bad address", "250 OK", Answer.REFUSED, "the mail server refuses it: 553"),
        ("450 mailbox busy", "250 OK", Answer.LATER, "450"),
        ("", "554 looks like spam", Answer.LATER, "554"),  # the text, not the address
        ("", "452 no room", Answer.LATER, "452"),
    ],
)
async def test_what_a_mail_servers_answer_means(
    mail: MailServer, texts: Texts, rcpt: str, data: str, answer: Answer, detail: str
) -> None:
    mail.data_answer = data
    if rcpt:
        mail.to_answer[MAIL] = rcpt
    verdict = await ApprisePost("mail", mail.url, texts, Terms()).send(replace(NOTICE, to=MAIL), "en")
    assert verdict.answer is answer and detail in verdict.detail, verdict
    assert MAIL not in verdict.detail


async def test_a_provider_that_is_down_is_asked_again_later(texts: Texts) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    for url in (f"json://{nobody}/?:to={{to}}", f"mailto://{nobody}?from=power@example.cn&to=someone@example.cn"):
        verdict = await ApprisePost("sms", url, texts, Terms()).send(NOTICE, "en")
        assert verdict.answer is Answer.LATER and verdict.detail and TO not in verdict.detail


async def test_a_provider_that_hangs_holds_nothing_up(http: HttpProvider, texts: Texts) -> None:
    http.hold.clear()
    post = ApprisePost("sms", http.url + "&rto=300", texts, Terms(timeout_s=0.1))
    began = time.monotonic()
    verdicts = [await post.send(NOTICE, "en") for _ in range(MOST_HUNG + 2)]
    assert time.monotonic() - began < 60
    assert verdicts[:MOST_HUNG] == [Verdict(Answer.LATER, "no answer within 0.1 s")] * MOST_HUNG
    assert verdicts[MOST_HUNG:] == [Verdict(Answer.LATER, f"{MOST_HUNG} earlier tries of this channel hang")] * 2
    http.hold.set()


async def test_an_address_that_the_channel_cannot_use_is_refused(mail: MailServer, texts: Texts) -> None:
    sms = "twilio://ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@+15551234567/{to}"
    for url in (mail.url, sms):  # the latter would send it to the sender's own number
        verdict = await ApprisePost("any", url, texts, Terms()).send(replace(NOTICE, to="not-an-address"), "en")
        assert verdict == Verdict(Answer.REFUSED, "the channel's URL does not take this address")
    assert mail.got == []


async def test_an_address_cannot_smuggle_anything_into_the_url(http: HttpProvider, texts: Texts) -> None:
    evil = "+86138&:message=free&method=GET#x/../{number}"
    assert await ApprisePost("sms", http.url, texts, Terms()).send(replace(NOTICE, to=evil), "en") == Verdict(Answer.ACCEPTED)
    assert http.got[0][0]["to"] == evil and "Please top up" in str(http.got[0][0]["message"])


async def test_a_text_without_its_values_is_a_fault_of_ours(http: HttpProvider, texts: Texts) -> None:
    verdict = await ApprisePost("sms", http.url, texts, Terms(short=True)).send(replace(NOTICE, values={}), "en")
    assert verdict.answer is Answer.FAULT and "low" in verdict.detail and http.got == []


async def test_the_librarys_log_reaches_nobody(http: HttpProvider, texts: Texts, capfd: pytest.CaptureFixture[str]) -> None:
    http.statuses = [500]
    await ApprisePost("sms", http.url, texts, Terms()).send(NOTICE, "en")
    written, logger = capfd.readouterr(), logging.getLogger("apprise")
    assert written.err + written.out == "" and not logger.propagate and apprise_post._SAID in logger.handlers


@pytest.mark.parametrize(
    "url",
    [
        "mailto://user:secret@smtp.example.cn?from=power@example.cn&to={to}",
        "json://127.0.0.1:9/?:to={to}",
        "twilio://ACaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@+15551234567/{to}",
        "dingtalk://abcdefgh1234/{to}",
        "wecombot://botkey123/",
    ],
)
def test_urls_that_the_library_knows(url: str) -> None:
    check("any", url, [])


@pytest.mark.parametrize("url", ["", "hallo", "nosuch://x/{to}", "twilio://{to}"])
def test_a_url_that_it_does_not_know_is_not_shown(url: str) -> None:
    with pytest.raises(ChannelError) as told:
        check("sms", url + "?pass=hidden", [])
    assert "hidden" not in str(told.value) and "channel sms" in str(told.value)


def test_what_a_failure_says_shows_no_address() -> None:
    said = f"Failed to send to {TO}: unknown user li.wei@example.cn or 13900139000"
    verdict = judged([logging.LogRecord("apprise", logging.WARNING, "", 0, said, None, None)], TO)
    assert verdict == Verdict(Answer.LATER, "Failed to send to +861******8000: unknown user l***@example.cn or 1390***9000")
    assert apprise_post.MOST_SAID >= 10
