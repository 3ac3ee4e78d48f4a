"""Every exchange of the asking side, by name, each made anew."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from protocols.dlt645 import master
from protocols.dlt645.frames import BROADCAST
from protocols.dlt645.freeze_time import FreezeTime
from protocols.exchange import Exchange
from protocols.modbus import master as modbus

METER, NEW = "201906040102", "201906040199"
WHEN = datetime(2026, 11, 21, 10, 15)
_MAC = b"mac!"
_BOUGHT = master.Purchase(5000, 8, "112233445566", (_MAC, _MAC))
_ORDERED = master.OrderedMoney(5000, "1234567890123456", METER)
Make = Callable[[], Exchange[object]]

DLT645: Mapping[str, Make] = {
    "read": lambda: master.Read(METER, "00010000"),
    "read a block": lambda: master.Read(METER, "0001FF00"),
    "read demand": lambda: master.Read(METER, "01010000"),
    "read a status word": lambda: master.Read(METER, "04000503"),
    "read text": lambda: master.Read(METER, "04000404"),
    "read abbreviated": lambda: master.Read("AAAAAAAA0102", "02010100"),
    "read in parts": lambda: master.Read(METER, "03300201"),
    "read records": lambda: master.Read(METER, "06010001", count=20, when=WHEN),
    "read a curve": lambda: master.Read(METER, "061001FF"),
    "read what nobody knows": lambda: master.Read(METER, "F1F2F3F4"),
    "read address": master.ReadAddress,
    "write": lambda: master.Write(METER, "04001003", bytes(4)),
    "write sealed": lambda: master.SecuredWrite(METER, "04001003", bytes(16), _MAC, sealed=True),
    "write address": lambda: master.WriteAddress(NEW),
    "freeze": lambda: master.Freeze(FreezeTime(), METER),
    "broadcast time": lambda: master.BroadcastTime(WHEN),
    "change speed": lambda: master.ChangeSpeed(METER, 9600),
    "change password": lambda: master.ChangePassword(METER, 2, "222222", "111111", 1),
    "demand reset": lambda: master.DemandReset(METER, 4),
    "meter clear": lambda: master.MeterClear(METER, 2),
    "event clear": lambda: master.EventClear(METER, 2),
    "control": lambda: master.Control(METER, master.Action.CUT, WHEN),
    "control, sealed": lambda: master.SealedControl(METER, bytes(20), extended=True),
    "output": lambda: master.Output(master.OutputSignal.RATE_SWITCH, METER),
    "authenticate": lambda: master.Authenticate(METER, bytes(8), bytes(8), bytes(8)),
    "set validity": lambda: master.SetValidity(METER, 30, _MAC),
    "invalidate": lambda: master.Invalidate(METER),
    "open account": lambda: master.OpenAccount(METER, _BOUGHT),
    "top up": lambda: master.TopUp(METER, _BOUGHT),
    "initialise wallet": lambda: master.InitialiseWallet(METER, 100, (_MAC, _MAC)),
    "top up by order": lambda: master.OrderedTopUp(METER, _ORDERED),
    "refund": lambda: master.Refund(METER, _ORDERED),
    "query wallet": lambda: master.QueryWallet(METER),
    "read back": lambda: master.ReadBack(METER, master.ChipPlace(0x3F01, 2, 0, 8)),
    "any security function": lambda: master.Security(METER, "070301FF", b"key"),
    "1997 read": lambda: master.Read97(METER, "9010"),
    "1997 read a block": lambda: master.Read97(METER, "901F"),
    "1997 read by 99": lambda: master.Read97(BROADCAST, "B611"),
    "1997 read in parts": lambda: master.Read97(METER, "D110", extra=b"\x01"),
    "1997 reread": lambda: master.Reread97(METER, "9010"),
    "1997 write": lambda: master.Write97(METER, "C034", b"123456"),
    "1997 write address": lambda: master.WriteAddress97(NEW),
    "1997 change speed": lambda: master.ChangeSpeed97(METER, 0x40),
    "1997 change password": lambda: master.ChangePassword97(METER, "111111", "222222", 1, 2),
    "1997 demand reset": lambda: master.DemandReset97(METER, 2),
}

MODBUS: Mapping[str, Make] = {
    "registers": lambda: modbus.ReadRegisters(1, 3, 0, 2),
    "input registers, many": lambda: modbus.ReadRegisters(1, 4, 0x34, 125),
    "bits": lambda: modbus.ReadBits(1, 2, 0, 9),
    "write a register": lambda: modbus.WriteRegister(1, 7, 0x1234),
    "write registers": lambda: modbus.WriteRegisters(1, 7, [1, 2, 3]),
    "write a coil": lambda: modbus.WriteCoil(1, 0, True),
    "registers over TCP": lambda: modbus.ReadRegisters(1, 3, 0, 2, "tcp", 7),
    "bits over TCP": lambda: modbus.ReadBits(1, 1, 0, 9, "tcp", 7),
    "write registers over TCP": lambda: modbus.WriteRegisters(1, 7, [1, 2, 3], "tcp", 7),
}
