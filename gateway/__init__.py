"""wattgate: the open gateway for remote prepayment and data acquisition of electricity meters."""

__version__ = "0.1.0"
