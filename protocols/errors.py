"""Who is at fault when an exchange does not end well: us, the wire, or the meter."""

from __future__ import annotations


class ProtocolError(Exception):
    """Root of everything that an exchange may raise; the text is one clear sentence."""


class RequestError(ProtocolError):
    """Our fault: the request cannot be expressed in this protocol (bad address, value out of range)."""


class Malformed(ProtocolError):
    """The wire's fault: a frame that answers us, with right checksum, whose content cannot be what it claims."""


class Refused(ProtocolError):
    """The meter answered no.

    code: the whole error word in wire order (DL/T 645: 1 or 2 bytes; Modbus: the exception code, 1 byte).
    flags: its meaning in words, in bit order; empty where the standard gives none.
    """

    def __init__(self, code: bytes, flags: tuple[str, ...] = ()) -> None:
        self.code = code
        self.flags = flags
        super().__init__(f"refused with error {code.hex().upper()}" + (f" ({', '.join(flags)})" if flags else ""))
