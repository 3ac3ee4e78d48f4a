"""`wattgate backup` and `wattgate restore-backup`: a store kept elsewhere, and given back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.answers import Failure, settings_of

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="The gateway's TOML file.")]
DataOption = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The gateway's data directory.")]


def backup(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write; a backup of that name is replaced.")],
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Write a verified copy of the store into one file, also while the gateway runs, which waits for nothing.

    The file holds the money and all readings, and is its owner's alone. Configuration, passwords and tokens are files of yours.

    Example: wattgate backup -c gateway.toml --out /media/usb/wattgate-2026-11-21.tar
    """
    url, _, _ = _place(config, data)
    from gateway.bootstrap import backup as keeping  # the store is opened only here
    from gateway.bootstrap.examine import CannotStart

    try:
        made = keeping.back_up(url, out)
    except CannotStart as problem:
        raise Failure(str(problem)) from None
    print(f"{out}: {made.journal} entries, {made.outbox} messages, {made.bytes} bytes, epoch {made.epoch}, SHA-256 {made.sha256}")


def restore_backup(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="What `wattgate backup` wrote.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="A store that stands there is kept beside it.")] = False,
    mark: Annotated[bool, typer.Option("--mark", help="It was restored by other means, like pg_restore.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
) -> None:
    """Give a data directory the store of a backup, under a new epoch; no gateway may run on it.

    What came after the backup is unknown then: banks are told to wait and nobody is cut for debt until `wattgate reopen release`.

    Example: wattgate restore-backup /media/usb/wattgate-2026-11-21.tar -c gateway.toml
    """
    if (file is None) != mark:
        raise Failure("name either the backup's FILE or, for a store that is restored already, --mark", 2)
    url, folder, gateway = _place(config, data)
    from gateway.bootstrap import backup as keeping  # the store is opened only here
    from gateway.bootstrap.examine import CannotStart

    try:
        if file is None:
            print(f"epoch {keeping.mark(url, folder)}")
        elif "://" in url:
            raise Failure(keeping.SERVER)
        else:
            restored = keeping.restore(file, folder, gateway=gateway, replace=replace)
            print(f"{restored.manifest.journal} entries restored, epoch {restored.epoch}")
            if restored.kept is not None:
                print(f"the store that was there is kept as {restored.kept}")
    except CannotStart as problem:
        raise Failure(str(problem)) from None
    print("money is taken again after `wattgate reopen release`; `wattgate reopen status` says what it needs")


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command()(backup)
    app.command("restore-backup")(restore_backup)


def _place(config: Path | None, data: Path | None) -> tuple[str, Path, str | None]:
    """Where the store is, its data directory, and whose it must be as far as that is known."""
    if (config is None) == (data is None):
        raise Failure("name either a configuration (-c FILE) or a data directory (--data DIR)", 2)
    from gateway.bootstrap.examine import sqlite_url, store_url

    if config is None:
        folder = data or Path()
        return sqlite_url(folder), folder, None
    settings, home = settings_of(config), config.resolve().parent
    return store_url(settings, home), home / settings.gateway.data, settings.gateway.id
