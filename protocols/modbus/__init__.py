"""Modbus RTU and TCP: framing ours, PDUs by pymodbus's classes (never its client). Modbus Application Protocol V1.1b3."""
