"""`wattgate decode`: frames in hex to JSON, one object per input line (contract.md 6)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated, BinaryIO, Literal

import typer

from protocols.decode import decode_line

LINE_LIMIT = 1 << 24
"""Bytes of one input line, more than a day of a busy line; it keeps a binary file without line ends from filling the memory."""

Hex = Annotated[list[str] | None, typer.Argument(metavar="[HEX...|-]", help="Frames in hex; - or nothing: lines of stdin.")]
Protocol = Annotated[
    Literal["dlt645-2007", "dlt645-1997", "modbus-rtu"] | None,
    typer.Option("--protocol", help="Instead of telling it from the bytes."),
]

Explain = Annotated[bool, typer.Option("--explain", help='Also say each DL/T 645 frame in words, as its "explanation".')]


def decode(hex: Hex = None, protocol: Protocol = None, explain: Explain = False) -> None:
    """Turn frames in hex into JSON, one object per input line.

    Example: wattgate decode 6812907856341268910833333433AB896745CC16
    """
    failed = False
    for line in _lines(hex or ["-"]):
        result = decode_line(line, protocol, explain) if len(line) < LINE_LIMIT else _too_long()
        failed = failed or "error" in result
        print(json.dumps(result), flush=True)
    if failed:
        print('some lines are not hex digits; see the objects with "error"', file=sys.stderr)
        raise typer.Exit(2)


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(decode)


def _lines(words: list[str]) -> Iterator[str]:
    """One line per argument, or one of all arguments when they are single bytes (68 12 90 ...); - stands for the lines of stdin."""
    if len(words) > 1 and all(len(word) == 2 for word in words):
        words = ["".join(words)]
    for word in words:
        yield from _stdin(sys.stdin.buffer) if word == "-" else [word]


def _stdin(stream: BinaryIO) -> Iterator[str]:
    while line := stream.readline(LINE_LIMIT):
        yield line.decode("ascii", errors="replace")
        while len(line) == LINE_LIMIT and not line.endswith(b"\n"):
            line = stream.readline(LINE_LIMIT)


def _too_long() -> dict[str, object]:
    return {"error": f"a line of more than {LINE_LIMIT} bytes"}
