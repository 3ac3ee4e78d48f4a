"""Runs in the venv of PyPI's python-dlt645 and does what tests/peers/child.py is asked for, with the library's own functions."""

from __future__ import annotations

import io
import json
import socket
import sys

import dlt645

PATIENCE_S = 3.0


class Driver:
    """Every public method is a call."""

    def __init__(self) -> None:
        self.line: io.RawIOBase | None = None

    def connect_tcp(self, port: int) -> bool:
        self.line = socket.create_connection(("127.0.0.1", port), PATIENCE_S).makefile("rwb", buffering=0)
        return True

    def connect_pty(self, path: str) -> bool:
        self.line = open(path, "r+b", buffering=0)  # noqa: SIM115  it stays open
        return True

    def address(self) -> str:
        return dlt645.get_addr(self.line)

    def energy(self, address: str) -> float | None:
        return dlt645.get_active_energy(address, self.line)

    def read(self, address: str, di: str) -> str:
        frame = dlt645.Frame(address)
        frame.data = di
        dlt645.write_frame(self.line, frame)
        return dlt645.read_frame(dlt645.iogen(self.line)).data

    def dump(self, address: str | None, data: str) -> str:
        frame = dlt645.Frame(address)
        frame.data = data
        return frame.dump().hex().upper()

    def parse(self, wire: str) -> list[str]:
        frame = dlt645.read_frame(dlt645.iogen(io.BytesIO(bytes.fromhex(wire))))
        return [frame.addr, frame.data]


def main() -> None:
    driver = Driver()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer: dict[str, object] = {"value": getattr(driver, name)(*arguments)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
