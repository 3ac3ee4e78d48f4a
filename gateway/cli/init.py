"""`wattgate init`: a folder with configurations that work together, commented, and the keys that they need."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure
from gateway.cli.centre_keys import CENTRE, COMMANDS, centre_keys

GATEWAY, SIM, CENTRAL, PASSWORDS = "gateway.toml", "sim.toml", "central.toml", "passwords.toml"

PASSWORDS_TOML = """# Passwords of meters by class: what this folder's simulated meters have. Real ones are not these.
[control]
level = 2
password = "000000"

[north-1]
level = 2
password = "123456"
"""

PTY = "/tmp/wattgate-north"
"""Where the examples have their pseudo-terminal; two folders must not share one."""

MQTT = """
# The way to the centre (written by wattgate init).

[mqtt]
host = "127.0.0.1"
port = 1883
commands = true              # signed ones

# Whose acknowledgements and orders count: public keys; the private ones are in {centre} and {commands}.
"""

NEXT = """{folder} holds {files} and the keys of the centre.
1. a broker:          mosquitto -p 1883
2. simulated meters:  wattgate sim {folder}/sim.toml
3. the centre:        wattgate central -c {folder}/central.toml
4. the gateway:       wattgate run -c {folder}/gateway.toml
"""


def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or an empty folder.")]) -> None:
    """Write commented configurations of gateway, simulated meters and centre that work together, with keys.

    Example: wattgate init street-7
    """
    from gateway.bootstrap.shipped import example

    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = [name for name in (GATEWAY, SIM, CENTRAL, PASSWORDS, CENTRE, COMMANDS) if (folder / name).exists()]
        if there:
            raise Failure(f"{folder / there[0]} is there already, and nothing is overwritten: name another folder")
        pty = str(folder.resolve() / "rs485-north")
        tables = MQTT.format(centre=CENTRE, commands=COMMANDS) + "\n" + centre_keys(folder)
        _write(folder / GATEWAY, example(GATEWAY).replace(PTY, pty) + tables)
        _write(folder / SIM, example(SIM).replace(PTY, pty))
        _write(folder / CENTRAL, example(CENTRAL))
        _write(folder / PASSWORDS, PASSWORDS_TOML)
    except OSError as problem:
        raise Failure(f"{folder}: cannot be written: {problem.strerror}") from None
    print(NEXT.format(folder=folder, files=", ".join((GATEWAY, SIM, CENTRAL, PASSWORDS))), end="", file=sys.stderr)


def _write(path: Path, text: str) -> None:
    """A new file; passwords are the owner's alone."""
    mode = 0o600 if path.name == PASSWORDS else 0o644
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(init)
