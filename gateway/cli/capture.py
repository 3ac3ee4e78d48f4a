"""`wattgate capture` and `wattgate replay`: record what a line says, and play it back as a test or as a line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.line_options import BaudOption, ConfigOption, LineOption, ParityOption, answering, chosen, tell

MOST_EXPECTED = 1 << 28
"""Bytes of a file to compare with: days of a busy line."""


def capture(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="A new file of JSON lines.")],
    line: LineOption = None,
    seconds: Annotated[float | None, typer.Option("--for", metavar="S", min=0.1, help="Else Ctrl-C ends it.")] = None,
    address: Annotated[str | None, typer.Option("--address", metavar="A", help="Read this meter; else only listen.")] = None,
    items: Annotated[list[str] | None, typer.Option("--di", metavar="DI", help="What to read; may be repeated.")] = None,
    every: Annotated[float, typer.Option("--every", metavar="S", min=0, help="Between two rounds of reads.")] = 1.0,
    config: ConfigOption = None,
    baud: BaudOption = None,
    parity: ParityOption = None,
) -> None:
    """Record line traffic with microsecond stamps, only listening or while reading a meter.

    Each line of the file is {"us", "dir", "hex"}; the first says what was recorded. It may hold passwords: only you can read it.

    Example: wattgate capture --line /dev/ttyUSB0 --for 60 -o line.jsonl
    """
    from gateway.bootstrap import tools  # the adapters are loaded only here

    if items and address is None:
        raise Failure("--di names what to read of a meter: add --address A", 2)
    reads = [(address, item) for item in items or ["00010000"]] if address is not None else []
    with answering():
        recorder = tools.record(chosen(line, config, baud, parity), output, seconds, reads, every, tell)
    asked = f"; {recorder.answers} reads answered, {recorder.failures} not" if reads else ""
    print(f"{output}: {recorder.bytes} bytes in {recorder.pieces} pieces{asked}")


def replay(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recording of `wattgate capture`.")],
    expect: Annotated[Path | None, typer.Option("--expect", metavar="FILE", help="Compare with what was saved.")] = None,
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Keep the result for --expect.")] = None,
    serve: Annotated[
        str | None, typer.Option("--serve", metavar="WHERE", help="Be that line: tcp:HOST:PORT or the path of a pseudo-terminal.")
    ] = None,
) -> None:
    """Play a recording back: its frames in words and its reads through our decoders, as JSON lines; or be the recorded line.

    Example: wattgate replay line.jsonl --expect line.expected
    """
    from gateway.bootstrap import tools  # the adapters are loaded only here

    with answering():
        if serve is not None:
            playback = tools.serve_recording(file, serve, lambda where: print(where, flush=True))
            return tell(f"{playback.asked} questions heard, {playback.unknown} of them not in the recording")
        result = tools.replayed(file)
    rows = [json.dumps(row) + "\n" for row in result.rows]
    if save is not None:
        _write(save, rows)
    if expect is not None:
        return _compare(rows, expect)
    if save is None:
        sys.stdout.writelines(rows)
    tell(f"{result.frames} frames, {result.skipped} bytes outside; {result.answered} of {result.reads} reads answered")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command()(capture)
    app.command()(replay)


def _write(file: Path, rows: list[str]) -> None:
    try:
        file.write_text("".join(rows), "utf-8")
    except OSError as problem:
        raise Failure(f"{file} cannot be written: {problem.strerror}") from None


def _compare(rows: list[str], expect: Path) -> None:
    """The first difference is the failure."""
    try:
        if expect.stat().st_size > MOST_EXPECTED:
            raise Failure(f"{expect} is too large to be the result of a replay", 2)
        wanted = expect.read_text("utf-8", errors="replace").splitlines(keepends=True)
    except OSError as problem:
        raise Failure(f"{expect} cannot be read: {problem.strerror}") from None
    for number, (is_now, was) in enumerate(zip(rows, wanted, strict=False), 1):
        if is_now != was:
            raise Failure(f"line {number} differs: expected {was.strip()}, got {is_now.strip()}")
    if len(rows) != len(wanted):
        raise Failure(f"{len(rows)} lines came, {len(wanted)} were expected")
    print(f"{len(rows)} lines: as expected")
