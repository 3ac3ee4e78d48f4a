"""The asking side of DL/T 645: every exchange (protocols.exchange), by what it is for.

Reads change nothing and may be repeated. Everything else is sent once: after a lost answer the meter is read, not asked again.
"""

from __future__ import annotations

from protocols.dlt645.master_1997 import ChangePassword97, ChangeSpeed97, DemandReset97, Read97, Write97, WriteAddress97
from protocols.dlt645.master_control import Action, Control, ControlAnswer, SealedControl, order_bytes
from protocols.dlt645.master_line import BroadcastTime, ChangeSpeed, Freeze, Output, OutputSignal
from protocols.dlt645.master_read import MAX_FOLLOW_UPS, Read, ReadAddress, ReadAnswer, Reread97
from protocols.dlt645.master_security import (
    Authenticate,
    Challenge,
    ChipData,
    ChipPlace,
    InitialiseWallet,
    Invalidate,
    OpenAccount,
    OrderedMoney,
    OrderedTopUp,
    Purchase,
    QueryWallet,
    ReadBack,
    Refund,
    Security,
    SetValidity,
    TopUp,
    Wallet,
)
from protocols.dlt645.master_write import (
    MAX_WRITE,
    ChangePassword,
    DemandReset,
    EventClear,
    MeterClear,
    SecuredWrite,
    Write,
    WriteAddress,
)
from protocols.dlt645.status import RelayState, relay_state

__all__ = [
    "MAX_FOLLOW_UPS", "MAX_WRITE", "Action", "Authenticate", "BroadcastTime", "Challenge", "ChangePassword", "ChangePassword97",
    "ChangeSpeed", "ChangeSpeed97", "ChipData", "ChipPlace", "Control", "ControlAnswer", "DemandReset", "DemandReset97",
    "EventClear", "Freeze", "InitialiseWallet", "Invalidate", "MeterClear", "OpenAccount", "OrderedMoney", "OrderedTopUp",
    "Output", "OutputSignal", "Purchase", "QueryWallet", "Read", "Read97", "ReadAddress", "ReadAnswer", "ReadBack", "Refund",
    "RelayState", "Reread97", "SealedControl", "SecuredWrite", "Security", "SetValidity", "TopUp", "Wallet", "Write", "Write97",
    "WriteAddress", "WriteAddress97", "order_bytes", "relay_state",
]  # fmt: skip
