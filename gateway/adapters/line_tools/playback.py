"""A line that answers as a recorded one did: the same bytes in the same pieces after the same time (`wattgate replay --serve`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import tty
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.adapters.line_tools.traffic import Piece
from gateway.adapters.lines.transport import LineDown
from protocols.dlt645.frames import Deframer, Frame, encode

READ_SIZE = 4096
MOST_WAITING = 4_096
"""Bytes of a question that never becomes one; then it is forgotten."""

Say = Callable[[bytes], None]


@dataclass(slots=True)
class _Answers:
    """What was once said to a question, each time; they take turns."""

    times: list[list[tuple[int, bytes]]] = field(default_factory=list)
    turn: int = 0

    def next(self) -> list[tuple[int, bytes]]:
        """(microseconds after the question, bytes)."""
        chosen = self.times[self.turn % len(self.times)]
        self.turn += 1
        return chosen


class Playback:
    """Questions and answers of a recording. A question that was never asked stays without an answer."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self.asked = self.unknown = 0
        self._known: dict[bytes, _Answers] = {}
        self._deframer = Deframer()
        self._learn(pieces)

    @property
    def questions(self) -> int:
        """How many different ones it can answer."""
        return len(self._known)

    def hear(self, data: bytes) -> list[tuple[int, bytes]]:
        """What is said to these bytes, and when."""
        said: list[tuple[int, bytes]] = []
        frames = [frame for frame in self._deframer.feed(data) if not frame.is_response]
        if self._deframer.pending > MOST_WAITING:
            self._deframer.flush()
        keys = [_bare(frame) for frame in frames] or ([data] if data in self._known else [])
        for key in keys:
            self.asked += 1
            if key in self._known:
                said += self._known[key].next()
            else:
                self.unknown += 1
        return said

    def _learn(self, pieces: Sequence[Piece]) -> None:
        deframer, passive = Deframer(), all(piece.direction == "in" for piece in pieces)
        answers: list[tuple[int, bytes]] | None = None
        asked_us = 0
        for piece in pieces:
            frames = [frame for frame in deframer.feed(piece.data) if not frame.is_response]
            if piece.direction == "out" or (passive and frames):  # else it is our echo, and belongs to what is heard
                key = _bare(frames[-1]) if frames else piece.data
                answers, asked_us = [], piece.at_us
                self._known.setdefault(key, _Answers()).times.append(answers)
            elif answers is not None:
                answers.append((piece.at_us - asked_us, piece.data))


def _bare(frame: Frame) -> bytes:
    """Without preamble: what makes two questions the same."""
    return encode(frame, 0)


async def serve_tcp(playback: Playback, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer on a TCP port until cancelled. Raises LineDown."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(READ_SIZE):
                _say(playback.hear(data), writer.write)
        writer.close()

    try:
        server = await asyncio.start_server(client, host, port)
    except OSError as error:
        raise LineDown(f"{host}:{port} cannot be served: {error.strerror}.") from None
    async with server:
        bound = server.sockets[0].getsockname()
        ready(f"tcp:{bound[0]}:{bound[1]}")
        await server.serve_forever()


async def serve_pty(playback: Playback, path: str, ready: Callable[[str], None]) -> None:
    """Answer on a pseudo-terminal behind a link at `path` until cancelled. Raises LineDown."""
    near, far = pty.openpty()
    loop = asyncio.get_running_loop()

    def write(data: bytes) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody reads: lost, as on a wire
            os.write(near, data)

    try:
        tty.setraw(far)
        os.set_blocking(near, False)
        os.symlink(os.ttyname(far), path)
    except OSError as error:
        os.close(near)
        os.close(far)
        raise LineDown(f"the link {path} cannot be made: {error.strerror}.") from None
    try:
        loop.add_reader(near, lambda: _say(playback.hear(os.read(near, READ_SIZE)), write))
        ready(path)
        await asyncio.Event().wait()
    finally:
        loop.remove_reader(near)
        os.unlink(path)
        os.close(near)
        os.close(far)


def _say(said: list[tuple[int, bytes]], write: Say) -> None:
    loop = asyncio.get_running_loop()
    for after_us, data in said:
        loop.call_later(after_us / 1e6, write, data)
