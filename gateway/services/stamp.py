"""A moment as documents for banks say it (RFC 3339)."""

from __future__ import annotations

from datetime import date, timedelta


def rfc3339(at_ms: int) -> str:
    """UTC milliseconds as `2026-11-21T02:15:00.123Z`."""
    seconds, ms = divmod(at_ms, 1000)
    day, rest = divmod(seconds, 86_400)
    at = date(1970, 1, 1) + timedelta(days=day)
    return f"{at.isoformat()}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}.{ms:03d}Z"
