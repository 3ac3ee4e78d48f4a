"""Bytes <-> meaning. Pure: no I/O, no clock, no randomness; nothing of the gateway."""
