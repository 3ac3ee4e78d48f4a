"""The rules: pure values and functions. No I/O, no clock, no floats; nothing of the rest of the house."""
