"""Which documents a meter follows: profiles over the base standard, each a table of differences (dlt645.md 1 and 12).

`identifiers.describe` knows all layers at once, which is right for reading what comes. A profile answers for one kind of meter:
what it has, which commands it obeys in what form, and where it departs from the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from protocols.dlt645 import codes
from protocols.dlt645.frames import Dialect
from protocols.dlt645.identifiers import describe
from protocols.dlt645.items import Basis, Field, Item, Layer, single
from protocols.dlt645.items_security import KEY_UPDATE_2013, KEY_UPDATES_2009, REFUND
from protocols.dlt645.master_control import Action
from protocols.dlt645.values import Code, Raw

BASE_2007 = frozenset({0x08, *range(0x11, 0x1C)})
BASE_1997 = frozenset({0x01, 0x02, 0x03, 0x04, 0x08, 0x0A, 0x0C, 0x0F, 0x10})
GRID = BASE_2007 | {codes.CONTROL, codes.OUTPUT, codes.SECURITY}
EVERY_ACTION = frozenset(Action)
_CLASS_1 = {
    "04000108", "04000109", "04000306", "04000307", "04000402", "0400040E", "04001001", "04001002", "040502FF",
}  # fmt: skip
_LADDER_2009 = frozenset(f"0406{di1:02X}FF" for di1 in range(4))
CLASS_1_2009 = frozenset(_CLASS_1) | _LADDER_2009
CLASS_1_2013 = frozenset(_CLASS_1 | {"040605FF"})
"""Parameters in the chip: written with PA 99 and a MAC, never with a password (dlt645.md 6)."""


class Purchases(Enum):
    """How money gets into the meter's wallet."""

    NONE = "no wallet"
    COUNTED = "purchase count, customer number, two MACs"
    ORDERED = "order number, no MACs"


@dataclass(frozen=True, slots=True)
class Profile:
    """One kind of meter.

    layers: whose items it has; lacks: beginnings of identifiers that it has not all the same; changes: items that are otherwise
    here. functions: control codes.
    plain_actions: what 1C may order with a password alone. zero_expiry: whether an expiry of zeros is obeyed.
    restore_minutes: what one unit of N2 is. serr_bytes: the length of a refusal of 03. class_1: see CLASS_1_2013.
    key_updates, refund: the identifiers of 03 for them; None where there is none.
    """

    name: str
    dialect: Dialect
    layers: frozenset[Layer]
    functions: frozenset[int]
    changes: Mapping[str, Item] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    plain_actions: frozenset[Action] = frozenset()
    zero_expiry: bool = False
    restore_minutes: int = 5
    serr_bytes: int = 2
    class_1: frozenset[str] = frozenset()
    purchases: Purchases = Purchases.NONE
    key_updates: tuple[str, ...] = ()
    refund: str | None = None

    def describe(self, di: str) -> Item | None:
        """The item as this kind of meter has it; None for what it does not have, or we do not know."""
        di = di.upper()
        if di in self.changes:
            return self.changes[di]
        item = None if di.startswith(self.lacks) else describe(di, self.dialect)
        return item if item and item.basis.layer in self.layers else None

    def has(self, function: int) -> bool:
        """Whether it obeys this control code."""
        return function in self.functions


_VENDOR = Basis(Layer.VENDOR, "dlt645.md 12", weak=True)
_VENDOR_97 = Basis(Layer.VENDOR, "dlt645.md 9, vendor", weak=True)
# Neutral current in 2 bytes and average power in 4: one firmware has the lengths, nobody says where the point stands.
_VENDOR_ITEMS: dict[str, Item] = {
    "02800001": single("02800001", ("current_n_raw", Raw(2), ""), _VENDOR),
    "02800003": single("02800003", ("power_average_raw", Raw(4), ""), _VENDOR),
    "04600101": single("04600101", ("vendor_04600101", Raw(2), ""), _VENDOR),
    "070104FF": Item("070104FF", (Field("parameter_block", Raw(143)),), basis=_VENDOR),
}
_VENDOR_ITEMS_97: dict[str, Item] = {
    "E310": single("E310", ("modem_text", Raw(30), ""), _VENDOR_97),
    "E311": single("E311", ("server_text_1", Raw(15), ""), _VENDOR_97),
    "E313": single("E313", ("server_text_3", Raw(15), ""), _VENDOR_97),
    "E317": single("E317", ("server_port_text", Raw(5), ""), _VENDOR_97),
    "E323": single("E323", ("relay_order", Code(3), ""), _VENDOR_97),
}

STANDARD_1997 = Profile("DL/T 645-1997", Dialect.V1997, frozenset({Layer.V1997}), BASE_1997)
STANDARD_2007 = Profile("DL/T 645-2007", Dialect.V2007, frozenset({Layer.V2007}), BASE_2007)
"""No trip and close, no prepayment, no authentication."""
STATE_GRID_2009 = Profile(
    "State Grid 2009",
    Dialect.V2007,
    frozenset({Layer.V2007, Layer.GRID_2009}),
    GRID,
    plain_actions=EVERY_ACTION,
    class_1=CLASS_1_2009,
    purchases=Purchases.COUNTED,
    key_updates=KEY_UPDATES_2009,
)
STATE_GRID_2013 = Profile(
    "State Grid 2013",
    Dialect.V2007,
    frozenset({Layer.V2007, Layer.GRID_2009, Layer.GRID_2013}),
    GRID,
    lacks=tuple(f"0406{di1:02X}" for di1 in range(4)),  # the block with dates has replaced them
    plain_actions=frozenset({Action.ALLOW_CLOSE, Action.CLOSE}),
    class_1=CLASS_1_2013,
    purchases=Purchases.COUNTED,
    key_updates=(KEY_UPDATE_2013,),
)
PRIVATE = Profile(
    "private network",
    Dialect.V2007,
    frozenset({Layer.V2007, Layer.GRID_2009, Layer.GRID_2013, Layer.VENDOR}),
    GRID,
    changes=_VENDOR_ITEMS,
    plain_actions=EVERY_ACTION,
    zero_expiry=True,
    serr_bytes=1,
    purchases=Purchases.ORDERED,
    refund=REFUND,
)
PRIVATE_1997 = Profile(
    "private network 1997", Dialect.V1997, frozenset({Layer.V1997, Layer.VENDOR}), BASE_1997, changes=_VENDOR_ITEMS_97
)
PROFILES: Mapping[str, Profile] = {
    p.name: p for p in (STANDARD_1997, STANDARD_2007, STATE_GRID_2009, STATE_GRID_2013, PRIVATE, PRIVATE_1997)
}
