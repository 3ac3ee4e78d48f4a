"""The report of an acceptance run: JSON with everything, and a page that a laboratory can print and sign."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape

from gateway.adapters.line_tools.acceptance.case import Outcome, Verdict
from gateway.adapters.line_tools.acceptance.precision import Precision
from gateway.adapters.line_tools.acceptance.redact import shown

VERSION = 1
RULE = "A limit is broken when it is exceeded by more than the uncertainty; what lies nearer to it is said in the row."

_STYLE = """
body{font:14px/1.4 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#111;background:#fff}
table{border-collapse:collapse;width:100%;margin:1rem 0}
th,td{border:1px solid #999;padding:.3rem .5rem;text-align:left;vertical-align:top}
th{background:#eee}.pass{color:#060}.fail{color:#a00;font-weight:bold}.notrun{color:#555}
.sign td{height:3rem}code{word-break:break-all;font-size:12px}@media print{body{margin:0;max-width:none}tr{break-inside:avoid}}
"""


@dataclass(frozen=True, slots=True)
class Heading:
    """Who tested what, where and when. by, laboratory, order, note: as the tester gave them, empty for a line to fill in.

    facts: what the meter says about itself. begun_ms, ended_ms: UTC by this computer's clock.
    """

    software: str
    line: str
    setting: str
    address: str
    dialect: str
    begun_ms: int
    ended_ms: int
    by: str = ""
    laboratory: str = ""
    order: str = ""
    note: str = ""
    module: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)


def as_json(heading: Heading, precision: Precision, outcomes: Sequence[Outcome]) -> str:
    """Everything, with every byte that was said and heard but those of passwords."""
    return json.dumps(
        {
            "report": "wattgate bench meter",
            "version": VERSION,
            "software": heading.software,
            "who": {"by": heading.by, "laboratory": heading.laboratory, "order": heading.order, "note": heading.note},
            "when": {"begun": _utc(heading.begun_ms), "ended": _utc(heading.ended_ms)},
            "line": {"name": heading.line, "setting": heading.setting},
            "meter": {"address": heading.address, "dialect": heading.dialect, **heading.facts},
            "security_module": heading.module,
            "uncertainty": {"bound_ms": precision.bound_ms, "parts_ms": precision.parts_ms, "rule": RULE},
            "summary": _summary(outcomes),
            "cases": [_case(outcome) for outcome in outcomes],
        },
        indent=1,
        ensure_ascii=False,
    )


def as_html(heading: Heading, precision: Precision, outcomes: Sequence[Outcome], data: str) -> str:
    """The page. data: the JSON that it belongs to, whose digest it carries, so that one signature covers both."""
    rows = {
        "Meter": f"{heading.address} ({heading.dialect})",
        **{name.capitalize(): value for name, value in heading.facts.items()},
        "Line": f"{heading.line}, {heading.setting}",
        "Tested": f"{_utc(heading.begun_ms)} to {_utc(heading.ended_ms)}",
        "By": heading.by,
        "Laboratory": heading.laboratory,
        "Order": heading.order,
        "Note": heading.note,
        "Software": heading.software,
        **({"Security module": heading.module} if heading.module else {}),
        "Uncertainty of times": f"± {precision.bound_ms:g} ms ({_parts(precision)}). {RULE}",
        "Result": ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in _summary(outcomes).items()),
    }
    head = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
    digest = hashlib.sha256(data.encode()).hexdigest()
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Acceptance of meter {escape(heading.address)}</title>'
        f"<style>{_STYLE}</style><h1>Acceptance of meter {escape(heading.address)}</h1><table>{head}</table>"
        "<table><tr><th>Case</th><th>Clause</th><th>What</th><th>Expected</th><th>Observed</th><th>Verdict</th></tr>"
        f"{''.join(_row(outcome) for outcome in outcomes)}</table>"
        f"<p>All bytes with their times, without passwords, are in report.json, SHA-256 <code>{digest}</code>.</p>"
        '<table class="sign"><tr><th>Name</th><th>Place and date</th><th>Signature</th></tr>'
        "<tr><td></td><td></td><td></td></tr><tr><td></td><td></td><td></td></tr></table></html>\n"
    )


def _row(outcome: Outcome) -> str:
    case, kind = outcome.case, outcome.verdict.value.replace(" ", "")
    figures = "".join(f"<br><small>{escape(str(figure))}</small>" for figure in outcome.figures)
    cells = [case.id, case.clause, case.title, case.expected]
    plain = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
    return f'<tr>{plain}<td>{escape(outcome.observed)}{figures}</td><td class="{kind}">{outcome.verdict.value}</td></tr>'


def _case(outcome: Outcome) -> dict[str, object]:
    case = outcome.case
    return {
        "id": case.id,
        "clause": case.clause,
        "title": case.title,
        "expected": case.expected,
        "observed": outcome.observed,
        "verdict": outcome.verdict.value,
        "begun": _utc(outcome.begun_ms),
        "figures": [{"name": f.name, "value": f.value, "unit": f.unit, "uncertainty": f.uncertainty} for f in outcome.figures],
        "frames": [
            {"us": piece.at_us, "dir": piece.direction, "hex": text}
            for piece, text in zip(outcome.pieces, shown(outcome.pieces), strict=True)
        ],
    }


def _summary(outcomes: Sequence[Outcome]) -> dict[str, int]:
    counted = Counter(outcome.verdict for outcome in outcomes)
    return {verdict.value.replace(" ", "_"): counted[verdict] for verdict in Verdict}


def _parts(precision: Precision) -> str:
    return ", ".join(f"{name} {value:g} ms" for name, value in precision.parts_ms.items())


def _utc(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
