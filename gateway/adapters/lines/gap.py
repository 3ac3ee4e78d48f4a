"""The silence a line needs between an answer and the next question, learned from questions that went unheard.

The rule. A question is *tight* when it left right at the end of the gap after an answer. Who is silent to a tight question, and
answers the next one, which was not tight, gets a point as a listener, and whoever had spoken before gets one as a speaker; an
answer to a tight question, or silence again, takes one away. ENOUGH points of anybody make the line's gap grow. Noise silences
tight and other questions alike, so it takes away more points than it gives, whatever the share of lost frames. A converter that
hands answers over late gives none, for an answer that came late was no silence. After an hour without need the gap goes one step
back; when it has to grow again, the next attempt waits twice as long.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

ENOUGH = 8
"""Points: noise brings them together by chance once in ten thousand reads at worst, which is when it takes 4 frames in 10."""

MOST_GAP_MS = 200
"""Nothing that was ever reported needs more (100 ms); beyond it a line would be slow for no reason."""

TIGHT_MS = 10
"""How much later than the gap a question still counts as tight: the computer's own pauses."""

BACK_S = 3600.0
BACK_LONGEST_S = 24 * 3600.0
"""After so long without need a shorter gap is tried; doubled, up to this, with every attempt that failed."""


class Gap:
    """One line's gap. Speakers are whatever stands for a device, and are forgotten with it."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._listeners: WeakKeyDictionary[object, int] = WeakKeyDictionary()
        self._speakers: WeakKeyDictionary[object, int] = WeakKeyDictionary()
        self._unheard: WeakKeyDictionary[object, object | None] = WeakKeyDictionary()
        self._before: object | None = None
        self._since_s = 0.0
        self._back_s = BACK_S
        self._went_back = False

    @property
    def learned_ms(self) -> int:
        """0 while the configured gap is enough."""
        return self._steps[-1] if self._steps else 0

    def note(self, who: object | None, *, tight: bool, answered: bool | None, gap_ms: int, now_s: float) -> None:
        """What came of a question. answered: None where something came that was no answer. gap_ms: the gap that was kept."""
        before, self._before = self._before, who if answered else None
        if who is not None and answered is not None and self._judge(who, before, tight, answered) >= ENOUGH:
            self._grow(gap_ms, now_s)
        if self._steps and now_s - self._since_s >= self._back_s:
            self._steps.pop()
            self._since_s, self._went_back = now_s, True

    def _judge(self, who: object, before: object | None, tight: bool, answered: bool) -> int:
        """The most points that anybody concerned has now."""
        if tight and not answered:
            self._unheard[who] = before
            return 0
        missed = who in self._unheard
        before_it = self._unheard.pop(who, None)
        if tight:
            return max(_add(self._listeners, who, -1), _add(self._speakers, before, -1))
        points = 1 if answered else -1
        return max(_add(self._listeners, who, points), _add(self._speakers, before_it, points)) if missed else 0

    def _grow(self, gap_ms: int, now_s: float) -> None:
        if gap_ms < MOST_GAP_MS:
            self._steps.append(min(gap_ms + gap_ms // 2 + 10, MOST_GAP_MS))
        if self._went_back:
            self._back_s, self._went_back = min(2 * self._back_s, BACK_LONGEST_S), False
        self._since_s = now_s
        self._listeners.clear()
        self._speakers.clear()
        self._unheard.clear()


def _add(to: WeakKeyDictionary[object, int], who: object | None, points: int) -> int:
    """The points of `who` then, never below 0; nobody has none."""
    if who is None:
        return 0
    to[who] = max(0, to.get(who, 0) + points)
    return to[who]
