"""Against pymodbus itself over loopback: its server answers our exchanges, its client asks our slave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

import pytest
from pymodbus.client import AsyncModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from protocols.errors import Refused
from protocols.exchange import Done, Exchange
from protocols.modbus.master import ReadBits, ReadRegisters, WriteCoil, WriteRegister, WriteRegisters
from protocols.modbus.slave import Request, TcpSlave, answer, exception

T = TypeVar("T")
PATIENCE_S = 60  # loopback answers in milliseconds; a busy machine may need more


@pytest.fixture
async def their_server() -> AsyncIterator[int]:
    bits, words = DataType.BITS, DataType.REGISTERS
    device = SimDevice(
        id=5,
        simdata=(
            [SimData(0, values=[True, False, False, True] * 4, datatype=bits)],
            [SimData(0, values=[False, True] * 8, datatype=bits)],
            [SimData(0, values=list(range(100, 200)), datatype=words)],
            [SimData(0x48, values=[0x458C, 0x2CF6, 0x41E6, 0x28F6], datatype=words)],
        ),
    )
    server = ModbusTcpServer(device, address=("127.0.0.1", 0))
    await server.serve_forever(background=True)
    yield server.transport.sockets[0].getsockname()[1]
    await server.shutdown()


async def _run(port: int, exchange: Exchange[T]) -> T:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(exchange.start())
        async with asyncio.timeout(PATIENCE_S):
            while True:
                step = exchange.feed(await reader.read(1024))
                if isinstance(step, Done):
                    return step.result
    finally:
        writer.close()


async def test_their_server_answers_our_exchanges(their_server: int) -> None:
    assert await _run(their_server, ReadRegisters(5, 3, 0, 100, "tcp", 1)) == tuple(range(100, 200))
    assert await _run(their_server, ReadRegisters(5, 4, 0x48, 4, "tcp", 2)) == (0x458C, 0x2CF6, 0x41E6, 0x28F6)
    assert await _run(their_server, ReadBits(5, 1, 0, 5, "tcp", 3)) == (True, False, False, True, True)
    assert await _run(their_server, ReadBits(5, 2, 0, 3, "tcp", 4)) == (False, True, False)
    await _run(their_server, WriteCoil(5, 1, True, "tcp", 5))
    assert await _run(their_server, ReadBits(5, 1, 1, 1, "tcp", 6)) == (True,)
    await _run(their_server, WriteRegister(5, 7, 4242, "tcp", 7))
    await _run(their_server, WriteRegisters(5, 8, [1, 65535], "tcp", 8))
    assert await _run(their_server, ReadRegisters(5, 3, 7, 3, "tcp", 9)) == (4242, 1, 65535)
    with pytest.raises(Refused) as refused:
        await _run(their_server, ReadRegisters(5, 3, 5000, 2, "tcp", 10))
    assert refused.value.flags == ("illegal data address",)


class _Device:
    """100 registers and 16 coils behind our slave."""

    def __init__(self) -> None:
        self.registers = list(range(100))
        self.coils = [0] * 16

    def reply(self, request: Request) -> bytes:
        store = self.coils if request.function in (1, 2, 5, 15) else self.registers
        window = slice(request.address, request.address + request.count)
        if request.fault:
            return exception(request, request.fault)
        if window.stop > len(store):
            return exception(request, 2)
        if request.function <= 4:
            return answer(request, store[window])
        store[window] = request.values
        return answer(request)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        slave = TcpSlave([5])
        while data := await reader.read(1024):
            for request in slave.feed(data):
                writer.write(self.reply(request))
        writer.close()


@pytest.fixture
async def their_client() -> AsyncIterator[AsyncModbusTcpClient]:
    async with await asyncio.start_server(_Device().serve, "127.0.0.1", 0) as server:
        client = AsyncModbusTcpClient("127.0.0.1", port=server.sockets[0].getsockname()[1], timeout=PATIENCE_S, retries=0)
        await client.connect()
        yield client
        client.close()


async def test_their_client_asks_our_slave(their_client: AsyncModbusTcpClient) -> None:
    assert (await their_client.read_holding_registers(10, count=90, device_id=5)).registers == list(range(10, 100))
    assert (await their_client.read_input_registers(3, count=1, device_id=5)).registers == [3]
    assert not (await their_client.write_register(3, 777, device_id=5)).isError()
    assert not (await their_client.write_registers(4, [8, 9], device_id=5)).isError()
    assert (await their_client.read_holding_registers(3, count=3, device_id=5)).registers == [777, 8, 9]
    assert not (await their_client.write_coil(2, True, device_id=5)).isError()
    assert not (await their_client.write_coils(8, [True, False, True], device_id=5)).isError()
    assert [n for n, on in enumerate((await their_client.read_coils(0, count=16, device_id=5)).bits) if on] == [2, 8, 10]
    refused = await their_client.read_holding_registers(99, count=2, device_id=5)
    assert refused.isError() and refused.exception_code == 2
