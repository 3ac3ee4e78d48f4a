"""Puts the house together: the one place that names concrete adapters.

process: the running gateway. examine: what `check` and `ledger verify` ask. broker: the bundled MQTT broker of the demo.
"""
