"""Accounting dates that bank and centre have agreed on: nothing is booked or undone on them any more (contract.md 3)."""

from __future__ import annotations

from sqlalchemy import Connection, select

from gateway.central import schema

_c = schema.closed_day.c


def is_closed(connection: Connection, bank: str, day: str) -> bool:
    """Whether an accounting date is agreed."""
    return connection.scalar(select(_c.version).where(_c.bank == bank, _c.day == day)) is not None
