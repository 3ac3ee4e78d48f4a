"""What the uplink remembers, on SQLite and PostgreSQL (services/uplink_ports)."""

from __future__ import annotations

from gateway.adapters.store.statements import Part


class UplinkMemory(Part):
    """The uplink's share of a transaction."""
