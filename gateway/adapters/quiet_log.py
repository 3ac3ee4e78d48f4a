"""The log on stderr, one JSON object a line, and so bounded that no broken line ever fills a disk with it."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TextIO

import structlog
from structlog.typing import EventDict, WrappedLogger

WINDOW_S = 60.0
"""What is counted together, and how long it takes until what was left out is told."""

MOST_ALIKE = 5
"""Lines of one level and kind about one meter in a window: enough to see a pattern. While more come, one a window."""

MOST_OF_A_LINE = 60
"""Lines of one level and kind about all meters of one line in a window: a jammed line has hundreds of meters to tell of."""

MOST_KINDS = 2048
"""Windows at a time, about 1 MB: 128 lines with all kinds there are. Beyond that, what is new shares one window a level."""

LEFT_OUT = "lines_left_out"

Key = tuple[str, str, str, str]
Tell = Callable[[Key, int], None]
_EVERY_METER = "*"


class Quiet(Protocol):
    """What tells how many lines were left out."""

    def tell(self, *, everything: bool = False) -> None: ...


@dataclass(slots=True)
class _Window:
    until_s: float
    passed: int = 0
    left_out: int = 0


class QuietLog:
    """A structlog processor that lets few lines of a level, kind, line and meter through, and counts the others.

    Levels never share a window, so no error hides behind messages, nor one kind behind another. monotonic: seconds.
    tell: says for a key how many were left out, by default as a line of the log. May be called from any thread.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, tell: Tell | None = None) -> None:
        self._monotonic, self._tell = monotonic, tell or _tell
        self._windows: dict[Key, _Window] = {}  # in the order in which they end, since all are equally long
        self._lock = threading.Lock()

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        """The event, or DropEvent."""
        kind = str(event.get("event"))
        if kind == LEFT_OUT:
            return event
        level = "error" if method == "exception" else method
        with self._lock:
            now_s = self._monotonic()
            ended = self._ended(now_s)
            passes = self._passes(level, kind, str(event.get("line", "")), str(event.get("meter", "")), now_s)
        self._tell_of(ended)
        if not passes:
            raise structlog.DropEvent
        return event

    def tell(self, *, everything: bool = False) -> None:
        """Tell what was left out in windows that are over, or in all of them: for silent times and for the end."""
        with self._lock:
            ended = self._ended(float("inf") if everything else self._monotonic())
        self._tell_of(ended)

    def _tell_of(self, ended: Iterable[tuple[Key, int]]) -> None:
        for key, count in ended:
            self._tell(key, count)

    def _ended(self, now_s: float) -> list[tuple[Key, int]]:
        """What was left out in windows that are over. Where something was, the next one begins nearly full."""
        ended = []
        while self._windows and (first := next(iter(self._windows.items())))[1].until_s <= now_s:
            key, window = first
            del self._windows[key]
            if window.left_out:
                ended.append((key, window.left_out))
                if now_s < float("inf"):
                    self._windows[key] = _Window(now_s + WINDOW_S, self._most(key) - 1)
        return ended

    def _passes(self, level: str, kind: str, line: str, meter: str, now_s: float) -> bool:
        own = (level, kind, line, meter)
        keys = [own, (level, kind, line, _EVERY_METER)] if meter else [own]
        windows = [self._window(key, now_s) for key in keys]
        for key, window in windows:
            if window.passed >= self._most(key):
                window.left_out += 1
                return False
        for _, window in windows:
            window.passed += 1
        return True

    def _window(self, key: Key, now_s: float) -> tuple[Key, _Window]:
        if key not in self._windows and len(self._windows) >= MOST_KINDS:
            key = (key[0], "", "", "")
        return key, self._windows.setdefault(key, _Window(now_s + WINDOW_S))

    @staticmethod
    def _most(key: Key) -> int:
        return MOST_OF_A_LINE if key[3] == _EVERY_METER else MOST_ALIKE


def _tell(key: Key, count: int) -> None:
    level, kind, line, meter = key
    about = {name: value for name, value in (("line", line), ("meter", meter)) if value}
    structlog.get_logger().warning(LEFT_OUT, of=kind or "other", of_level=level, count=count, **about)


class _Libraries(logging.Handler):
    """What libraries say by `logging` goes the same way, under the same bounds."""

    def emit(self, record: logging.LogRecord) -> None:
        say = structlog.get_logger().error if record.levelno >= logging.ERROR else structlog.get_logger().warning
        say(record.name, text=record.getMessage(), exc_info=record.exc_info)


class _Steadfast:
    """A stream whose disk may be full and whose reader may be gone: a log that cannot be written stops nothing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):
            return 0

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return


def configure(level: str = "info") -> Quiet:
    """Logs of this process from `level` on go to stderr, and what libraries warn of; gives what counts the lines left out."""
    quiet = QuietLog()
    structlog.configure(
        processors=[
            quiet,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(_Steadfast(sys.stderr)),  # type: ignore[arg-type]
    )
    logging.basicConfig(handlers=[_Libraries()], level=logging.WARNING, force=True)
    return quiet
