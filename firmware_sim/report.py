"""The report of a run: JUnit XML for tools that know it, JSON with everything else (contract 8)."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from firmware_sim.handle import Handle
from firmware_sim.scenario import Outcome

JUNIT, JSON = "junit.xml", "report.json"


def write(
    folder: str | Path, name: str, seed: int, seconds: float, outcomes: Sequence[Outcome], handle: Handle,
    banks: Sequence[dict[str, object]] = (),
) -> None:  # fmt: skip
    """Both files into a folder, which is made. Raises OSError."""
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    _replace(path / JUNIT, junit(name, seconds, outcomes, banks))
    document = summary(name, seed, seconds, outcomes, handle) | ({"banks": list(banks)} if banks else {})
    _replace(path / JSON, json.dumps(document, indent=1).encode() + b"\n")


def junit(name: str, seconds: float, outcomes: Sequence[Outcome], banks: Sequence[dict[str, object]] = ()) -> bytes:
    """One test suite, one test case a step and a bank; a step's class is the meter or line."""
    failures = sum(1 for outcome in outcomes if outcome.message) + sum(1 for bank in banks if not bank["ok"])
    tests, took = str(len(outcomes) + len(banks)), f"{seconds:.3f}"
    counts = {"tests": tests, "failures": str(failures), "errors": "0", "skipped": "0", "time": took}
    root = Element("testsuites")
    suite = SubElement(root, "testsuite", {"name": name, **counts})
    for outcome in outcomes:
        where, took = f"{name}.{outcome.step.on or 'scenario'}", f"{outcome.took_us / 1e6:.3f}"
        element = SubElement(suite, "testcase", {"classname": where, "name": outcome.name, "time": took})
        if outcome.message:
            SubElement(element, "failure", {"message": outcome.message, "type": outcome.step.act}).text = outcome.message
    for bank in banks:
        element = SubElement(suite, "testcase", {"classname": f"{name}.{bank['bank']}", "name": "contract"})
        if not bank["ok"]:
            SubElement(element, "failure", {"message": str(bank["why"]), "type": "contract"})
    indent(root)
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def summary(name: str, seed: int, seconds: float, outcomes: Sequence[Outcome], handle: Handle) -> dict[str, object]:
    """Steps, acts, and the truth about every meter and line at the end."""
    steps = [
        {"step": o.step.number, "name": o.name, "at_s": o.at_us / 1e6, "seconds": o.took_us / 1e6, "failure": o.message or None}
        for o in outcomes
    ]
    return {
        "scenario": name,
        "seed": seed,
        "seconds": seconds,
        "ok": not any(outcome.message for outcome in outcomes),
        "steps": steps,
        "acts": list(handle.log),
        "lines": handle.lines(),
        "meters": handle.truths(),
    }


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_suffix(f".{os.getpid()}")
    beside.write_bytes(content)
    os.replace(beside, path)
