"""The tables of what banks bring: nonces, reversals, day files, differences, settlements, mandates (contract.md 3)."""
