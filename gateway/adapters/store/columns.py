"""Columns as all tables write them."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, Text

NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""Of a single-column primary key: SQLite makes only INTEGER the row's own number (64 bits as well), others cost a second tree."""


def words(name: str, *, nullable: bool = False) -> Column[str]:
    return Column(name, Text, nullable=nullable)


def whole(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)
