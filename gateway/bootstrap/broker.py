"""The bundled broker for programs that bring their own, like the demo."""

from __future__ import annotations

from gateway.adapters.broker import BrokerFailed, BundledBroker

__all__ = ["BrokerFailed", "BundledBroker"]
