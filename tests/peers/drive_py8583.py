"""Runs in the venv of PyPI's py8583 and does what tests/peers/child.py is asked for, with the library's public classes."""

from __future__ import annotations

import json
import sys

from py8583.py8583 import LT, Iso8583
from py8583.py8583spec import IsoSpec1987ASCII

SPEC = IsoSpec1987ASCII()


def is_number(number: int) -> bool:
    """Whether the library takes an integer for it."""
    return SPEC.ContentType(number) == "n" and SPEC.LengthType(number) is LT.FIXED


def build(mti: str, fields: dict[str, str]) -> str:
    """A message, as hex."""
    message = Iso8583(IsoSpec=SPEC)
    message.MTI(mti)
    for number, text in fields.items():
        message.FieldData(int(number), int(text) if is_number(int(number)) else text)
        message.Field(int(number), 1)
    return message.BuildIso().hex()


def parse(data: str) -> list[object]:
    """MTI and fields of a message in hex."""
    message = Iso8583(bytes.fromhex(data), SPEC)
    numbers = [number for number, sent in message.Bitmap().items() if sent and number not in (1, 65)]
    found = {number: str(message.FieldData(number)) for number in numbers}
    widths = {number: SPEC.MaxLength(number) if is_number(number) else 0 for number in numbers}
    return [message.MTI(), {str(number): text.zfill(widths[number]) for number, text in found.items()}]


CALLS = {"build": build, "parse": parse}

for line in sys.stdin:
    name, *arguments = json.loads(line)
    try:
        answer: dict[str, object] = {"value": CALLS[name](*arguments)}
    except Exception as error:
        answer = {"error": repr(error)}
    print(json.dumps(answer), flush=True)
