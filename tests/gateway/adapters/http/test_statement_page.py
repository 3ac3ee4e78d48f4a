"""The statement on the page: opened by its address, drawn by a browser, every figure as the API says it."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import pytest

from gateway.adapters.http.pages import WEB
from gateway.adapters.http.server import Listener
from gateway.adapters.http.stream import Stream
from tests.gateway.adapters.http.street import Street
from tests.gateway.adapters.http.test_page import QUIET


def test_every_element_that_the_scripts_name_is_there() -> None:
    html = (WEB / "index.html").read_text()
    named = {name for script in WEB.glob("*.js") for name in re.findall(r'\$\("([a-z-]+)"\)', script.read_text())}
    assert {"statement", "statement-rows", "statement-account", "statement-month", "statement-print"} <= named
    assert {f"statement-{kind}" for kind in ("csv", "pdf")} <= set(re.findall(r'id="([a-z-]+)"', html))
    assert not {name for name in named if f'id="{name}"' not in html}


async def test_a_browser_draws_a_statement(street: Street, tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("Chromium is not installed: install the Debian package chromium to let the tests look at the page.")
    for kwh in ("100.00", "100.00", "101.01", "101.01"):
        street.now_ms += 60_000
        street.read("bus-1-1", energy_import=kwh)
    stream = Stream(street.store.read, street.status)
    listener = Listener(street.operator(stream), "127.0.0.1", 0, before_stop=stream.close)
    serving = asyncio.create_task(listener.serve())
    pipe = asyncio.subprocess.PIPE
    flags = [*QUIET.split(), f"--user-data-dir={tmp_path / 'browser'}", f"{listener.url}/#statement/A-1/2026-11"]
    process = await asyncio.create_subprocess_exec(browser, *flags, stdout=pipe, stderr=pipe)
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
        listener.stop()
        await serving
    dom = out.decode()
    rows = re.findall(r"<tr[^>]*>(<td.*?)</tr>", dom[dom.index('id="statement-rows"') : dom.index('id="statement-proof"')])
    cells = [[re.sub("<[^>]+>", "", cell) for cell in re.findall(r"<td.*?</td>", row)] for row in rows]
    assert cells == [
        ["Balance", "", "", "", "", ""],
        ["", "Opening balance", "", "", "", "0.00"],
        ["2026-11-21", "Balance taken over", "", "", "", "20.00"],
        ["2026-11-21", "Energy, meter bus-1-1", "100.00 – 101.01", "1.01", "0.617", "-0.63"],
        ["", "Closing balance", "", "", "", "19.37"],
        ["", "Sum: Balance taken over", "", "", "", "20.00"],
        ["", "Sum: Energy", "", "1.01", "", "-0.63"],
    ]
    assert 'class="stating"' in dom and "张小明 · 2026-11-01 to 2026-11-30 (Asia/Shanghai) · CNY · gw-1" in dom
    assert 'title="energy at its rate\'s price; exactly -0.623170"' in dom.replace("&#39;", "'")
    assert not [line for line in err.decode(errors="replace").splitlines() if ":CONSOLE:" in line]
