"""Money in meters, in the settings (docs/wallets.md)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gateway.settings.words import Table


class Wallets(Table):
    """delivery_deadline_h: credit that is not in its meter by then comes back. read_min: how often wallets are read."""

    delivery_deadline_h: Annotated[int, Field(ge=1, le=720)] = 24
    read_min: Annotated[int, Field(ge=1, le=1440)] = 15
