"""How long a line is waited for, and how long it is left in peace: the numbers that driver and what it learns from share."""

from __future__ import annotations

from typing import Final

FIRST_BYTE_MS: Final = 600
"""Waited for the first byte of an answer: 500 ms by the standard; 400 ms shows losses on real buses, 600 none."""

BYTE_GAP_MS: Final = 500
"""Pause within an answer after which it is over: the standard's own limit, and TCP converters use it."""

GAP_MS: Final = 20
"""Silence between an answer and the next question, for meters that turn around slowly."""

LATE_MS: Final = 500
"""How long a line that is not known well is listened to after a time-out: a late answer must not meet the next question."""

LATEST_MS: Final = 6_000
"""The latest answer that is waited for: what transparent concentrators add. Later ones never occur in practice."""

TALK_MS: Final = 5_000
"""Beyond its line time an answer may take this long in all; who talks longer is babbling and holds up the whole line."""

LONGEST_ANSWER: Final = 300
"""Bytes: a 255-byte frame with everything around it."""
