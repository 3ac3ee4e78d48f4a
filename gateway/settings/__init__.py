"""The configuration: one TOML file (contract.md 7). Its tables stand in `document`, lines in `lines`, single values in `words`."""

from gateway.settings.document import Account, Meter, Scheme, Settings, SettingsError, load, secret_file
from gateway.settings.lines import Line, Rs485
from gateway.settings.words import service_url

__all__ = ["Account", "Line", "Meter", "Rs485", "Scheme", "Settings", "SettingsError", "load", "secret_file", "service_url"]
