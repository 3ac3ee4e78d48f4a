"""Wrong signatures by the address they come from and the key they name: nobody may try them faster than this (contract.md 3, 429).

A bank that has signed right from an address is always looked at there: nobody's wrong ones keep it out, nor a new key of its own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.requests import Request

MOST_WRONG = 50
"""At once, from one address or under one key: a bank whose machines all have yesterday's key is told why by each of them."""

AGAIN_PER_S = 5.0
"""So many are looked at again in each second: a check takes a third of a millisecond, and who was kept out waits for no more."""

MOST_REMEMBERED = 4096
"""Addresses, and pairs that signed right; beyond it the one that was quiet longest is forgotten."""

MOST_HOPS = 16
"""Addresses of an x-forwarded-for that are looked at, from the nearest on."""

Network = IPv4Network | IPv6Network


class WrongSignatures:
    """Buckets of addresses and of known keys. now_s: only rises. kid, bank: of the key that is named; None for one nobody has."""

    def __init__(self) -> None:
        self._used: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._right: OrderedDict[tuple[str, str], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._used) + len(self._right)

    def wait_s(self, host: str, kid: str | None, bank: str | None, now_s: float) -> int:
        """After how many whole seconds a signature is looked at; 0 for now."""
        place = _place(host)
        if bank is not None and (place, bank) in self._right:
            return 0
        return self._wait_s(place, kid, now_s)

    def wrong(self, host: str, kid: str | None, now_s: float) -> int:
        """One more was wrong; as wait_s, but for everybody."""
        place = _place(host)
        wait_s = self._wait_s(place, kid, now_s)
        for name in _names(place, kid):
            used = min(float(MOST_WRONG), self._used_now(name, now_s) + 1)
            self._used.pop(name, None)
            self._used[name] = used, now_s
        while len(self._used) > MOST_REMEMBERED:
            self._used.popitem(last=False)
        return wait_s

    def right(self, host: str, bank: str) -> None:
        """This one was good."""
        pair = _place(host), bank
        self._right[pair] = None
        self._right.move_to_end(pair)
        if len(self._right) > MOST_REMEMBERED:
            self._right.popitem(last=False)

    def _wait_s(self, place: str, kid: str | None, now_s: float) -> int:
        used = max(self._used_now(name, now_s) for name in _names(place, kid))
        return max(0, math.ceil((used + 1 - MOST_WRONG) / AGAIN_PER_S))

    def _used_now(self, name: str, now_s: float) -> float:
        used, at_s = self._used.get(name, (0.0, now_s))
        return max(0.0, used - (now_s - at_s) * AGAIN_PER_S)


def address_of(request: Request, proxies: Sequence[Network]) -> str:
    """Where a request comes from. proxies: whose word for it is taken; nobody else's is."""
    host = request.client.host if request.client else ""
    if not proxies or not _within(host, proxies):
        return host
    hops = [hop.strip() for line in request.headers.getlist("x-forwarded-for") for hop in line.split(",")]
    for hop in reversed(hops[-MOST_HOPS:]):
        if _address(hop) is None:
            break
        host = hop
        if not _within(hop, proxies):
            break
    return host


def _names(place: str, kid: str | None) -> tuple[str, ...]:
    return (f"at {place}",) if kid is None else (f"at {place}", f"by {kid}")


@lru_cache(MOST_REMEMBERED)
def _place(host: str) -> str:
    """A site has one IPv4 address, or 2^64 of IPv6."""
    address = _address(host)
    if address is None:
        return host[:64]
    return f"{int(address) >> 64:x}::/64" if isinstance(address, IPv6Address) else str(address)


def _within(host: str, networks: Sequence[Network]) -> bool:
    address = _address(host)
    return address is not None and any(address in network for network in networks)


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
