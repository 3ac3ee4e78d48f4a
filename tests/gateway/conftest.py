"""New stores are made quickly (tests/gateway/adapters/store has them made by the migrations), and so are new processes;
every message that is sent holds to its schema under docs/uplink."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from protocols.uplink import messages
from tests import programs
from tests.kept_types import keep_types
from tests.stores import quickly_made


def pytest_configure(config: pytest.Config) -> None:
    programs.anew = bool(config.getoption("proof"))
    if not programs.anew:
        keep_types()


@pytest.fixture(autouse=True)
def new_stores() -> Iterator[None]:
    with quickly_made():
        yield


@pytest.fixture(autouse=True, scope="session")
def schemas_hold() -> Iterator[None]:
    from tests.uplink_schemas import FORMS, hold

    plain = messages.encode

    def encode(message: msgspec.Struct) -> bytes:
        payload = plain(message)
        if (name := FORMS.get(type(message))) is not None:
            hold(name, payload)
        return payload

    messages.encode = encode
    yield
    messages.encode = plain
