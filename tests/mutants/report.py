"""What tests/MUTANTS.md says: the score of each module, and of each mutant that lived why it may."""

from __future__ import annotations

import platform
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

LEAST_PERCENT = 90
"""Of its mutants a module's tests must notice."""

EXPLAINED = Path(__file__).with_name("explained.toml")
REPORT = Path(__file__).parents[1] / "MUTANTS.md"


@dataclass(frozen=True, slots=True)
class Survivor:
    """A mutant that no test noticed."""

    name: str
    module: str
    diff: str

    @property
    def change(self) -> str:
        """Module and function, then the line as it is and as it was mutated."""
        lines = [line for line in self.diff.splitlines()[2:] if line[0] in "+-"]
        place = self.name.rpartition(".")[2].rpartition("__mutmut_")[0][2:].replace("\u01c1", ".")
        return "\n".join([f"{Path(self.module).stem}.{place}", *(f"{line[0]} {line[1:].strip()}" for line in lines)])


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a module's mutants. timed_out: noticed because a test did not end."""

    module: str
    mutants: int
    timed_out: int
    survivors: tuple[Survivor, ...]

    @property
    def percent(self) -> float:
        """The score: how many were noticed."""
        return 100 * (self.mutants - len(self.survivors)) / max(self.mutants, 1)


def explanations() -> dict[str, str]:
    """Change -> why it may live."""
    rows = tomllib.loads(EXPLAINED.read_text())["explained"]
    return {change.strip(): row["why"] for row in rows for change in row["changes"]}


def table(results: Sequence[Result]) -> str:
    """One row for each module."""
    rows = ["| module | mutants | noticed | of these by time | lived | score |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for each in results:
        lived = len(each.survivors)
        noticed = each.mutants - lived
        rows.append(f"| `{each.module}` | {each.mutants} | {noticed} | {each.timed_out} | {lived} | {each.percent:.1f} % |")
    return "\n".join(rows)


def write(results: Sequence[Result], why: Mapping[str, str]) -> None:
    """The report, survivors under the reason that they share."""
    machine = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
    parts = [
        "# Mutants of the money's code\n",
        f"`make mutants ARGS=--write`, {date.today()}, {machine}. mutmut 3 changes one thing at a time; the mutants that no test",
        f"notices live. Of each module {LEAST_PERCENT} % must be noticed. Properties, and what stands outside of functions, are",
        "not mutated. Why a survivor may live is kept in `tests/mutants/explained.toml`.\n",
        table(results),
        "\n## Those that live, and why they may",
    ]
    reasons: dict[str, list[str]] = {}
    for each in (survivor for result in results for survivor in result.survivors):
        reasons.setdefault(why.get(each.change, "Not explained."), []).append(each.change)
    for reason, changes in reasons.items():
        parts.append(f"\n{reason}\n")
        parts += ["```diff", "\n".join(f"@@ {change}" for change in changes), "```"]
    REPORT.write_text("\n".join(parts) + "\n")
