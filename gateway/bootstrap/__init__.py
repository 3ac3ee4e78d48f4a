"""Puts the house together: the one place that names concrete adapters.

process: the running gateway, with crew (the loops of its lines), reload and difference, guests and vitals. by_hand: one act without
it. tools, meter_bench, reach: the tools for one line. examine: what `check` and `ledger verify` ask. archive, schemes, lines,
transports: the configuration in the words of the rooms below. broker: the bundled MQTT broker of the demo.
"""
