"""New stores are made quickly, as in tests/gateway."""

from tests.gateway.conftest import new_stores

__all__ = ["new_stores"]
