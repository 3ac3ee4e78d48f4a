"""How a handler looks into the store: one query, one read transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from gateway.services.ports import Tx

T = TypeVar("T")


class Reads(Protocol):
    """Runs a query in a read transaction; raises ports.Unavailable. The store's `read` is one."""

    def __call__(self, query: Callable[[Tx], T], /) -> Awaitable[T]: ...
