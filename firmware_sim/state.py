"""The state file: one fixed slot per meter, overwritten in place, so that a killed simulator starts again where its answers ended.

A slot is written in one call before the answer that it speaks of leaves; that survives the death of the process. Nothing is
forced to disk: losing the machine is not what this file is for.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import zlib

SLOT = 4096  # bytes: one page, so that a kill cannot split a write
PACKED = b"z"  # begins a state that fits its slot only when it is compressed: 14 rates, all of them counting both ways
MAGIC = "wattgate-sim-2"


class StateError(Exception):
    """The file cannot be used; the text is one sentence."""


class StateFile:
    """State by name. Raises StateError when the file cannot be opened or is something else."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        except BlockingIOError as error:
            raise StateError(f"The state file {path} is used by another simulator.") from error
        except OSError as error:
            raise StateError(f"The state file {path} cannot be opened: {error.strerror}.") from error
        self._slots: dict[str, int] = {}
        self._last: dict[str, bytes] = {}
        self._end = -(-len(content) // SLOT)
        self.saved: dict[str, dict[str, object]] = {}
        for slot in range(self._end):
            self._read(slot, content[slot * SLOT : (slot + 1) * SLOT])

    def write(self, name: str, state: object) -> None:
        """Keep this state; nothing is written when it has not changed. Raises OSError when the disk refuses."""
        body = json.dumps([MAGIC, name, state], separators=(",", ":"), sort_keys=True).encode()
        if self._last.get(name) == body:
            return
        line = _line(body)
        if len(line) >= SLOT:
            line = _line(PACKED + base64.b85encode(zlib.compress(body)))
        if len(line) >= SLOT:
            raise StateError(f"The state of {name} does not fit its slot of {SLOT} bytes.")
        if name not in self._slots:
            self._slots[name], self._end = self._end, self._end + 1
        os.pwrite(self._file, line.ljust(SLOT - 1) + b"\n", self._slots[name] * SLOT)
        self._last[name] = body

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _read(self, slot: int, data: bytes) -> None:
        """A slot that is cut short or fails its checksum is an error: guessing would let registers go back."""
        crc, _, body = data.rstrip().partition(b" ")
        try:
            if len(data) != SLOT or int(crc, 16) != zlib.crc32(body):
                raise ValueError("checksum")
            if body.startswith(PACKED):
                body = zlib.decompress(base64.b85decode(body[1:]))
            magic, name, state = json.loads(body)
            if magic != MAGIC:
                raise ValueError("magic")
        except (ValueError, zlib.error) as error:
            raise StateError(
                f"Slot {slot} of the state file {self.path} is damaged or of another version; remove the file to start afresh."
            ) from error
        self._slots[name] = slot
        self._last[name] = body
        self.saved[name] = state


def _line(body: bytes) -> bytes:
    return b"%08x %s" % (zlib.crc32(body), body)
