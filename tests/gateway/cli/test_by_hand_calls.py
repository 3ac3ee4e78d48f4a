"""Every call that a verb makes where no gateway runs is answered there too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

import gateway.cli
from gateway.bootstrap.by_hand import ByHand
from gateway.settings import load
from tests.gateway.cli.test_users import Here, folder, here

__all__ = ["folder", "here"]


def routes(found: list[BaseRoute]) -> Iterator[APIRoute]:
    for route in found:
        if isinstance(route, APIRoute):
            yield route
        elif (router := getattr(route, "original_router", None)) is not None:
            yield from routes(router.routes)


def asked() -> Iterator[tuple[str, str, str]]:
    """Verb's module, method and path, {} where the path has something in it, of every call in a module that uses `asking`."""
    for file in sorted(Path(gateway.cli.__file__).parent.glob("*.py")):
        text = file.read_text()
        if not re.search(r"\basking\(", text) or file.stem == "gateway_client":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "call":
                method, path, *_ = [*node.args, None, None]
                if isinstance(method, ast.Constant) and path is not None:
                    yield file.stem, str(method.value), _text(path)


def _text(path: ast.expr) -> str:
    if isinstance(path, ast.Constant):
        return str(path.value)
    parts = path.values if isinstance(path, ast.JoinedStr) else []
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)


def test_every_call_has_its_route(folder: Path) -> None:
    calls = [call for call in asked() if call[2].startswith("/")]
    assert len(calls) > 15, "the walk has found them"
    with ByHand(load(folder / "gateway.toml"), folder) as act:
        there = [(method, route.path) for route in routes(act._app.routes) for method in route.methods or ()]
    for verb, method, path in calls:
        assert any(of == method and same(path.partition("?")[0], known) for of, known in there), (verb, method, path)


def same(asked: str, known: str) -> bool:
    """Segment by segment; what stands in braces fits everything."""
    pairs = list(zip(asked.split("/"), known.split("/"), strict=False))
    return asked.count("/") == known.count("/") and all(one == other or "{" in one + other for one, other in pairs)


def test_emergency_credit_where_no_gateway_runs(here: Here) -> None:
    ran = here("emergency-credit", "A-1")
    assert ran.code == 1 and "emergency credit" in ran.err and "by this name" not in ran.err, ran
