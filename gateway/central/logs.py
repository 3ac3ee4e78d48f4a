"""Where the central system's log goes."""

from __future__ import annotations

import sys

import structlog


def log_to_stderr(level: str = "info") -> None:
    """Logs of this process from `level` on: one JSON object a line, on stderr."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
