"""The transport of a configured line, and the heartbeats that its meters' answers could be taken for."""

from __future__ import annotations

import ipaddress

import structlog

from gateway.adapters.clock import Clock
from gateway.adapters.lines.heartbeats import begins_like_an_answer
from gateway.adapters.lines.listen import ListenTransport
from gateway.adapters.lines.listen_hub import Caller
from gateway.adapters.lines.serial import Rs485, SerialTransport
from gateway.adapters.lines.tcp import TcpTransport
from gateway.adapters.lines.transport import Transport
from gateway.settings import Line

log = structlog.get_logger(__name__)


def transport_of(line: Line, clock: Clock) -> Transport:
    """Not yet open. What a person should know of it is logged."""

    def tell(text: str) -> None:
        log.warning("line_notice", line=line.id, text=text)

    if line.kind == "serial":
        rs485 = None if line.rs485 is None else Rs485(**line.rs485.model_dump())
        return SerialTransport(
            line.device or "", baud=line.baud, parity=line.parity, stopbits=line.stopbits, rs485=rs485, tell=tell
        )
    if line.kind != "tcp-listen":
        return TcpTransport(line.host or "", line.port or 0)
    host, _, port = (line.listen or "").rpartition(":")
    caller = Caller(
        tuple(map(ipaddress.ip_network, line.sources())),
        line.first_words(),
        bytes.fromhex(line.heartbeat_hex or ""),
        bytes.fromhex(line.heartbeat_answer_hex or ""),
    )
    return ListenTransport(host.strip("[]"), int(port), caller, now_ms=clock.now_ms, latency_ms=line.added_ms(), tell=tell)


def mistakable(line: Line, protocol: str, address: str) -> list[str]:
    """What is wrong when an answer of this meter could begin like a heartbeat of its line's converter."""
    beat = bytes.fromhex(line.heartbeat_hex or "")
    if beat and begins_like_an_answer(beat, protocol, address):
        return [f"an answer of it begins like the heartbeat of line {line.id}, which would be taken out of it"]
    return []
