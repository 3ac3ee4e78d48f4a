"""The tables of what the uplink remembers: keys and signed orders (contract.md 5)."""
