"""What FastAPI makes of a type to check requests and answers, made once per process and not anew for every route of every listener.

Hundreds of tests and every forked gateway build an application, and spend most of that time on types that they had before.
"""

from __future__ import annotations

from typing import Any, get_args

from fastapi._compat import v2
from pydantic import ConfigDict, TypeAdapter

_made: dict[object, TypeAdapter[Any]] = {}


def _adapter(annotated: Any, *, config: ConfigDict | None = None) -> TypeAdapter[Any]:
    """Stands for TypeAdapter(Annotated[type, what is asked of it]); for a type without a hash a new one."""
    plain, *asked = get_args(annotated)
    key = plain, repr(asked), repr(config)
    try:
        hash(key)
    except TypeError:
        return TypeAdapter(annotated, config=config)
    if key not in _made:
        _made[key] = TypeAdapter(annotated, config=config)
    return _made[key]


def keep_types() -> None:
    """From now on, in this process."""
    v2.TypeAdapter = _adapter  # type: ignore[assignment,attr-defined]
