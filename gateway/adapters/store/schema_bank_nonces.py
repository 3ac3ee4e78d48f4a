"""The table of nonces of signed requests (domain/nonces.py)."""

from __future__ import annotations

from sqlalchemy import Column, Table, UniqueConstraint

from gateway.adapters.store.columns import NUMBER, whole, words
from gateway.adapters.store.schema import metadata

bank_nonce = Table(
    "bank_nonce",
    metadata,
    Column("number", NUMBER, primary_key=True),
    words("key"),
    words("nonce"),
    whole("expires_ms"),
    UniqueConstraint("key", "nonce"),
)
