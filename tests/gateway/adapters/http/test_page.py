"""The page: whole, from here alone, under its policy; and, where a browser is there, drawn by it without a complaint."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import httpx2
import pytest

from gateway.adapters.http.pages import WEB, page_router
from gateway.adapters.http.server import Listener
from gateway.adapters.http.stream import Stream
from gateway.domain.findings import FindingKind
from gateway.domain.meters import Contact
from gateway.services.findings import found
from tests.gateway.adapters.http.street import Street


async def test_the_page_comes_with_a_strict_policy(operator: httpx2.AsyncClient) -> None:
    answer = await operator.get("/")
    assert answer.headers["content-type"] == "text/html; charset=utf-8" and "wattgate" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_an_unchanged_file_is_not_sent_again(operator: httpx2.AsyncClient) -> None:
    first = await operator.get("/app.js")
    again = await operator.get("/app.js", headers={"if-none-match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    head = await operator.head("/app.js")
    assert (head.status_code, head.content) == (200, b"")
    wrong = await operator.post("/app.js")
    assert (wrong.status_code, wrong.json()["code"], "GET" in wrong.headers["allow"]) == (405, "not_allowed", True)


async def test_everything_the_page_names_is_there(operator: httpx2.AsyncClient) -> None:
    html = (WEB / "index.html").read_text()
    named = set(re.findall(r'(?:src|href)="([^"]+)"', html))
    for script in WEB.glob("*.js"):
        named |= {name.removeprefix("./") for name in re.findall(r'from "([^"]+)"', script.read_text())}
    assert {"app.js", "api.js", "style.css"} <= named
    for name in named:
        assert (await operator.get(f"/{name}")).status_code == 200, name


def test_nothing_comes_from_elsewhere_and_nothing_is_inline() -> None:
    html = (WEB / "index.html").read_text()
    assert not re.search(r"<script>|<style|style=|\son\w+=", html)
    for path in [*WEB.glob("*.js"), *WEB.glob("*.css"), WEB / "index.html"]:
        assert not re.search(r"https?://|//[a-z]+\.", path.read_text().replace("http://www.w3.org/2000/svg", "")), path.name
    assert "uPlot 1.6.32" in (WEB / "vendor" / "LICENSES.txt").read_text()


def test_a_directory_without_a_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no page"):
        page_router(tmp_path)


QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=3000 --enable-logging=stderr --dump-dom"
)


async def test_a_browser_draws_it_without_a_complaint(street: Street, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("Chromium is not installed: install the Debian package chromium to let the tests look at the page.")
    street.read("bus-1-1", energy_import="100.00", power="1.2500", voltage_a="229.9")
    street.read("bus-1-2", Contact.OPEN, energy_import="7.00", power="0.0000")
    street.store.write_now(lambda tx: found(tx, FindingKind.CALENDAR_ENDED, "cn", "calendar cn <b>ended</b>", street.now_ms))
    stream = Stream(street.store.read, street.status)
    listener = Listener(street.operator(stream), "127.0.0.1", 0, before_stop=stream.close)
    serving = asyncio.create_task(listener.serve())
    flags = [*QUIET.split(), f"--user-data-dir={tmp_path / 'browser'}"]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(browser, *flags, listener.url, stdout=pipe, stderr=pipe)
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
        listener.stop()
        await serving
    dom = out.decode()
    rows = re.findall(r"<tr[^>]*>(<th.*?)</tr>", dom[dom.index('id="rows"') :])
    cells = [[re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]
    assert [row[:10] for row in cells[:2]] == [
        ["bus-1-1", "A-1", "dlt645-2007", "bus-1", "229.9", "1.2500", "100.00", "20.00", "normal", "closed"],
        ["bus-1-2", "A-2", "dlt645-2007", "bus-1", "–", "0.0000", "7.00", "1.00", "low", "open→ closed"],
    ]
    assert "calendar cn &lt;b&gt;ended&lt;/b&gt;" in dom[dom.index('id="findings"') : dom.index('id="events"')]
    assert "Low balance, 1.00 CNY: the customer was warned" in dom and "u-over" in dom and ">healthy<" in dom and ">live<" in dom
    assert not [line for line in err.decode(errors="replace").splitlines() if ":CONSOLE:" in line]
