"""What banks bring, on SQLite and PostgreSQL (services/bank_ports)."""

from __future__ import annotations

from gateway.adapters.store.statements import Part


class BankBooks(Part):
    """The banks' share of a transaction."""
