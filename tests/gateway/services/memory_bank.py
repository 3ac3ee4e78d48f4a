"""The banks' share of the store in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class MemoryBank:
    """`bank_ports.BankTx` on dictionaries."""
