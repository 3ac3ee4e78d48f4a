"""The command line: one verb group a file (contract.md 2)."""
