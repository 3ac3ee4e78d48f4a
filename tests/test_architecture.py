"""Who may import whom, and what may not stand where: the table of ARCHITECTURE.md, read from the sources without running them.

Each rule is shown a snippet that it must reject, so that none of them can fall asleep.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("gateway", "protocols", "firmware_sim")
LONGEST_FUNCTION, LONGEST_MODULE = 80, 600  # lines; beyond that nobody reads the whole at once
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STDLIB = frozenset(sys.stdlib_module_names)
VALUE_MODULES = words(  # of the standard library: no I/O, no clock, no randomness, no scheduling
    "__future__ abc base64 binascii bisect calendar collections contextlib copy csv dataclasses datetime decimal enum fractions "
    "functools hashlib heapq hmac itertools json math operator re string struct textwrap types typing unicodedata zoneinfo"
)
WORLD = words(  # of the standard library: what only the shell of the simulator may touch
    "asyncio concurrent http multiprocessing pty queue secrets select selectors signal socket socketserver ssl subprocess termios "
    "threading time tty urllib uuid"
)

Finding = tuple[int, str]
Ban = Callable[[ast.AST], str | None]


def no_async(node: ast.AST) -> str | None:
    kinds = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    return "async code where everything is synchronous" if isinstance(node, kinds) else None


def no_clock(node: ast.AST) -> str | None:
    if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today"):
        owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        if owner in ("datetime", "date"):
            return "reads a clock; time is an argument"
    return None


def no_float(node: ast.AST) -> str | None:
    literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
    named = isinstance(node, ast.Name) and node.id == "float"
    divided = isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div)
    return "a float where money and energy are integers" if literal or named or divided else None


def no_own_randomness(node: ast.AST) -> str | None:
    taken = isinstance(node, ast.ImportFrom) and node.module == "random" and any(a.name != "Random" for a in node.names)
    used = isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "random" and node.attr != "Random"
    return "randomness comes as a random.Random argument" if taken or used else None


@dataclass(frozen=True, slots=True)
class Room:
    """A folder or module and what may enter: dotted names (and all below them), and modules of the standard library."""

    path: str
    may: str
    stdlib: frozenset[str] = STDLIB
    bans: tuple[Ban, ...] = ()
    third_party: bool = False  # any library from outside; else only those named in `may`

    def admits(self, name: str) -> bool:
        top = name.partition(".")[0]
        if top in STDLIB:
            return top in self.stdlib
        if any(name == allowed or name.startswith(allowed + ".") for allowed in self.may.split()):
            return True
        return self.third_party and top not in PACKAGES


PURE = (no_async, no_clock)
SHELL_OF_SIMULATOR = "protocols firmware_sim serial fastapi starlette uvicorn httpx2"
ALL_BUT_CENTRAL = (
    "gateway.__version__ gateway.bootstrap gateway.settings gateway.adapters gateway.entrypoints gateway.services gateway.domain"
)
OF_ADAPTERS_FOR_CENTRAL = (
    "gateway.adapters.mqtt_link gateway.adapters.mqtt_session gateway.adapters.store.engine gateway.adapters.event_loop "
    "gateway.adapters.quiet_log gateway.adapters.http.bank gateway.adapters.http.bank_caller gateway.adapters.http.bank_gate "
    "gateway.adapters.http.bank_topups gateway.adapters.http.body gateway.adapters.http.guard gateway.adapters.http.problems "
    "gateway.adapters.http.server gateway.adapters.http.bank_answers gateway.adapters.http.bank_books_api "
    "gateway.adapters.http.bank_days_api "
    "gateway.adapters.http.bank_forms gateway.adapters.http.bank_keys gateway.adapters.http.bank_spool gateway.adapters.http.tls "
    "gateway.adapters.http.views gateway.adapters.bank_key_files gateway.adapters.identity"
)
OF_SETTINGS_FOR_CENTRAL = "gateway.settings.bank"
CLI = (
    "gateway.__version__ gateway.cli gateway.bootstrap gateway.settings gateway.central gateway.domain protocols typer rich httpx2"
)
ROOMS = (  # the first whose path begins the file's path holds
    Room("protocols/modbus/", "protocols pymodbus.pdu", VALUE_MODULES, PURE),
    Room("protocols/uplink/", "protocols pydantic msgspec joserfc google.protobuf", VALUE_MODULES, PURE),
    Room("protocols/bank/", "protocols http_message_signatures iso8583 cryptography", VALUE_MODULES, PURE),
    Room("protocols/", "protocols", VALUE_MODULES, PURE),
    *(Room(f"firmware_sim/{name}.py", SHELL_OF_SIMULATOR) for name in ("line", "serve", "control", "__main__")),
    *(Room(f"firmware_sim/banking/{name}.py", SHELL_OF_SIMULATOR + " cryptography") for name in ("line", "control", "bank")),
    Room("firmware_sim/", "protocols firmware_sim", STDLIB - WORLD, (no_async, no_clock, no_own_randomness)),
    Room("gateway/domain/", "gateway.domain", VALUE_MODULES, (*PURE, no_float)),
    Room("gateway/services/", "gateway.services gateway.domain", VALUE_MODULES, PURE),
    Room("gateway/adapters/", "gateway.adapters gateway.domain gateway.services.ports protocols", third_party=True),
    Room("gateway/entrypoints/", "gateway.entrypoints gateway.services gateway.domain structlog"),
    Room(
        "gateway/central/",
        f"gateway.__version__ gateway.central gateway.domain protocols {OF_ADAPTERS_FOR_CENTRAL} {OF_SETTINGS_FOR_CENTRAL}",
        third_party=True,
    ),
    Room("gateway/settings/", "gateway.settings gateway.domain pydantic pydantic_settings"),
    Room("gateway/bootstrap/", ALL_BUT_CENTRAL, third_party=True),
    Room("gateway/cli/demo.py", CLI + " firmware_sim"),
    Room("gateway/cli/sim.py", CLI + " firmware_sim"),
    Room("gateway/cli/", CLI),
    Room("gateway/__main__.py", "gateway.cli"),
    Room("gateway/__init__.py", ""),
)


def imported(tree: ast.AST, path: str) -> Iterator[Finding]:
    """Every imported name in full, whether absolute or relative, at the top, in a function or for type checking only."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            package = list(Path(path).parent.parts)
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def room_of(path: str) -> Room | None:
    return next((room for room in ROOMS if path.startswith(room.path)), None)


