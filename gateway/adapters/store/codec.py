"""Documents in TEXT columns: JSON, compact, without floats."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} does not go into the store")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


def encode(value: object) -> str:
    """JSON text of plain values, mappings and dataclasses."""
    return _encoder.encode(value).decode()


@lru_cache(maxsize=32)
def _decoder(kind: Hashable) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def decode(text: str, kind: type[T]) -> T:
    """The value of this type; fields unknown here are skipped, missing ones take their default."""
    value: T = _decoder(cast(Hashable, kind)).decode(text)
    return value
