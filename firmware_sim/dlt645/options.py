"""How a DL/T 645 meter is made: which documents it follows, who may change it, whether it holds money."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from firmware_sim.wallet import NO_STEPS, Limits, Steps
from protocols.dlt645.items import Item, Layer
from protocols.dlt645.layers import (
    EVERY_ACTION,
    PRIVATE,
    PRIVATE_1997,
    STANDARD_1997,
    STANDARD_2007,
    STATE_GRID_2009,
    STATE_GRID_2013,
    Profile,
)

BENCH = replace(STATE_GRID_2009, name="bench", layers=STATE_GRID_2009.layers | {Layer.GRID_2013})
"""All that the grid's documents have, both kinds of steps, and every order in plain text: for trying things out."""
BENCH_1997 = replace(PRIVATE_1997, name="bench 1997")
PROFILES = {
    "bench": BENCH,
    "standard": STANDARD_2007,
    "grid-2009": replace(STATE_GRID_2009, plain_actions=EVERY_ACTION),
    "grid-2013": STATE_GRID_2013,
    "private": PRIVATE,
}
PROFILES_1997 = {"bench": BENCH_1997, "standard": STANDARD_1997, "private": PRIVATE_1997}


@dataclass(frozen=True, slots=True)
class WalletOptions:
    """Money in the meter, or energy. prices: 0.0001 yuan per kWh by rate. at_least: see Wallet. trip_once: warning 2 cuts once.

    in_kwh: the wallet holds 0.01 kWh where others hold fen, and has no prices.
    """

    prices: tuple[int, ...]
    steps: Steps = NO_STEPS
    limits: Limits = field(default_factory=Limits)
    balance_fen: int = 0
    customer: str = "000000000000"
    count: int = 0
    at_least: bool = False
    trip_once: bool = False
    in_kwh: bool = False


@dataclass(frozen=True, slots=True)
class Options:
    """passwords: 6 digits by level. control_level: the least authority for 1C. key_needed: programming takes a key press.

    protect: what 3A does to an open switch, "allow", "close" or "none". baud: of the meter's port. preamble: FE before answers.
    wake_up: FE that must stand before a request, or the meter sleeps on. set: parameters other than the factory's, wire order.
    """

    address: str
    passwords: dict[int, str]
    control_level: int = 2
    profile: Profile = BENCH
    key_needed: bool = False
    protect: str = "allow"
    wallet: WalletOptions | None = None
    baud: int = 2400
    preamble: int = 4
    wake_up: int = 0
    set: dict[str, bytes] = field(default_factory=dict)

    def describe_2007(self, di: str) -> Item | None:
        """The item under which a value is kept, whatever dialect the meter speaks."""
        return BENCH.describe(di) if len(di) == 8 else None


def as_new(options: Options, address: str) -> Options:
    """Those of another meter of the same kind, whose wallet is empty and without an account."""
    wallet = replace(options.wallet, balance_fen=0, count=0, customer="000000000000") if options.wallet else None
    return replace(options, address=address, wallet=wallet)
