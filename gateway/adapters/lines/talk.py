"""What was said and heard in one exchange, so that our own echo is not taken for an answer (half-duplex adapters)."""

from __future__ import annotations


class Talk:
    """echo: known to be there, and stripped. Unless known it is left to the exchange, which skips it: an answer may equal its
    question (Modbus function 05), so only what came behind the echo tells that there is one.
    """

    def __init__(self, question: bytes, *, echo: bool) -> None:
        self.heard = 0
        self._own, self._echo = question, echo
        self._first = b""
        self._expected = question if echo else b""
        self._kept = b""

    def echoed(self, skipped: int) -> bool | None:
        """Whether there is an echo, as far as this exchange tells. skipped: how many bytes were no answer."""
        if self._first == self._own:
            return True if self.heard > len(self._own) else None
        return None if skipped else False

    @property
    def only_echo(self) -> bool:
        """Nothing but ourselves was heard, or nothing at all."""
        return self.heard == 0 or (self._first == self._own and self.heard == len(self._own))

    def ask(self, data: bytes) -> None:
        """A further question of the same exchange."""
        self._expected, self._kept = data if self._echo else b"", b""

    def hear(self, data: bytes) -> bytes:
        """The bytes that may be an answer. What begins like our echo is held back, and given out when it goes on differently:

        an adapter that echoes only sometimes loses no answer that way, and a collision shows as garbage.
        """
        self.heard += len(data)
        self._first += data[: len(self._own) - len(self._first)]
        if not self._expected:
            return data
        self._kept += data
        size = min(len(self._kept), len(self._expected))
        if self._kept[:size] == self._expected[:size]:
            if size < len(self._expected):
                return b""
            fresh = self._kept[size:]
        else:
            fresh = self._kept
        self._expected = self._kept = b""
        return fresh

    def held_back(self) -> bytes:
        """What began like our echo and never went on: a short answer may begin as its question does."""
        kept, self._kept, self._expected = self._kept, b"", b""
        return kept
