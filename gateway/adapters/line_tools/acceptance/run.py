"""Runs the list case by case on one meter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gateway.adapters.crypto_service import Crypto, LocalCrypto
from gateway.adapters.line_tools.acceptance import control_cases, link_cases, old_cases, time_cases, wallet_cases
from gateway.adapters.line_tools.acceptance.case import Broken, Case, NotRun, Outcome, Seen, Verdict
from gateway.adapters.line_tools.acceptance.precision import measure
from gateway.adapters.line_tools.acceptance.subject import Options, Subject
from gateway.adapters.line_tools.place import Place
from gateway.adapters.line_tools.probe import Probe
from gateway.adapters.line_tools.refusals import Refusals
from gateway.adapters.line_tools.traffic import Piece, loop_us
from gateway.adapters.lines.driver import WallClock
from gateway.adapters.lines.transport import LineDown, Transport
from gateway.adapters.meter_links.dlt645_link import Password
from protocols.dlt645.frames import Dialect
from protocols.dlt645.security import TestSecurityModule
from protocols.errors import Refused, RequestError

CASES: tuple[Case, ...] = (*link_cases.CASES, *old_cases.CASES, *time_cases.CASES, *control_cases.CASES, *wallet_cases.CASES)
LAST = ("control.lock", "link.length")
"""A locked meter takes no further password, and lengths are judged over everything."""

FACTS = {
    "number": "04000402", "model": "0400040B", "made": "0400040C", "protocol": "0400040D", "software": "04800001",
    "hardware": "04800002", "works": "04800003",
}  # fmt: skip
"""What a meter says about itself."""

Tell = Callable[[Outcome], None]


def chosen(only: Sequence[str] = ()) -> list[Case]:
    """The cases in their order; `only` are ids or their beginnings. Raises KeyError with one that names no case."""
    for name in only:
        if not any(_named(case, name) for case in CASES):
            raise KeyError(name)
    wanted = [case for case in CASES if not only or any(_named(case, name) for name in only)]
    return sorted(wanted, key=lambda case: LAST.index(case.id) + 1 if case.id in LAST else 0)


def _named(case: Case, name: str) -> bool:
    return case.id == name or case.id.startswith(f"{name}.")


def test_module(randomness: Callable[[int], bytes]) -> Crypto:
    """The module for simulated meters: it protects nothing, and its label says so."""
    return LocalCrypto(TestSecurityModule(randomness))


async def subject_on(
    place: Place,
    address: str,
    dialect: Dialect,
    *,
    clock: WallClock,
    refusals: Refusals,
    options: Options,
    password: Password | None = None,
    module: Crypto | None = None,
    stated_ms: float | None = None,
    transport: Transport | None = None,
) -> Subject:
    """The meter on an open line. stated_ms: the laboratory's own bound of the error of times. Raises LineDown."""
    probe = Probe(transport or place.transport(), place.baud)
    begun_us = loop_us()
    await probe.open()
    precision = await measure(place, probe.byte_us, (loop_us() - begun_us) / 1000, stated_ms)
    return Subject(probe, address, dialect, precision, clock, refusals, options, password, module)


async def facts(meter: Subject) -> dict[str, str]:
    """What the meter says about itself, as far as it does. Raises LineDown."""
    told: dict[str, str] = {}
    for name, di in FACTS.items() if meter.dialect is Dialect.V2007 else ():
        try:
            answer = await meter.known(di)
        except Broken:
            return told  # a meter that does not answer says nothing about itself
        value = answer.fields[0].value if answer and answer.fields else None
        if value is not None:
            told[name] = str(value)
    return told


async def run(meter: Subject, cases: Sequence[Case], tell: Tell = lambda outcome: None) -> list[Outcome]:
    """Every case once. A line that breaks ends what is left as not run."""
    outcomes: list[Outcome] = []
    down: str | None = None
    for case in cases:
        begun_ms, begun_us = meter.clock.now_ms(), loop_us()
        meter.probe.forget()
        reason = down or _why_not(meter, case)
        if reason is None:
            verdict, seen = await _judge(meter, case)
            if verdict is None:
                down, verdict = seen.text, Verdict.NOT_RUN
        else:
            verdict, seen = Verdict.NOT_RUN, Seen(reason)
        pieces = tuple(Piece(piece.at_us - begun_us, piece.direction, piece.data) for piece in meter.probe.pieces)
        outcomes.append(Outcome(case, verdict, seen.text, seen.figures, begun_ms, pieces))
        tell(outcomes[-1])
    return outcomes


def _why_not(meter: Subject, case: Case) -> str | None:
    if meter.dialect not in case.dialects:
        return f"this case is of the {'1997' if meter.dialect is Dialect.V2007 else '2007'} standard"
    if not meter.options.allows(case.opt_in):
        return f"only with --{case.opt_in}"
    return None


async def _judge(meter: Subject, case: Case) -> tuple[Verdict | None, Seen]:
    """The verdict; None when the line broke."""
    try:
        return Verdict.PASS, await case.run(meter)
    except Broken as broken:
        return Verdict.FAIL, Seen(str(broken))
    except Refused as refused:
        return Verdict.FAIL, Seen(str(refused))
    except (NotRun, RequestError) as reason:
        return Verdict.NOT_RUN, Seen(str(reason))
    except LineDown as down:
        return None, Seen(f"the line broke: {down}")
