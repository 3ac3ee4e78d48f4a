"""Takes the heartbeats of a converter out of what its connection brings, and never a byte that could be an answer's."""

from __future__ import annotations

from protocols.bcd import encode_digits
from protocols.dlt645.frames import START, WAKE_UP
from protocols.modbus.frames import FUNCTIONS


class Heartbeats:
    """A filter over one connection.

    A heartbeat is recognised before the first byte of an answer, alone or stuck to its front, whole or in pieces. From then
    on, until the next question or a pause of `pause_s`, every byte passes, because a frame may hold the same bytes and a
    converter may split it anywhere: a heartbeat behind a frame is passed over by the exchange, one inside costs a new try.
    """

    def __init__(self, heartbeat: bytes, pause_s: float) -> None:
        self._heartbeat, self._pause_s = heartbeat, pause_s
        self._held = b""
        self._heard_at: float | None = None

    def asked(self) -> None:
        """A question goes out: what comes next is no rest of an answer."""
        self._heard_at = None

    def hear(self, data: bytes, now_s: float) -> tuple[bytes, int]:
        """What is no heartbeat, and how many heartbeats there were. now_s: of any clock that runs evenly."""
        if not self._heartbeat or (self._heard_at is not None and now_s - self._heard_at < self._pause_s):
            self._heard_at = now_s
            return data, 0
        data, count = self._held + data, 0
        while data.startswith(self._heartbeat, count * len(self._heartbeat)):
            count += 1
        data = data[count * len(self._heartbeat) :]
        if self._heartbeat.startswith(data):
            self._held, self._heard_at = data, None
            return b"", count
        self._held, self._heard_at = b"", now_s
        woken = not self._heartbeat.strip(bytes([WAKE_UP]))  # a meter says the same before its frame
        return data, 0 if woken else count


def begins_like_an_answer(beat: bytes, protocol: str, address: str) -> bool:
    """Whether an answer of the meter with this address could begin with the heartbeat, or the heartbeat with its beginning."""
    if protocol == "modbus":
        beginnings = [bytes([int(address) & 0xFF, function | error]) for function in FUNCTIONS for error in (0, 0x80)]
    else:
        beginnings = [bytes([START, *encode_digits(address.zfill(12)), START])]
    return any(beat.startswith(one) or one.startswith(beat) for one in beginnings)
