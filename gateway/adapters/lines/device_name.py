"""Finds a serial adapter again after it was unplugged, whatever the kernel calls it then."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

FOLDERS = (Path("/dev/serial/by-id"), Path("/dev/serial/by-path"))
"""Where udev links to adapters: by what is written in them, and by the socket they are in. The first is preferred."""


class DeviceName:
    """A configured device path, and the stable links that led to the same device when it was last opened.

    A path inside `folders` is stable by itself and taken as it is.
    """

    def __init__(self, path: str, folders: Sequence[Path] = FOLDERS) -> None:
        self.path = path
        self._folders = folders
        self._stable = Path(path).parent in folders
        self._links: list[str] = []

    def places(self) -> list[str]:
        """Paths to try, the best first; none when only another adapter has the configured name now."""
        if not self._links:
            return [self.path]
        devices: dict[str, str] = {}
        for link in self._links:
            if os.path.exists(link):
                devices.setdefault(os.path.realpath(link), link)
        return list(devices.values())

    def remember(self, place: str) -> None:
        """It was opened there; what links to it leads to it the next time too."""
        if self._stable:
            return
        device = os.path.realpath(place)
        links = [link for folder in self._folders for link in _links(folder) if os.path.realpath(link) == device]
        self._links = links or self._links


def _links(folder: Path) -> list[str]:
    try:
        return sorted(str(folder / name) for name in os.listdir(folder))
    except OSError:  # without udev, or without any adapter
        return []
