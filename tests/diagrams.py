"""Draws the state tables of the domain as mermaid diagrams; `python -m tests.diagrams` prints what ARCHITECTURE.md must hold."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from gateway.domain import credit, supply


def mermaid(table: Mapping[tuple[StrEnum, StrEnum], StrEnum], start: StrEnum) -> str:
    """A state diagram: one arrow for each pair of states, with all events that lead along it; staying put is not drawn."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (state, event), after in table.items():
        if after is not state:
            arrows.setdefault((state.value, after.value), []).append(event.value)
    lines = [f"    {a} --> {b}: {', '.join(events)}" for (a, b), events in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", f"    [*] --> {start.value}", *lines, "```"])


def diagrams() -> list[str]:
    """Every diagram of ARCHITECTURE.md."""
    return [
        mermaid(credit.TRANSITIONS, credit.CreditState.NORMAL),
        mermaid(supply.TRANSITIONS, supply.CommandState.QUEUED),
    ]


if __name__ == "__main__":
    print("\n\n".join(diagrams()))
