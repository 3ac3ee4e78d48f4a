"""`wattgate debit result`: what was booked is said also where the gateway dies in the middle of a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.cli import debit
from gateway.cli.answers import Failure


class Dying:
    """A gateway that answers one call and is gone."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def call(self, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
        self.calls.append(body)
        if len(self.calls) > 1:
            raise Failure("no gateway answers at http://127.0.0.1:1")
        return 200, {"list": ["booked"] * debit.AT_ONCE}


def test_a_gateway_that_dies_in_the_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{n}|DD-20261121-{n:06d}|100|0000|" for n in range(1, debit.AT_ONCE + 2)]
    file, gone = tmp_path / "result.txt", Dying()
    file.write_text("\n".join([f"DD-icbc-20261121|20261121|{len(lines)}|0", *lines, ""]))
    monkeypatch.setattr(debit, "client", lambda config, url: gone)
    with pytest.raises(Failure) as told:
        debit.result("icbc", file, "2026-11-21", "debit-pipe", "CNY")
    assert told.value.sentences == [
        "no gateway answers at http://127.0.0.1:1",
        f"{debit.AT_ONCE} of {len(lines)} lines are known to be done: the same file may be read again",
    ]
    assert len(gone.calls) == 2


def test_a_file_of_another_bank_asks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, gone = tmp_path / "result.txt", Dying()
    file.write_text("DD-ccb-20261121|20261121|1|0\n1|DD-20261121-000001|100|0000|\n")
    monkeypatch.setattr(debit, "client", lambda config, url: gone)
    with pytest.raises(Failure, match="which is no batch of this bank's; nothing of it was booked"):
        debit.result("icbc", file, "2026-11-21", "debit-pipe", "CNY")
    assert gone.calls == []
