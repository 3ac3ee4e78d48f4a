"""The operator's page: a handful of static files, read once, under a strict Content-Security-Policy."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

WEB = Path(__file__).resolve().parents[2] / "web"

MOST_FILES, MOST_BYTES = 64, 4 * 1024 * 1024
"""The page is small and stays in memory; a tree beyond this is not the page."""

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, nothing inline; data: only for the icons inside the style sheet."""

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


def page_router(directory: Path = WEB) -> APIRouter:
    """One route for each file of the directory, and / for its index.html. ValueError when the directory is not the page."""
    files = sorted(path for path in directory.rglob("*") if path.suffix in _TYPES)
    if not (directory / "index.html").is_file():
        raise ValueError(f"{directory} holds no page (index.html)")
    if len(files) > MOST_FILES or sum(path.stat().st_size for path in files) > MOST_BYTES:
        raise ValueError(f"{directory} holds more than a page: at most {MOST_FILES} files and {MOST_BYTES} bytes")
    router = APIRouter()
    for path in files:
        name = path.relative_to(directory).as_posix()
        file = _StaticFile(path.read_bytes(), _TYPES[path.suffix])
        for url in ("/", "/index.html") if name == "index.html" else (f"/{name}",):
            router.routes.append(Route(url, file.serve, methods=["GET"]))
    return router


class _StaticFile:
    """One file in memory; asked for again with its tag, the answer is 304."""

    def __init__(self, content: bytes, kind: str) -> None:
        self._content = content
        self._tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        self._headers = {
            "content-type": kind,
            "etag": self._tag,
            "cache-control": "no-cache",
            "content-security-policy": CONTENT_SECURITY_POLICY,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
        }

    async def serve(self, request: Request) -> Response:
        if request.headers.get("if-none-match") == self._tag:
            return Response(status_code=304, headers=self._headers)
        return Response(self._content, headers=self._headers)
