"""Where the two libraries leave the standard: what they do, what is right, and the clause. The right side comes from documents.

Clauses are sections of dlt645.md, with the control code or table of the standard where there is one; 11.n is its list of mistakes.
"""

from __future__ import annotations

from dataclasses import dataclass

ADDRESS, WIRE = "201906040102", "020104061920"


def wire(address: str, control: str, data: str = "") -> str:
    """A frame without preamble, from its parts in clear, in wire order."""
    clear = bytes.fromhex(data)
    body = bytes.fromhex(f"68{address}68{control}{len(clear):02X}") + bytes((b + 0x33) % 256 for b in clear)
    return (body + bytes([sum(body) % 256, 0x16])).hex().upper()


@dataclass(frozen=True, slots=True)
class Sent:
    """What dlt645's client sends. call: its method and arguments; theirs, right: the frames without preamble."""

    name: str
    clause: str
    call: tuple[object, ...]
    theirs: str
    right: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What dlt645's client makes of an answer to a read of `di`. right: the value, None for none."""

    name: str
    clause: str
    di: str
    answer: str
    theirs: object
    right: object


@dataclass(frozen=True, slots=True)
class Served:
    """What dlt645's server answers (empty: nothing). The server's address is right on the wire."""

    name: str
    clause: str
    request: str
    theirs: str
    right: str


SENT = (
    Sent("address high pair first", "2, address; 11.5", ("read", "00010000"),
         wire("201906040102", "11", "00000100"), wire(WIRE, "11", "00000100")),
    Sent("time year first", "3, 08; 11.4", ("broadcast_time", "2026-11-21T10:15:30"),
         wire("99" * 6, "08", "261121101530"), wire("99" * 6, "08", "301510211126")),
    Sent("freeze month first", "3, 16; 11.4", ("client_do", "freeze", 99, 99, 99, 30),
         wire("201906040102", "16", "99999930"), wire(WIRE, "16", "30999999")),
    Sent("speed 9600 as hex 32", "2, App. C: bit 5, 20", ("client_do", "change_baud_rate", 9600),
         wire("201906040102", "17", "32"), wire(WIRE, "17", "20")),
    Sent("password high pair first", "3, P0 is the low pair", ("client_do", "write_04", 0x04000103, "30", "04123456"),
         wire("201906040102", "14", "03010004" "04123456" "00000000" "30"),
         wire(WIRE, "14", "03010004" "04563412" "00000000" "30")),
    Sent("demand reset with an identifier", "3, 19",
         ("client_do", "clear_demand", 0x01010000, "04000000"),
         wire("201906040102", "19", "00000101" "04000000"), wire(WIRE, "19", "04000000" "00000000")),
    Sent("meter clear with an identifier", "3, 1A", ("client_do", "clear_meter", "02000000"),
         wire("201906040102", "1A", "00000000" "02000000"), wire(WIRE, "1A", "02000000" "00000000")),
    Sent("new password under a foreign identifier", "3, 18: 04000C0n, n = level + 1; the new password turned round too",
         ("client_do", "change_password", "02000000", "02123456"),
         wire("201906040102", "18", "020C0040" "02000000" "02123456"), wire(WIRE, "18", "030C0004" "02000000" "02563412")),
    Sent("new address to the old one", "3, 15: to AA x 6; 11.5", ("client_do", "write_address", "201906040199"),
         wire("201906040102", "15", "201906040199"), wire("AA" * 6, "15", "990104061920")),
)  # fmt: skip

TAKEN = (
    Taken("a filler is a number", "10.5, 11.9", "00010000", wire(WIRE, "91", "00000100" "FFFFFFFF"),
          -7151515151515.15, None),
    Taken("digits that are not decimal are a number", "10.5", "00010000", wire(WIRE, "91", "00000100" "000E0000"), 14.0, None),
    Taken("the time of a demand from its other end", "8.2, A.2: mm hh DD MM YY", "01010000",
          wire(WIRE, "91", "00000101" "563412" "1510211126"), [12.3456, "2015-10-21T11:26:00"], "12.3456 at 2026-11-21T10:15"),
    Taken("another identifier is taken", "10.3, 11.13", "00010000", wire(WIRE, "91", "00010102" "0122"), 220.1, None),
    Taken("what does not end is no answer", "3, B1 and 12; 11.22", "00010000",
          wire(WIRE, "B1", "00000100" "78563412"), None, "asks for the next frame"),
)  # fmt: skip

_STRANGER = "887766554433"
SERVED = (
    Served("a foreign address is answered", "2, address; 11.6", wire(_STRANGER, "11", "00000100"), wire(_STRANGER, "D1", "01"), ""),
    Served("the broadcast address is answered", "2, address; 11.6", wire("99" * 6, "11", "00000100"),
           wire("99" * 6, "91", "00000100" "00000000"), ""),
    Served("AA x 6 is answered from AA x 6", "2, the real address; 11.7", wire("AA" * 6, "11", "00000100"),
           wire("AA" * 6, "91", "00000100" "00000000"), wire(WIRE, "91", "00000100" "00000000")),
    Served("an abbreviated address is not known, but refused", "2, abbreviated addressing", wire("0201AAAAAAAA", "11", "00000100"),
           wire("0201AAAAAAAA", "D1", "01"), wire(WIRE, "91", "00000100" "00000000")),
    Served("speed bit 5 is refused", "2, App. C", wire(WIRE, "17", "20"), wire(WIRE, "D7", "08"), wire(WIRE, "97", "20")),
    Served("a right demand reset is refused", "3, 19", wire(WIRE, "19", "04000000" "00000000"), wire(WIRE, "D9", "01"),
           wire(WIRE, "99")),
    Served("a block is not known", "8, A.1: DI1 = FF", wire(WIRE, "11", "00FF0100"), wire(WIRE, "D1", "02"),
           "four values or more behind the identifier"),
    Served("no trip or close", "5, 1C (supplement)", wire(WIRE, "1C", "02000000" "00000000" "1A00" "000000010199"),
           wire(WIRE, "DC", "01"), wire(WIRE, "9C")),
)  # fmt: skip

LENGTHS = {
    "03010101": (166, 131), "03050001": (16, 15), "03070001": (92, 76), "03090001": (95, 78), "030B0101": (146, 115),
    "03100000": (31, 27), "03120101": (21, 20), "03300101": (130, 106), "03300201": (226, 202), "03300501": (94, 682),
    "03300D01": (72, 60), "04000D01": (3, 2), "04000E01": (4, 3),
}  # fmt: skip
"""Identifier -> bytes that dlt645's server answers with, and that tables A.4 and A.5 give: it counts the point as a digit."""
UNSERVED = [f"033008{n:02X}" for n in range(1, 11)]
"""What it has registered and cannot answer: the holiday-table records; read with a plain frame they give D1 01."""

MANGLED = (
    ("33 is not subtracted modulo 256", "2, DATA; 11.3", wire(WIRE, "91", "00000100" "FF000000"), "ValueError"),
    ("a frame ends at the first 16", "2, only the length ends a frame; 11.1",
     wire("160104061920", "91", "00000100" "78563412"), "IndexError"),
    ("FE is taken out of the frame", "2, preamble; 11.2", wire(WIRE, "91", "00000100" "CB000000"), "FrameChecksumError"),
)  # fmt: skip
"""What python-dlt645 makes of a right frame: name, clause, frame, its exception."""
