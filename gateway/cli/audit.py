"""`wattgate audit`: prove the log of who did what, and give it to others to prove."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.cli.answers import Failure, settings_of
from gateway.cli.ledger import ConfigOption, DataOption

if TYPE_CHECKING:
    from gateway.bootstrap.proofs import Proof

audit = typer.Typer(help="Proofs over the audit log and its anchors.", no_args_is_help=True)

KeyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--key", metavar="KID:X", help="A public key of the gateway as you know it from elsewhere; may be given several times."
    ),
]
ExportOption = Annotated[
    Path | None, typer.Option("--export", metavar="FILE", help="An export instead of a store; - for standard input.")
]


@audit.command()
def verify(config: ConfigOption = None, data: DataOption = None, export: ExportOption = None, key: KeyOption = None) -> None:
    """Recompute the hash chain of the audit log and hold every anchor against it; of a store, or of an export without one.

    An anchor that reached the centre proves what the log was at that moment. Without --key an export is checked by the keys that it
    brings itself: that shows that it fits itself, and not whose it is.

    Example: wattgate audit verify --export audit.jsonl --key kid:x
    """
    from gateway.bootstrap import proofs  # the store is opened only here
    from gateway.bootstrap.examine import CannotStart

    keys = dict(_key(each) for each in key or ())
    try:
        if export is not None:
            proof = proofs.verify_export(_lines(export), keys)
        else:
            url, folder = _where(config, data)
            proof = proofs.verify(url, proofs.gateway_of(url), keys or proofs.keys_of(folder))
    except (CannotStart, ValueError) as problem:
        raise Failure(str(problem)) from None
    if proof.finding is not None:
        raise Failure(f"after {proof.rows} rows: {proof.finding}")
    print(f"{proof.rows} rows, {proof.anchors} anchors: clean, {_signed(proof)}")


@audit.command()
def export(
    config: ConfigOption = None,
    data: DataOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A file that is not there yet; without it standard output.")
    ] = None,
) -> None:
    """Give the whole log and its anchors out as JSON lines, which `audit verify --export` proves on any machine.

    Example: wattgate audit export --data data --out audit.jsonl
    """
    from gateway.bootstrap import proofs
    from gateway.bootstrap.examine import CannotStart

    url, folder = _where(config, data)
    try:
        keys, whose = proofs.keys_of(folder), proofs.gateway_of(url)
        if out is None:
            proofs.export(url, whose, keys, sys.stdout.write)
            return
        with out.open("x", encoding="utf-8") as file:
            rows = proofs.export(url, whose, keys, file.write)
    except FileExistsError:
        raise Failure(f"{out} is there already") from None
    except (CannotStart, ValueError, OSError) as problem:
        raise Failure(str(problem)) from None
    print(f"{rows} rows in {out}", file=sys.stderr)


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(audit, name="audit")


def _where(config: Path | None, data: Path | None) -> tuple[str, Path]:
    """The store, and the data directory beside it."""
    if (config is None) == (data is None):
        raise Failure("name either a configuration (-c FILE) or a data directory (--data DIR)", 2)
    from gateway.bootstrap import examine

    if config is None:
        return examine.sqlite_url(data or Path()), data or Path()
    settings, folder = settings_of(config), config.resolve().parent
    return examine.store_url(settings, folder), folder / settings.gateway.data


def _signed(proof: Proof) -> str:
    """How far somebody answers for it: later rows only fit each other."""
    if proof.keyless and proof.anchors:
        return "signatures not checked: no key is known"
    if not proof.signed:
        return "none of it signed"
    return f"signed up to row {proof.signed}" + (" by the keys that it brings itself" if proof.own_keys else "")


def _key(text: str) -> tuple[str, str]:
    kid, colon, x = text.partition(":")
    if not colon or not kid or not x:
        raise Failure("--key is KID:X, as the gateway publishes it", 2)
    return kid, x


def _lines(export: Path) -> list[str]:
    try:
        text = sys.stdin.read() if str(export) == "-" else export.read_text("utf-8")
    except OSError as problem:
        raise Failure(f"{export} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise Failure(f"{export} cannot be read: {problem}") from None
    return text.removesuffix("\n").split("\n") if text else []  # not splitlines: a name may hold what it takes for a line's end
