"""Notices through the apprise library: SMS gateways, e-mail, WeCom, DingTalk and whatever else it has a URL for.

The library is synchronous and says only whether it worked; what kind of failure it was stands in what it logs.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

import apprise
from apprise import NotifyFormat

from gateway.adapters.notices.texts import TextError, Texts
from gateway.adapters.notices.threads import Crowded, Threads
from gateway.domain.notices import Answer, Hours, Notice, Verdict, masked

MOST_HUNG = 8
"""Threads of one channel, the hung ones among them: beyond, its notices wait until one comes back."""

MOST_SAID = 64
"""Log records kept of one try: the reason is among the last."""

SAMPLES = ("someone@example.com", "+8613800138000", "13800138000", "someone")
"""Addresses that a URL is tried with where none is known: of e-mail, of text messages, of a chat."""

_PLACE = re.compile(r"\{(to|number)\}")
_HTTP = re.compile(r"error=([0-9]{3})\b")
_TO_REFUSED = re.compile(r"['\"]: \(([45][0-9]{2}), |was refused: ([45][0-9]{2})\b")
_SMTP = re.compile(r"\(([45][0-9]{2}), b?['\"]")
_BAD_HTTP = frozenset({400, 404, 406, 410, 413, 422})
"""What a provider says of a request that it will never take. 401, 403 and 407 are about our own account with it, 408, 425 and 429
about the moment: those go again."""

_BAD_SMTP = frozenset({501, 510, 511, 513, 521, 550, 551, 553, 556})
"""What a mail server says of an address that it will never take (RFC 5321, 4.2). Of a sender or a text that it refuses the
contact knows nothing; 530 to 538 are about our own login."""

_LOGGER = logging.getLogger("apprise")


class ChannelError(ValueError):
    """A channel's URL that cannot be used, in one sentence that does not show it."""


class _Said(logging.Handler):
    """Keeps, thread by thread, what the library logs about the try that this thread makes."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._here = threading.local()

    def begin(self) -> list[logging.LogRecord]:
        """An empty list for this thread's try."""
        records: list[logging.LogRecord] = []
        self._here.records = records
        return records

    def end(self) -> None:
        """This thread's try is over."""
        self._here.records = None

    def emit(self, record: logging.LogRecord) -> None:
        records = getattr(self._here, "records", None)
        if records is not None:
            records.append(record)
            del records[:-MOST_SAID]


_SAID = _Said()


def _listen() -> None:
    """The library's log goes to nobody else: it shows addresses."""
    if _SAID not in _LOGGER.handlers:
        _LOGGER.addHandler(_SAID)
        _LOGGER.setLevel(logging.DEBUG)
        _LOGGER.propagate = False


@dataclass(frozen=True, slots=True)
class Terms:
    """How a channel may be used. timeout_s: of one try. short: its texts cost by length."""

    per_minute: int = 60
    timeout_s: float = 20.0
    short: bool = False
    hours: Hours | None = None


class ApprisePost:
    """One channel. url: its template, a secret; {to} and {number} stand for the address and the notice's number."""

    def __init__(self, id: str, url: str, texts: Texts, terms: Terms) -> None:
        self.id, self._url, self._texts, self._terms = id, url, texts, terms
        self._threads = Threads(MOST_HUNG)
        _listen()

    @property
    def per_minute(self) -> int:
        """As configured."""
        return self._terms.per_minute

    def opens_ms(self, now_ms: int) -> int:
        """By its hours."""
        return self._terms.hours.opens_ms(now_ms) if self._terms.hours else now_ms

    async def send(self, notice: Notice, language: str) -> Verdict:
        """One try, within the channel's time-out. Never raises."""
        try:
            title, body = self._texts.render(notice, language, short=self._terms.short)
            work = partial(_try, self._url, notice, "" if self._terms.short else title, body)
            return await self._threads.run(work, self._terms.timeout_s, f"notice-{self.id}")
        except TextError as problem:
            return Verdict(Answer.FAULT, str(problem))
        except TimeoutError:
            return Verdict(Answer.LATER, f"no answer within {self._terms.timeout_s:g} s")
        except Crowded:
            return Verdict(Answer.LATER, f"{MOST_HUNG} earlier tries of this channel hang")


def check(id: str, url: str, addresses: Sequence[str] = ()) -> None:
    """Whether the library understands this URL, and takes each of these addresses. Raises ChannelError."""
    _listen()
    if not any(_takes(url, to) for to in (*addresses[:1], *SAMPLES)):
        raise ChannelError(f"channel {id}: apprise does not understand its URL; try it with: apprise -b text URL")
    for to in addresses:
        if not _takes(url, to):
            raise ChannelError(f"channel {id}: its URL does not take the address {masked(to)}")


def _takes(url: str, to: str) -> bool:
    service = _service(url, to, "1")
    return service is not None and not _astray(url, service)


def _service(url: str, to: str, number: str) -> apprise.NotifyBase | None:
    values = {"to": quote(to, safe=""), "number": number}
    filled = _PLACE.sub(lambda match: values[match[1]], url)
    return apprise.Apprise.instantiate(filled, suppress_exceptions=True)


def _astray(url: str, service: apprise.NotifyBase) -> bool:
    """Whether the address that it was given found no place: some services would then tell the sender himself, and call it done."""
    return "{to}" in url and not getattr(service, "targets", True)


def _try(url: str, notice: Notice, title: str, body: str) -> Verdict:
    """In a thread."""
    records = _SAID.begin()
    try:
        service = _service(url, notice.to, str(notice.number))
        if service is None or _astray(url, service):
            return Verdict(Answer.REFUSED, "the channel's URL does not take this address")
        accepted = bool(service.notify(body=body, title=title, body_format=NotifyFormat.TEXT))
    finally:
        _SAID.end()
    return Verdict(Answer.ACCEPTED) if accepted else judged(records, notice.to)


def judged(records: Sequence[logging.LogRecord], to: str) -> Verdict:
    """What kind of failure the library's log tells of; to: what its sentence must not show."""
    said = [record.getMessage() for record in records]
    for text in said:
        if (http := _HTTP.search(text)) and int(http[1]) in _BAD_HTTP:
            return Verdict(Answer.REFUSED, f"the provider refuses it: {http[1]}")
        if (smtp := _TO_REFUSED.search(text)) and int(smtp[1] or smtp[2]) in _BAD_SMTP:
            return Verdict(Answer.REFUSED, f"the mail server refuses it: {smtp[1] or smtp[2]}")
    warned = [record.getMessage() for record in records if record.levelno >= logging.WARNING]
    codes = [found[1] for text in said if (found := _SMTP.search(text))]
    detail = " ".join([*warned[-1:], *codes[-1:]]) or "the provider did not take it"
    return Verdict(Answer.LATER, _hidden(detail, to))


def _hidden(text: str, to: str) -> str:
    """Without the address, nor anything that looks like one."""
    if to:
        text = text.replace(to, masked(to))
    text = re.sub(r"[^\s\"'<>]+@[^\s\"'<>]+", lambda match: masked(match[0]), text)
    return re.sub(r"\+?[0-9]{7,}", lambda match: masked(match[0]), text)
