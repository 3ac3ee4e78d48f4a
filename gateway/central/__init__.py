"""The reference central system: receives, stores, acknowledges, asks for what is missing, sends commands."""
