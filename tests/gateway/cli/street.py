"""`python -m firmware_sim` as a child, and `wattgate` as a child, for the tests of the verbs."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests import programs

ROOT = Path(__file__).resolve().parents[3]
ENDS_S = 240.0  # some verbs wait for several silent addresses
SIM = """
[sim]
seed = 5
[[line]]
id = "tcp"
kind = "tcp"
baud = 9600
delay_ms = [20, 60]
tail_ms = 0
[[line]]
id = "pty"
kind = "pty"
path = "bus"
baud = 19200
delay_ms = [20, 60]
tail_ms = 0
[[line]]
id = "rtu"
kind = "tcp"
baud = 9600
[[line]]
id = "net"
kind = "modbus-tcp"
[[meter]]
id = "one"
line = "tcp"
address = "202611210001"
model = "dlt645-single"
password = "123456"
initial_kwh = 42
status_delay_ms = 200
load = { kind = "constant", power_w = 1500 }
[[meter]]
id = "p1"
line = "pty"
address = "202611210001"
model = "dlt645-single"
[[meter]]
id = "p2"
line = "pty"
address = "202611210002"
model = "dlt645-three"
wallet = { prices = ["0.5"], balance = 100, customer = "000000000007" }
[[meter]]
id = "u3"
line = "rtu"
unit = 3
model = "dds238"
[[meter]]
id = "n1"
line = "net"
unit = 1
model = "sdm630"
"""


@dataclass(frozen=True)
class Ran:
    """A verb that has ended."""

    code: int
    out: str
    err: str

    def refused(self, *words: str, code: int = 1) -> None:
        """It ended so, without a traceback, and its last line on stderr says these words."""
        assert "Traceback" not in self.err + self.out, self.err
        assert self.code == code, (self.code, self.out, self.err)
        last = self.err.splitlines()[-1]
        assert all(word in last for word in words), last


@dataclass(frozen=True)
class SimulatedLines:
    """Where the lines of the running simulator are, as LINE on a command line."""

    folder: Path
    tcp: str
    pty: str
    rtu: str
    net: str

    def wattgate(self, *words: object, environment: Mapping[str, str] | None = None) -> Ran:
        """Run a verb to its end."""
        return wattgate(self.folder, *words, environment=environment)


def wattgate(folder: Path, *words: object, environment: Mapping[str, str] | None = None) -> Ran:
    """Run a verb to its end."""
    with_state = {"PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state"), **(environment or {})}
    code, out, err = programs.run(["gateway", *words], folder=folder, environment=with_state, within_s=ENDS_S)
    assert code is not None, f"wattgate {words[0]} did not end within {ENDS_S} s: {err}"
    return Ran(code, out, err)


@contextlib.contextmanager
def simulated(folder: Path) -> Iterator[SimulatedLines]:
    """The street, as long as it is wanted."""
    file = folder / "sim.toml"
    file.write_text(SIM)
    process = subprocess.Popen(
        [sys.executable, "-m", "firmware_sim", str(file)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said, process.stderr and process.stderr.read()
        lines = {line["id"]: line for line in json.loads(said)["lines"]}
        where = {name: f"{line['host']}:{line['port']}" for name, line in lines.items() if "port" in line}
        yield SimulatedLines(
            folder, f"tcp:{where['tcp']}", lines["pty"]["path"], f"tcp:{where['rtu']}", f"modbus-tcp:{where['net']}"
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(100)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
