"""A meter behind a TCP port that costs next to nothing: it answers any read of 00010000, from any address, at once.

A process of its own, so that two clients can be compared on the same server. It prints its port and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

from protocols.dlt645.frames import Frame, encode

REPLY = encode(Frame("000000000000", 0x91, bytes.fromhex("0000010078563412")))
ADDRESS = 5
CHECKSUM = len(REPLY) - 2


class Meter(asyncio.Protocol):
    """Takes every lump of bytes for one request: clients here send one and wait."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's are none of asyncio's classes

    def data_received(self, data: bytes) -> None:
        start = data.index(0x68) + 1
        address = data[start : start + 6]
        checksum = REPLY[CHECKSUM] + sum(address) & 0xFF
        self._transport.write(b"%b%b%b%c\x16" % (REPLY[:ADDRESS], address, REPLY[ADDRESS + 6 : CHECKSUM], checksum))


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Meter, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
