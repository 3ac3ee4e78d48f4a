"""One synchronous use case a file: `f(tx, request, now_ms) -> outcome`, one transaction each. No I/O but the transaction."""
