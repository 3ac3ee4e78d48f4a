"""The uplink's own words over MQTT: topics and messages (contract.md 5)."""
