"""A day's file on its way in or out: too long for memory, so it is on disk before it is compared or signed (contract.md 3)."""

from __future__ import annotations

import asyncio
import hashlib
import mmap
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse

from gateway.adapters.http.problems import Problem, unavailable
from protocols.bank.signatures import digest_as

MOST_FILE_BYTES = 512 * 1024 * 1024
"""Some four million lines: more than any bank brings in a day to one gateway, and less than a small disk has."""

FILE_WITHIN_S = 300
"""A million lines, 100 MB, over a line of 3 Mbit/s."""

CHUNK = 1 << 18
"""Bytes per read: long enough that a read costs nothing beside the lines in it."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A file that came in whole. It has no name any more and is gone when it is closed. lines: line ends in it."""

    file: BinaryIO
    size: int
    lines: int
    sha256: str

    def chunks(self) -> Iterator[bytes]:
        """From its beginning."""
        self.file.seek(0)
        while chunk := self.file.read(CHUNK):
            yield chunk

    def close(self) -> None:
        self.file.close()


class FileResponse(StreamingResponse):
    """A file as an answer, with the digest that its signature covers."""

    def __init__(self, file: Spooled, headers: Mapping[str, str], media_type: str) -> None:
        self.content_digest = digest_as(bytes.fromhex(file.sha256))
        super().__init__(_read(file), 200, {**headers, "content-length": str(file.size)}, media_type)


async def _read(file: Spooled) -> AsyncIterator[bytes]:
    try:
        for chunk in file.chunks():
            yield chunk
    finally:
        file.close()


async def spool_out(parts: AsyncIterator[str], folder: Path) -> Spooled:
    """What comes piece by piece, whole on disk. Problem `unavailable`: there is no room for it."""
    try:
        file = _nameless(folder)
    except OSError:
        raise _no_room() from None
    try:
        digest, size, lines = hashlib.sha256(), 0, 0
        async for part in parts:
            chunk = part.encode()
            size, lines = size + len(chunk), lines + chunk.count(b"\n")
            digest.update(chunk)
            file.write(chunk)
        file.flush()
    except OSError:
        file.close()
        raise _no_room() from None
    except BaseException:
        file.close()
        raise
    return Spooled(file, size, lines, digest.hexdigest())


def _no_room() -> Problem:
    return unavailable("the file cannot be kept here now; ask for it again")


async def spool(request: Request, folder: Path) -> Spooled:
    """The body, as text/csv. Problems: media_type, too_large, malformed, unavailable (no room for it)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "text/csv":
        raise Problem("media_type", "the body must be text/csv")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 12 or int(length) > MOST_FILE_BYTES:
        raise _too_large()
    try:
        file = _nameless(folder)
    except OSError:
        raise unavailable("the file cannot be kept here now; upload it again") from None
    try:
        async with asyncio.timeout(FILE_WITHIN_S):
            return await _write(request, file)
    except TimeoutError:
        raise _gone(file, f"the file did not arrive within {FILE_WITHIN_S} s") from None
    except ClientDisconnect:
        raise _gone(file, "the body ended early") from None
    except OSError:
        file.close()
        raise unavailable("the file cannot be kept here now; upload it again") from None
    except BaseException:
        file.close()
        raise


def _nameless(folder: Path) -> BinaryIO:
    folder.mkdir(mode=0o700, exist_ok=True)
    return cast(BinaryIO, tempfile.TemporaryFile(dir=folder))


async def _write(request: Request, file: BinaryIO) -> Spooled:
    digest, size, lines = hashlib.sha256(), 0, 0
    async for chunk in request.stream():
        size, lines = size + len(chunk), lines + chunk.count(b"\n")
        if size > MOST_FILE_BYTES:
            raise _too_large()
        digest.update(chunk)
        file.write(chunk)
    file.flush()
    request.state.body = _seen(file, size)
    return Spooled(file, size, lines, digest.hexdigest())


def _seen(file: BinaryIO, size: int) -> bytes:
    """The file as bytes that are read from disk where they are looked at: whoever checks its signature needs them once."""
    return cast(bytes, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)) if size else b""


def _gone(file: BinaryIO, why: str) -> Problem:
    file.close()
    return Problem("malformed", why, headers={"connection": "close"})


def _too_large() -> Problem:
    return Problem("too_large", f"a day's file may have at most {MOST_FILE_BYTES} bytes", headers={"connection": "close"})
