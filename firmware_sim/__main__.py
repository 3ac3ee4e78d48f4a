"""`python -m firmware_sim FILE [--control H:P]`: simulated meters without the rest of wattgate."""

from __future__ import annotations

import argparse
import sys

from firmware_sim.serve import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m firmware_sim", description="Simulated meters on pty, TCP and Modbus TCP.")
    parser.add_argument("file", help="the simulator's TOML file, such as config/examples/sim.toml")
    parser.add_argument("--control", metavar="H:P", help="where the handle listens, such as 127.0.0.1:7070 (port 0: a free one)")
    arguments = parser.parse_args()
    sys.exit(main(arguments.file, arguments.control))
