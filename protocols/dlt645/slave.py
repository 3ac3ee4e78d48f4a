"""The answering side of DL/T 645: bytes to typed requests, who must heed them, and the frames of the answers."""

from __future__ import annotations

from enum import Enum

from protocols.dlt645 import codes
from protocols.dlt645.frames import ANY, BROADCAST, Deframer, Dialect, Frame, covers
from protocols.dlt645.slave_1997 import (
    ChangePassword97Request,
    ChangeSpeed97Request,
    DemandReset97Request,
    Read97Request,
    Request97,
    Reread97Request,
    Slave97,
    Subsequent97Request,
    Write97Request,
    WriteAddress97Request,
    read_answer_97,
    request_of_97,
    reread_answer_97,
)
from protocols.dlt645.slave_2007 import (
    BroadcastTimeRequest,
    ChangePasswordRequest,
    ChangeSpeedRequest,
    ControlRequest,
    DemandResetRequest,
    EventClearRequest,
    FreezeRequest,
    MeterClearRequest,
    OutputRequest,
    ReadAddressRequest,
    ReadRequest,
    Request,
    SealedControlRequest,
    SecurityRequest,
    SubsequentRequest,
    UnknownRequest,
    WriteAddressRequest,
    WriteRequest,
    request_of,
)
from protocols.dlt645.slave_answers import (
    MAX_ANSWER,
    address_answer,
    control_answer,
    error_answer,
    password_data,
    plain_answer,
    read_answer,
    security_answer,
    write_answer,
)

__all__ = [
    "MAX_ANSWER", "Attention", "BroadcastTimeRequest", "ChangePassword97Request", "ChangePasswordRequest", "ChangeSpeed97Request",
    "ChangeSpeedRequest", "ControlRequest", "DemandReset97Request", "DemandResetRequest", "EventClearRequest", "FreezeRequest",
    "MeterClearRequest", "OutputRequest", "Read97Request", "ReadAddressRequest", "ReadRequest", "Request", "Request97",
    "Reread97Request", "SealedControlRequest", "SecurityRequest", "Slave", "Slave97", "Subsequent97Request", "SubsequentRequest",
    "UnknownRequest", "Write97Request", "WriteAddress97Request", "WriteAddressRequest", "WriteRequest", "address_answer",
    "attention", "control_answer", "error_answer", "matches", "password_data", "plain_answer", "read_answer", "read_answer_97",
    "request_of", "request_of_97", "reread_answer_97", "security_answer", "write_answer",
]  # fmt: skip

_ABBREVIATED = {
    Dialect.V2007: {codes.READ, codes.READ_NEXT},
    Dialect.V1997: {codes.READ_1997, codes.READ_NEXT_1997, codes.REREAD_1997},
}
"""Reading alone may be asked of an abbreviated address (dlt645.md 2)."""
_POINT_TO_POINT = {
    Dialect.V2007: {codes.READ_ADDRESS: ANY, codes.WRITE_ADDRESS: ANY},
    Dialect.V1997: {codes.WRITE_ADDRESS_1997: BROADCAST},
}
_BROADCAST = {Dialect.V2007: {codes.BROADCAST_TIME, codes.FREEZE, codes.OUTPUT}, Dialect.V1997: {codes.BROADCAST_TIME}}


class Attention(Enum):
    """What a meter does about a request by its address alone."""

    ANSWER = "answer"
    OBEY = "obey without an answer"
    IGNORE = "ignore"


class Slave:
    """The bytes of a line to requests; answers of other meters are passed over. No clock: call `silence` after the byte gap."""

    def __init__(self, deframer: Deframer | None = None) -> None:
        self.deframer = deframer or Deframer()

    def feed(self, data: bytes) -> list[Request]:
        """The requests that these bytes complete, to any address."""
        return _requests(self.deframer.feed(data))

    def silence(self) -> list[Request]:
        """The line has paused inside a frame: gives up false starts; the requests found behind them."""
        return _requests(self.deframer.flush())


def matches(pattern: str, own_address: str) -> bool:
    """Whether a request to `pattern` is for this meter: its own address, AA for any pair, 99 x 6 for everybody."""
    return pattern == BROADCAST or covers(pattern, own_address)


def attention(control: int, pattern: str, own_address: str, dialect: Dialect = Dialect.V2007) -> Attention:
    """Whether a meter with this address answers a request, obeys it silently, or leaves it to others (dlt645.md 2 and 3).

    To 99 x 6 nobody answers, but many 1997 meters do answer a read of it. AA stands for the leading pairs alone, and only in reads.
    """
    if pattern == own_address:
        return Attention.OBEY if control == codes.BROADCAST_TIME else Attention.ANSWER
    if pattern == _POINT_TO_POINT[dialect].get(control):
        return Attention.ANSWER
    if pattern == BROADCAST:
        if control in _BROADCAST[dialect]:
            return Attention.OBEY
        read_97 = dialect is Dialect.V1997 and control in _ABBREVIATED[dialect]
        return Attention.ANSWER if read_97 else Attention.IGNORE
    leading = "AA" not in pattern.lstrip("A") and covers(pattern, own_address)
    return Attention.ANSWER if leading and control in _ABBREVIATED[dialect] else Attention.IGNORE


def _requests(frames: list[Frame]) -> list[Request]:
    return [request_of(frame) for frame in frames if not frame.is_response]
