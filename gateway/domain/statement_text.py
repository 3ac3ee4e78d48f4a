"""The words of a statement, the same on the page, on paper, in a terminal and in a file."""

from __future__ import annotations

from gateway.domain.statement import CORRECTION, Line, Receipt
from gateway.domain.units import MICRO

SECTIONS = {"balance": "Balance", "debt": "Debt", "emergency": "Emergency credit", "undelivered": "Paid and not yet in the meter"}

COMPONENTS = {
    "opening": "Balance taken over",
    "topup": "Payments",
    "energy": "Energy",
    "step": "Step addition",
    "allowance": "Free allowance",
    "surcharge": "Surcharge",
    "fixed": "Fixed charge",
    "basic": "Basic fee",
    "minimum": "Minimum charge",
    "power_factor": "Power factor",
    "rounding": "Rounding",
    "late_fee": "Late fee",
    "debt_recovery": "Debt recovered",
    "emergency_recovery": "Emergency credit given back",
    CORRECTION: "Correction of an earlier bill",
}

CARRIED = "Fractions of a coin, carried"
NOTE = "Lines are shown in whole coins so that they add up; exact amounts are in the CSV file."


def component_text(component: str) -> str:
    """What a sum stands for."""
    return COMPONENTS.get(component) or component.replace("_", " ").capitalize()


def line_text(line: Line) -> str:
    """What a line is about, without its figures."""
    if line.component == CORRECTION:
        words = [f"Correction of the bill from {line.period[:10]}" if line.period else COMPONENTS[CORRECTION]]
    elif line.receipt is not None:
        words = _payment(line, line.receipt)
    else:
        words = [component_text(line.component)]
    energy = line.energy
    if energy is not None:
        words += [f"meter {energy.meter}"] if energy.meter else []
        words += [energy.rate.replace("_", " ")] if energy.rate not in (None, "single") else []
        words += [f"step {energy.step}"] if energy.step is not None else []
    words += [line.reason] if line.reason else []
    return ", ".join(words) + marks(line)


def marks(line: Line) -> str:
    """In brackets: estimated, corrected."""
    found = ["estimated"] if line.energy is not None and line.energy.estimated else []
    if line.corrects is not None and line.component != CORRECTION and line.receipt is None:
        found.append("corrected")
    return f" ({', '.join(found)})" if found else ""


def _payment(line: Line, receipt: Receipt) -> list[str]:
    words = ["Payment" if line.corrects is None else "Payment reversed" if line.micro < 0 else "Payment corrected"]
    words += [f"{receipt.bank} {receipt.serial}".strip()] if receipt.bank or receipt.serial else []
    words += [f"receipt {receipt.number}"] if receipt.number else []
    if receipt.to_debt_micro:
        words.append(f"{micro_text(receipt.to_debt_micro)} of it to debt")
    return words


def exact_text(micro: int) -> str:
    """All six decimals, so that lines add up to the micro-unit."""
    return f"{'-' if micro < 0 else ''}{abs(micro) // MICRO}.{abs(micro) % MICRO:06d}"


def micro_text(micro: int) -> str:
    """A price or an amount with the decimals that it has, but at least two: 617000 is 0.617, 500000 is 0.50."""
    whole, _, rest = exact_text(micro).partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(2, '0')}"


def kwh_text(wh: int) -> str:
    """Watt-hours in kWh, to the watt-hour, but at least two decimals."""
    whole, rest = divmod(abs(wh), 1000)
    return f"{'-' if wh < 0 else ''}{whole}.{f'{rest:03d}'.rstrip('0').ljust(2, '0')}"
