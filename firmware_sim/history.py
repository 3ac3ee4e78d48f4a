"""What meters remember for long (events, freezes, load records), one JSON file each, replaced as a whole when it has changed."""

from __future__ import annotations

import json
import os
from pathlib import Path

from firmware_sim.fields import Table


class HistoryFolder:
    """Files by meter in a folder that is made when the first of them is written."""

    def __init__(self, path: str) -> None:
        self._folder = Path(path)
        self._versions: dict[str, int] = {}

    def begin(self, name: str, version: int) -> None:
        """A meter starts with this version, which stands in its file or is what it left the factory with."""
        self._versions[name] = version

    def behind(self, name: str, version: int) -> bool:
        """This version is not what stands there."""
        return self._versions.get(name) != version

    def write(self, name: str, version: int, history: object) -> None:
        """Replace the file of a meter. Raises OSError when the disk refuses."""
        self._folder.mkdir(exist_ok=True)
        beside = self._folder / f"{name}.{os.getpid()}"
        beside.write_text(json.dumps(history, separators=(",", ":")))
        os.replace(beside, self._folder / f"{name}.json")
        self._versions[name] = version

    def read(self, name: str) -> Table | None:
        """What was kept of a meter; None when nothing was. Raises ValueError for a file that is none."""
        try:
            kept = json.loads((self._folder / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ValueError(f"The history of meter {name} cannot be read: {error}.") from error
        if not isinstance(kept, dict):
            raise ValueError(f"The history of meter {name} is not what was written.")
        return kept
