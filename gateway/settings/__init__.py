"""The configuration: one TOML file (contract.md 7). Its tables stand in `document`, accounts in `accounts`, lines in `lines`,
tariffs in `tariffs`, single values in `words`."""

from gateway.settings.accounts import Account
from gateway.settings.document import Meter, Scheme, Settings, SettingsError, load, secret_file
from gateway.settings.lines import Line, Rs485
from gateway.settings.words import service_url

__all__ = ["Account", "Line", "Meter", "Rs485", "Scheme", "Settings", "SettingsError", "load", "secret_file", "service_url"]