def lines(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def shape(path: str, source: str, tree: ast.AST) -> Iterator[Finding]:
    if Path(path).stem in SAYS_NOTHING:
        yield 1, "a module name that says nothing"
    generated = "/migrations/" in path or path.endswith("_pb2.py")
    if not generated and source.count("\n") > LONGEST_MODULE:
        yield 1, f"over {LONGEST_MODULE} lines in one module"
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield node.lineno, "bare except"
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not generated and lines(node) > LONGEST_FUNCTION:
            yield node.lineno, f"{node.name} has over {LONGEST_FUNCTION} lines"


def complaints(path: str, source: str) -> list[str]:
    tree, room = ast.parse(source), room_of(path)
    found = list(shape(path, source, tree))
    if room is None:
        found.append((1, "stands in no room of the house"))
    else:
        found += [(line, f"{room.path} may not import {name}") for line, name in imported(tree, path) if not room.admits(name)]
        found += [(node.lineno, why) for node in ast.walk(tree) for ban in room.bans if (why := ban(node))]  # type: ignore[attr-defined]
    return [f"{path}:{line}: {why}" for line, why in sorted(found)]


def test_every_module_keeps_the_rules() -> None:
    files = [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]
    assert {f.relative_to(ROOT).parts[0] for f in files} == set(PACKAGES)
    found = [line for f in files for line in complaints(f.relative_to(ROOT).as_posix(), f.read_text())]
    assert not found, "\n" + "\n".join(found)


REJECTED = (
    ("protocols/modbus/master.py", "from pymodbus.client import AsyncModbusTcpClient", "pymodbus.client"),
    ("protocols/uplink/signing.py", "import cryptography", "import cryptography"),
    ("protocols/bank/iso8583.py", "import pydantic", "import pydantic"),
    ("protocols/dlt645/frames.py", "from pymodbus.pdu import ModbusPDU", "pymodbus"),
    ("protocols/dlt645/master.py", "import asyncio", "asyncio"),
    ("protocols/dlt645/security.py", "from random import randbytes", "random.randbytes"),
    ("protocols/exchange.py", "from time import monotonic", "time.monotonic"),
    ("protocols/exchange.py", "async def feed(): ...", "async"),
    ("protocols/bcd.py", "from gateway.domain import units", "gateway.domain"),
    ("protocols/bcd.py", "import datetime as dt\nx = dt.datetime.now(None)", "clock"),
    ("firmware_sim/line.py", "from gateway.domain.meters import Meter", "gateway.domain"),
    ("firmware_sim/serve.py", "from gateway import settings", "gateway.settings"),
    ("firmware_sim/control.py", "import sqlalchemy", "sqlalchemy"),
    ("firmware_sim/banking/line.py", "import gateway.adapters", "gateway.adapters"),
    ("firmware_sim/banking/control.py", "from gateway import settings", "gateway.settings"),
    ("firmware_sim/banking/bank.py", "import sqlalchemy", "sqlalchemy"),
    ("firmware_sim/__main__.py", "import gateway.bootstrap", "gateway.bootstrap"),
    ("firmware_sim/meter.py", "import asyncio", "asyncio"),
    ("firmware_sim/meter.py", "import serial", "serial"),
    ("firmware_sim/meter.py", "from time import time", "time.time"),
    ("firmware_sim/loads.py", "import random\nx = random.random()", "randomness"),
    ("firmware_sim/faults.py", "from random import choice", "randomness"),
    ("gateway/domain/ledger.py", "from protocols import quantities", "protocols"),
    ("gateway/domain/ledger.py", "import pydantic", "pydantic"),
    ("gateway/domain/credit.py", "from ..services.ports import Tx", "gateway.services.ports"),
    ("gateway/domain/tariffs.py", "rate = 0.5", "float"),
    ("gateway/domain/tariffs.py", "rate = float('1')", "float"),
    ("gateway/domain/tariffs.py", "half = 3 / 2", "float"),
    ("gateway/domain/supply.py", "from datetime import date\nx = date.today()", "clock"),
    ("gateway/domain/supply.py", "async def judge(): ...", "async"),
    ("gateway/services/apply_topup.py", "from gateway.adapters.store import engine", "gateway.adapters"),
    ("gateway/services/apply_topup.py", "from protocols.quantities import Quantity", "protocols"),
    ("gateway/services/plan.py", "from ..entrypoints import line_loop", "gateway.entrypoints"),
    ("gateway/services/plan.py", "async def plan(): ...", "async"),
    ("gateway/services/plan.py", "from datetime import datetime\nx = datetime.now()", "clock"),
    ("gateway/services/plan.py", "def f():\n    import structlog", "structlog"),
    ("gateway/adapters/mqtt_link.py", "from gateway.services import apply_topup", "gateway.services.apply_topup"),
    ("gateway/adapters/mqtt_link.py", "from gateway.entrypoints.outbox_loop import run", "gateway.entrypoints"),
    ("gateway/adapters/mqtt_link.py", "import gateway.central", "gateway.central"),
    ("gateway/entrypoints/line_loop.py", "from gateway.adapters import clock", "gateway.adapters"),
    ("gateway/entrypoints/line_loop.py", "from protocols.errors import Malformed", "protocols"),
    ("gateway/entrypoints/line_loop.py", "import aiomqtt", "aiomqtt"),
    ("gateway/central/ingest.py", "from gateway.services.ports import Tx", "gateway.services"),
    ("gateway/central/ingest.py", "from gateway.adapters.lines import tcp", "gateway.adapters"),
    ("gateway/settings/document.py", "from gateway.adapters import clock", "gateway.adapters"),
    ("gateway/settings/document.py", "import sqlalchemy", "sqlalchemy"),
    ("gateway/bootstrap/process.py", "from gateway.central import ingest", "gateway.central"),
    ("gateway/bootstrap/process.py", "import firmware_sim.serve", "firmware_sim"),
    ("gateway/cli/demo.py", "from gateway.adapters import clock", "gateway.adapters"),
    ("gateway/cli/sim.py", "from gateway.services import plan", "gateway.services"),
    ("gateway/cli/topup.py", "from firmware_sim import meter", "firmware_sim"),
    ("gateway/cli/topup.py", "import sqlalchemy", "sqlalchemy"),
    ("gateway/__main__.py", "from gateway.bootstrap import build", "gateway.bootstrap"),
    ("gateway/__init__.py", "import typer", "typer"),
    ("gateway/domain/helpers.py", "", "says nothing"),
    ("gateway/web/page.py", "", "no room"),
    ("gateway/adapters/clock.py", "try: pass\nexcept: pass", "bare except"),
    ("gateway/adapters/clock.py", "def f():\n" + "    x = 1\n" * 80, "over 80 lines"),
    ("gateway/adapters/clock.py", "\n" * 601, "over 600 lines"),
)

ACCEPTED = (
    ("protocols/modbus/master.py", "from pymodbus.pdu.register_message import X\nfrom ..exchange import Send"),
    ("firmware_sim/meter.py", "import random\ndef f(rng: random.Random) -> float: return rng.random()"),
    ("gateway/domain/credit.py", "from datetime import datetime\nfrom gateway.domain.units import Money\nx = 7 // 2"),
    ("gateway/services/plan.py", "from gateway.services import ports\nfrom ..domain import meters"),
    ("gateway/adapters/mqtt_link.py", "from gateway.services import ports\nimport aiomqtt, asyncio"),
    ("gateway/cli/demo.py", "from firmware_sim import serve\nfrom gateway import bootstrap"),
)


@pytest.mark.parametrize(("path", "source", "why"), REJECTED, ids=lambda text: str(text)[:40])
def test_a_breach_is_named(path: str, source: str, why: str) -> None:
    found = complaints(path, source)
    assert len(found) == 1 and why in found[0], found


@pytest.mark.parametrize(("path", "source"), ACCEPTED, ids=lambda text: str(text)[:40])
def test_what_is_allowed_passes(path: str, source: str) -> None:
    assert complaints(path, source) == []


def test_every_room_and_every_ban_has_a_breach() -> None:
    rooms = [room for path, _, _ in REJECTED if (room := room_of(path))]
    assert set(rooms) == set(ROOMS)
    snippets = [ast.parse(source) for _, source, _ in REJECTED]
    for ban in {ban for room in ROOMS for ban in room.bans}:
        assert any(ban(node) for tree in snippets for node in ast.walk(tree)), ban.__name__
