"""Runs in the venv of PyPI's dlt645 and does what tests/peers/child.py is asked for, with the library's public classes."""

from __future__ import annotations

import json
import struct
import sys
from datetime import datetime

from dlt645 import DLT645Protocol, MeterClientService, MeterServerService, RtuClient, TcpClient, TcpServer

PATIENCE_S = 3.0
RULES = {"00": "read_00", "01": "read_01", "02": "read_02", "03": "read_03", "04": "read_04"}


class Recorder:
    """A transport that keeps what is sent and gives what it was told to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.reply: bytes | None = None

    def _ensure_connection(self) -> bool:
        return True

    def send_request(self, data: bytes) -> bytes | None:
        self.sent.append(bytes(data))
        return self.reply

    def send_only(self, data: bytes) -> bool:
        self.sent.append(bytes(data))
        return True


class Driver:
    """Every public method is a call. One client and one server: each copies twenty thousand items, which takes a second."""

    def __init__(self) -> None:
        self.client = MeterClientService(Recorder())
        self.server = MeterServerService(None)

    def connect_tcp(self, port: int, address: str) -> bool:
        return self._connect(TcpClient("127.0.0.1", port, PATIENCE_S), address)

    def connect_pty(self, path: str, address: str) -> bool:
        return self._connect(RtuClient(path, 9600, 8, 1, "N", PATIENCE_S), address)

    def _connect(self, transport: TcpClient | RtuClient, address: str) -> bool:
        self.client.client = transport
        self.client.set_address(address)
        return self.client.connect()

    def disconnect(self) -> bool:
        return self.client.disconnect()

    def record(self, address: str, reply: str = "") -> bool:
        """Nothing is connected: what is sent is kept, and this is the answer to it."""
        self.client.client = Recorder()
        self.client.client.reply = bytes.fromhex(reply) or None
        return self.client.set_address(address)

    def sent(self) -> list[str]:
        return [data.hex().upper() for data in self.client.client.sent]

    def read(self, di: str) -> object:
        return told(getattr(self.client, RULES[di[:2]])(int(di, 16)))

    def client_do(self, name: str, *arguments: object) -> object:
        return told(getattr(self.client, name)(*arguments))

    def broadcast_time(self, iso: str) -> bool:
        return self.client.broadcast_time_sync(datetime.fromisoformat(iso))

    def serve(self, address: str) -> int:
        """A meter on a port of its own."""
        self.server.server = TcpServer("127.0.0.1", 0, PATIENCE_S, self.server)
        self.server.set_address(address)
        self.server.start()
        return self.server.server.port

    def hold(self, rule: str, di: str, value: object) -> bool:
        return getattr(self.server, f"set_{rule}")(int(di, 16), value)

    def unserved(self) -> list[str]:
        """The identifiers that the server has registered and yet answers with an error."""
        return [f"{di:08X}" for di in self.server.data_map if not self._answer(di).startswith(struct.pack("<I", di))]

    def lengths(self, dis: list[str]) -> dict[str, int]:
        """Bytes behind the identifier that the server answers with."""
        return {di: len(self._answer(int(di, 16))) - 4 for di in dis}

    def _answer(self, di: int) -> bytes:
        asked = DLT645Protocol.build_frame(self.server.address, 0x11, struct.pack("<I", di))
        return bytes(DLT645Protocol.deserialize(bytes(self.server.handle_request(DLT645Protocol.deserialize(bytes(asked))))).data)

    def clock(self) -> str | None:
        return self.server.time.isoformat() if self.server.time else None


def told(value: object) -> object:
    """Plain data."""
    value = getattr(value, "value", value)
    if hasattr(value, "time"):
        return [value.value, value.time.isoformat()]
    return value


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
