"""Wrong tokens by the place they come from: nobody may try them faster than this."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

MOST_WRONG = 10
"""From one place in a row: a person who mistypes, a page and a script that still have yesterday's token."""

FORGIVEN_S = 5.0
"""After which one of them is forgotten: a monitor that asks every ten seconds with a dead token locks nobody out."""

MOST_PLACES = 1024
"""Remembered at once; beyond it the one that was quiet longest is forgotten."""


class WrongTokens:
    """A bucket for each place. steady_s: seconds that only rise."""

    def __init__(self, steady_s: Callable[[], float]) -> None:
        self._steady_s = steady_s
        self._places: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._places)

    def wait_s(self, host: str) -> int:
        """How long nothing from there is looked at; 0 when it is."""
        wrong, since_s = self._places.get(_place(host), (0, 0.0))
        free_s = since_s + (wrong - MOST_WRONG + 1) * FORGIVEN_S
        return max(0, math.ceil(free_s - self._steady_s())) if wrong >= MOST_WRONG else 0

    def add(self, host: str) -> None:
        """One more wrong one came from there."""
        now_s, place = self._steady_s(), _place(host)
        wrong, since_s = self._places.pop(place, (0, now_s))
        forgiven = min(wrong, int((now_s - since_s) // FORGIVEN_S))
        self._places[place] = (wrong - forgiven + 1, since_s + forgiven * FORGIVEN_S if wrong > forgiven else now_s)
        if len(self._places) > MOST_PLACES:
            self._places.popitem(last=False)


def _place(host: str) -> str:
    """One household or office has one IPv4 address, or 2^64 of IPv6."""
    try:
        address = ip_address(host)
    except ValueError:
        return host
    return f"{int(address) >> 64:x}::/64" if isinstance(address, IPv6Address) else host
