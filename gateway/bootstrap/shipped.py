"""What is shipped with the program beside its code."""

from __future__ import annotations

from gateway.adapters.profiles import config_folder


def example(name: str) -> str:
    """The text of an example configuration. FileNotFoundError where the installation is incomplete."""
    return (config_folder() / "examples" / name).read_text("utf-8")
