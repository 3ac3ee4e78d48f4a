"""Many messages of an output at once, in bounded batches; the first that the broker did not take fails all that follow."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.adapters.mqtt_session import MqttSession

BATCH = 200
"""Messages handed over before their answers are awaited: enough for the broker to be busy, and some 200 KB in memory."""


async def publish_in_batches(session: MqttSession, messages: Sequence[tuple[str, bytes]], *, retain: bool = False) -> None:
    """Ends when the broker has all of them. ConnectionError: not connected, or refused; TimeoutError: no answer."""
    for first in range(0, len(messages), BATCH):
        batch = messages[first : first + BATCH]
        for failed in await session.publish_all(batch, len(batch), retain=retain):
            if failed is not None:
                raise failed
