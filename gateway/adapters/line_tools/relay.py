"""A line that a running gateway has, as a transport: each question goes through its API and what came back is received."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import httpx2

from gateway.adapters.line_tools.raw import Wire
from gateway.adapters.lines.transport import Inbox, LineDown
from protocols.dlt645.frames import Deframer

ANSWER_WITHIN_S = 75.0
"""For a turn on the line and one exchange: more than the gateway itself lets a guest wait."""

MOST_TEXT = 64 * 1024
"""Characters of an answer that are read."""


@dataclass(frozen=True, slots=True)
class Way:
    """To a line of a running gateway. url: of its listener; token: of its operator."""

    url: str
    token: str | None = field(repr=False)
    line: str


class Relay:
    """Fulfils Transport. patience_ms: how long the gateway waits for a first byte; search: it may let everything else go first.

    took_us: from the first byte out to the last byte in of the last question, as the gateway saw it; None where it saw no answer.
    Speed and parity stay the gateway's, and what nobody asked for is not heard.
    """

    def __init__(self, way: Way, *, numbered: bool, patience_ms: int, search: bool = False) -> None:
        self.took_us: int | None = None
        self._way, self._numbered, self._patience_ms, self._search = way, numbered, patience_ms, search
        self._inbox = Inbox(f"{way.line} is not open.")
        self._http: httpx2.AsyncClient | None = None
        self._told = True

    @property
    def name(self) -> str:
        return f"{self._way.line} of the gateway at {self._way.url}"

    @property
    def down(self) -> str | None:
        return self._inbox.down

    async def open(self) -> None:
        await self.close()
        headers = {"authorization": f"Bearer {self._way.token}"} if self._way.token else {}
        self._http = httpx2.AsyncClient(base_url=self._way.url, headers=headers, timeout=ANSWER_WITHIN_S, trust_env=False)
        self._inbox = Inbox()

    async def close(self) -> None:
        self._inbox.fail(f"{self._way.line} is closed.")
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def send(self, data: bytes) -> None:
        """The whole exchange; afterwards everything that came can be received at once."""
        answer = await self._exchanged(data)
        self.took_us = _took_us(answer.get("asked"), answer.get("answered"))
        self._told = False
        try:
            self._inbox.feed(bytes.fromhex(str(answer["hex"])))
        except (KeyError, ValueError):
            raise LineDown(f"what answers at {self._way.url} is no gateway of this version") from None

    async def receive(self, timeout_s: float) -> bytes:
        """What came; then, once, empty without waiting: the gateway has done the waiting."""
        data = await self._inbox.take(timeout_s if self._told else 0)
        self._told = self._told or not data
        return data

    def discard(self) -> int:
        return self._inbox.discard()

    async def _exchanged(self, data: bytes) -> dict[str, object]:
        if self._http is None:
            raise LineDown(f"{self._way.line} is not open.")
        body = {"hex": data.hex().upper(), "protocol": self._wire(data), "first_byte_timeout_ms": self._patience_ms}
        try:
            path = f"/api/v1/lines/{self._way.line}/exchange"
            response = await self._http.post(path, json=body | {"search": self._search})
            answer = response.json() if len(response.content) <= MOST_TEXT else None
        except (httpx2.HTTPError, ValueError) as error:
            raise LineDown(f"no gateway answers at {self._way.url} ({error})") from None
        if not isinstance(answer, dict):
            raise LineDown(f"what answers at {self._way.url} is no gateway")
        if response.status_code != 200:
            raise LineDown(str(answer.get("detail") or answer.get("title") or f"the gateway said {response.status_code}"))
        return answer

    def _wire(self, data: bytes) -> Wire:
        if self._numbered:
            return "modbus-tcp"
        return "dlt645" if Deframer().feed(data) else "modbus-rtu"


def _took_us(asked: object, answered: object) -> int | None:
    if not isinstance(asked, str) or not isinstance(answered, str):
        return None
    try:
        return max(0, round((datetime.fromisoformat(answered) - datetime.fromisoformat(asked)).total_seconds() * 1e6))
    except (TypeError, ValueError):
        return None
