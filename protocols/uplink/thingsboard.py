"""ThingsBoard's gateway API over MQTT (its documentation, `v1/gateway`): devices, telemetry, attributes, and remote calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from protocols.errors import ProtocolError
from protocols.uplink.messages import PAYLOAD_LIMIT

CONNECT, DISCONNECT = "v1/gateway/connect", "v1/gateway/disconnect"
TELEMETRY, ATTRIBUTES, RPC = "v1/gateway/telemetry", "v1/gateway/attributes", "v1/gateway/rpc"

Value = None | bool | int | str | Decimal
"""A Decimal leaves as a JSON number with its own digits, so that the platform can draw it."""

_encoder = msgspec.json.Encoder(decimal_format="number")


class BadCall(ProtocolError):
    """What came as a remote call and is none; one sentence."""


class _Data(msgspec.Struct, frozen=True):
    id: int
    method: str
    params: object = None


class _Call(msgspec.Struct, frozen=True):
    device: str
    data: _Data


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    device: str
    id: int
    data: dict[str, object]


class Call(msgspec.Struct, frozen=True):
    """Somebody calls a method of a device; the answer carries its id. params: whatever came, as JSON values."""

    device: str
    id: int
    method: str
    params: object = None


def device(name: str) -> bytes:
    """For CONNECT and DISCONNECT."""
    return _encoder.encode({"device": name})


def telemetry(points: Mapping[str, Sequence[tuple[int, Mapping[str, Value]]]]) -> bytes:
    """Values by device, each set with its UTC ms. What is None is left out: the platform knows no missing value."""
    return _encoder.encode(
        {name: [{"ts": at_ms, "values": _present(values)} for at_ms, values in sets] for name, sets in points.items()}
    )


def attributes(values: Mapping[str, Mapping[str, Value]]) -> bytes:
    """What a device is, by device."""
    return _encoder.encode({name: _present(each) for name, each in values.items()})


def parse_call(payload: bytes) -> Call | None:
    """A remote call. None for an answer, which goes out on the same topic: a plain broker lets us hear it. BadCall else."""
    if len(payload) > PAYLOAD_LIMIT:
        raise BadCall(f"a call of {len(payload)} bytes is larger than the {PAYLOAD_LIMIT} that are allowed")
    try:
        read = msgspec.json.decode(payload, type=_Call)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        if _is_answer(payload):
            return None
        raise BadCall(f"this is no remote call: {str(wrong)[:200]}") from None
    return Call(read.device, read.data.id, read.data.method, read.data.params)


def _is_answer(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def answer(call: Call, data: Mapping[str, Value]) -> bytes:
    """What the caller gets."""
    return _encoder.encode({"device": call.device, "id": call.id, "data": _present(data)})


def _present(values: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in values.items() if value is not None}
