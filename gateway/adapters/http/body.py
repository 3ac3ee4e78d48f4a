"""Reads a JSON object out of a request: bounded, strict, and with one sentence for each way to be wrong (contract.md 3)."""

from __future__ import annotations

import asyncio
import json
from typing import NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from gateway.adapters.http.problems import Problem

MOST_BODY_BYTES = 64 * 1024
"""No request of this interface needs more than a few hundred bytes; the rest is room for other people's JSON style."""

BODY_WITHIN_S = 10
"""A body that takes longer holds a place for nothing."""

Model = TypeVar("Model", bound=BaseModel)


async def read_object(request: Request) -> dict[str, object]:
    """The body as a JSON object. Problems: media_type, length_required, too_large, malformed (not JSON, no object, a key twice)."""
    return parse_object(await read_body(request))


async def read_body(request: Request, media_type: str = "application/json", most: int = MOST_BODY_BYTES) -> bytes:
    """The body as it came; it stays in request.state.body for whoever checks its signature. Problems: media_type, length_required,
    too_large, malformed. most: bytes."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != media_type:
        raise Problem("media_type", f"the body must be {media_type}")
    length = request.headers.get("content-length")
    if length is None or not length.isdecimal():
        raise Problem("length_required", "content-length must be given")
    if len(length) > 9 or int(length) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            request.state.body = body = await _bytes(request, most)
            return body
    except TimeoutError:
        raise Problem("malformed", f"the body did not arrive within {BODY_WITHIN_S} s", headers={"connection": "close"}) from None
    except ClientDisconnect:
        raise Problem("malformed", "the body ended early") from None


async def _bytes(request: Request, most: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise _too_large(most)
    return bytes(body)


def _too_large(most: int) -> Problem:
    return Problem("too_large", f"a body may have at most {most} bytes", headers={"connection": "close"})


def parse_object(body: bytes) -> dict[str, object]:
    """A JSON object with every key once; Problem `malformed` otherwise. NaN, Infinity and numbers beyond reason are no JSON."""
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        detail = str(error) if isinstance(error, _TwiceError) else "the body is not JSON in UTF-8"
        raise Problem("malformed", detail) from None
    if not isinstance(value, dict):
        raise Problem("malformed", "the body must be a JSON object")
    return value


class _TwiceError(ValueError):
    pass


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        key.encode()  # half a surrogate pair is no text: a ValueError
        if key in found:
            raise _TwiceError(f"the key {key[:64]!a} stands twice in one object")
        found[key] = value
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


_SENTENCES = {
    "missing": "{0} is missing",
    "extra_forbidden": "{0} is not a field of this request",
    "string_type": "{0} must be a string",
    "string_too_long": "{0} is too long",
}


def checked(model: type[Model], found: dict[str, object]) -> Model:
    """The object as this model; Problem `invalid` names the first field at fault and says what is wrong with it."""
    try:
        return model.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(first["loc"][0])[:64]
        shown = name if name.isprintable() else ascii(name)
        sentence = _SENTENCES.get(first["type"])
        detail = sentence.format(shown) if sentence else _wrong_form(model, name)
        raise Problem("invalid", detail, field=name) from None


def _wrong_form(model: type[BaseModel], name: str) -> str:
    examples = model.model_fields[name].examples or []
    return f"{name} does not have the right form" + (f", which is like {examples[0]}" if examples else "")
