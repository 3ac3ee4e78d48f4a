"""`python -m firmware_sim FILE [--control H:P]`: simulated meters without the rest of wattgate."""

from __future__ import annotations

import argparse
import sys

from firmware_sim.serve import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m firmware_sim", description="Simulated meters on pty, serial, TCP, dial-in and Modbus TCP endpoints."
    )
    parser.add_argument("file", help="the simulator's TOML file, such as config/examples/sim.toml")
    parser.add_argument("--control", metavar="H:P", help="where the handle listens, such as 127.0.0.1:7070 (port 0: a free one)")
    parser.add_argument("--scenario", metavar="FILE", help="steps to run, as [[step]] rows; without it those of FILE itself")
    parser.add_argument("--report", metavar="DIR", help="write junit.xml and report.json there at the end")
    parser.add_argument("--virtual", action="store_true", help="virtual time: the scenario alone, without endpoints")
    arguments = parser.parse_args()
    sys.exit(main(arguments.file, arguments.control, arguments.scenario, arguments.report, arguments.virtual))
