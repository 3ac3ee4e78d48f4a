"""`wattgate central`: the reference central system, the commands that it sends, its keys, and what it has to tell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from gateway.cli.answers import Failure

if TYPE_CHECKING:
    from gateway.central.orders import Order
    from gateway.central.store import CentralStore

T = TypeVar("T")

Config = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The central system's TOML file.")]

verbs = typer.Typer(no_args_is_help=False, invoke_without_command=True)
keys = typer.Typer(no_args_is_help=True, help="The centre's own keys.")
verbs.add_typer(keys, name="keys")


@contextmanager
def _sentences() -> Iterator[None]:
    """What goes wrong at the centre, as a sentence."""
    from gateway.central.config import ConfigError
    from gateway.central.keys import BadKey
    from gateway.central.send import NotSent
    from gateway.central.store import StoreUnusable

    try:
        yield
    except ConfigError as problem:
        raise Failure(problem.errors) from None
    except (NotSent, StoreUnusable, BadKey) as problem:
        raise Failure(str(problem)) from None


@verbs.callback()
def central(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("--config", "-c", metavar="FILE", help="Its TOML file.")] = None,
    ready: Annotated[bool, typer.Option("--ready", help="Print one JSON line when connected.")] = False,
) -> None:
    """Receive, store and acknowledge what gateways send; logs go to stderr, SIGTERM stops it cleanly.

    Example: wattgate central -c central.toml
    """
    if context.invoked_subcommand is not None:
        return
    if config is None:
        raise Failure("name the configuration: wattgate central -c FILE", code=2)
    with _sentences():
        from gateway.central import process  # everything heavy is loaded only by those who run it
        from gateway.central.config import load

        process.serve(load(config), config.resolve().parent, file=config.resolve(), say_ready=ready)


@verbs.command()
def send(
    config: Config,
    verb: Annotated[str | None, typer.Argument(help="What the gateway is to do: cut, restore, read, topup, release ...")] = None,
    meter: Annotated[str | None, typer.Argument(help="The meter's id, where the verb is asked of a meter.")] = None,
    gateway: Annotated[str | None, typer.Option("--gateway", metavar="ID", help="The gateway that is asked.")] = None,
    account: Annotated[
        str | None, typer.Option("--account", metavar="PSEUDONYM", help="The account, where it is asked of one.")
    ] = None,
    cause: Annotated[str | None, typer.Option("--cause", help="Why, mandatory for a cut, e.g. contract_time_table.")] = None,
    args: Annotated[
        str, typer.Option("--args", metavar="JSON", help='What the verb needs, e.g. {"id": "c-17"} for release.')
    ] = "{}",
    reason: Annotated[str, typer.Option("--reason", help="For the record, in a person's words.")] = "",
    id: Annotated[str | None, typer.Option("--id", help="Of the command; the same id is the same command.")] = None,
    expires: Annotated[int, typer.Option("--expires", min=1, help="Seconds until it may no longer be obeyed.")] = 300,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Seconds to wait for the final result.")] = 60,
    key: Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Sign with this key instead of keys.commands.")] = None,
    orders: Annotated[
        Path | None, typer.Option("--orders", metavar="FILE", help="Many orders, a JSON object a line; - is stdin.")
    ] = None,
) -> None:
    """Send signed commands and wait for their outcome; each state is one JSON line.

    Example: wattgate central send cut M7 --gateway G1 --cause contract_time_table -c central.toml
    """
    if (verb is None) == (orders is None):
        raise Failure("name a verb, or --orders FILE", code=2)
    if verb == "cut" and cause is None and '"cause"' not in args:
        raise Failure("a cut names its cause: add --cause, e.g. --cause contract_time_table", code=2)
    if verb is not None and gateway is None:
        raise Failure("name the gateway: add --gateway ID", code=2)
    with _sentences():
        from gateway.central import keys as own
        from gateway.central import send as sending
        from gateway.central.config import load

        settings, folder = load(config), config.resolve().parent
        if orders is not None:
            what = sending.orders_of(sys.stdin.read() if str(orders) == "-" else _text(orders), gateway)
        else:
            what = [_order(str(verb), str(gateway), meter, account, cause, args, reason, id, expires)]
        signer = settings.signer(folder, "commands") if key is None else own.load(key)
        last = sending.send(
            settings, folder, what, signer=signer, wait_s=wait, tell=lambda said: print(sending.as_json(said), flush=True)
        )
    bad = [said for said in last.values() if said.state not in sending.ACHIEVED]
    if bad:
        raise Failure([f"command {said.command} ended as {said.state}: {said.reason or 'no reason was given'}" for said in bad])
    if any("command_only" in said.evidence for said in last.values()):
        print("the device acknowledged the order, which proves nothing about its switch", file=sys.stderr)


def _order(
    verb: str,
    gateway: str,
    meter: str | None,
    account: str | None,
    cause: str | None,
    args: str,
    reason: str,
    id: str | None,
    expires: int,
) -> Order:
    from gateway.central.orders import Order

    try:
        said = json.loads(args)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Failure('--args is a JSON object, e.g. \'{"id": "c-17"}\'', code=2)
    given = said | ({} if cause is None else {"cause": cause})
    return Order(verb, gateway, meter, account, given, reason, id, expires)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise Failure(f"{path}: cannot be read: {problem}") from None


@keys.command("new")
def new_key(
    file: Annotated[Path, typer.Argument(help="Where the private key is to stand; it must not be there yet.")],
    kid: Annotated[str, typer.Option("--kid", help="The id under which gateways know it.")],
    role: Annotated[
        str, typer.Option("--role", help="centre signs acks, commands signs orders, receipts signs for banks.")
    ] = "commands",
) -> None:
    """Make a private key (mode 0600) and print what the gateways' configuration needs of it; of one for receipts, the public half.

    Example: wattgate central keys new commands.jwk --kid office-1
    """
    if role not in ("centre", "commands", "receipts"):
        raise Failure("--role is centre, commands or receipts", code=2)
    from gateway.bootstrap.new_keys import write_new_key

    try:
        public = write_new_key(file, kid)
    except (OSError, ValueError) as problem:
        raise Failure(f"the key cannot be written to {file}: {problem}") from None
    if role == "receipts":
        print(json.dumps({"kid": kid, "public": public}))
        return
    verbs_line = "" if role == "centre" else 'verbs = ["*"]\n'
    print(f'[[uplink_key]]\nkid = "{kid}"\npublic = "{public}"\nrole = "{role}"\n{verbs_line}', end="")


@keys.command("show")
def show_key(file: Annotated[Path, typer.Argument(help="A private key.")]) -> None:
    """Print id and public half of a key.

    Example: wattgate central keys show commands.jwk
    """
    with _sentences():
        from gateway.central.keys import load
        from protocols.uplink.signing import x_of

        signer = load(file)
    print(json.dumps({"kid": signer.kid, "public": x_of(signer.key)}))


@verbs.command()
def status(config: Config, as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """What gateways there are, how far each has come, and what a person has to look at; exit 1 where there is something.

    Example: wattgate central status -c central.toml
    """
    from gateway.central import findings, report
    from protocols.uplink.moments import format_moment

    found, todo, figures = _asked(config, lambda s: (s.read(report.gateways), s.read(findings.listed), s.read(report.figures)))
    if as_json:
        facts = {"gateways": [asdict(g) for g in found], "findings": [asdict(f) for f in todo], "figures": asdict(figures)}
        print(json.dumps(facts, ensure_ascii=False))
    else:
        for g in found:
            print(f"{g.gateway}: {g.state}, {g.upto} of {g.top} in order, {g.missing} missing, heard {format_moment(g.heard_ms)}")
        print(f"{figures.orders} orders and {figures.vouchers} vouchers without an end")
        for f in todo:
            print(f"finding {f.id} ({f.kind}, {f.gateway}, {format_moment(f.at_ms)}): {f.text}")
    if todo:
        raise typer.Exit(1)


@verbs.command("check-gaps")
def check_gaps(config: Config, as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False) -> None:
    """Every number that is not here, and why; exit 1 where one is missing or lost.

    Example: wattgate central check-gaps -c central.toml
    """
    from gateway.central import report

    found = _asked(config, lambda s: s.read(lambda c: list(report.gaps(c))))
    for gap in found:
        text = f"{gap.gateway} {gap.epoch}: {gap.first} to {gap.last} {gap.why}"
        print(json.dumps(asdict(gap)) if as_json else text)
    if any(gap.why in ("missing", "lost", "old epoch") for gap in found):
        raise typer.Exit(1)


@verbs.command("close-finding")
def close_finding(
    config: Config,
    number: Annotated[int, typer.Argument(help="Of the finding, as `central status` shows it.")],
    who: Annotated[str, typer.Option("--who", help="Who has looked at it.")],
) -> None:
    """Note that a person has dealt with a finding.

    Example: wattgate central close-finding 3 --who li -c central.toml
    """
    from gateway.central import findings
    from gateway.central.service import wall_ms

    if not _asked(config, lambda s: s.write(lambda c: findings.close(c, number, who, wall_ms()))):
        raise Failure(f"there is no open finding {number}")


@verbs.command()
def differences(config: Config, as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False) -> None:
    """The differences of banks' days that nobody has resolved yet; exit 1 where there is one.

    Example: wattgate central differences -c central.toml
    """
    from gateway.central import day_books

    found = _asked(config, lambda s: s.read(day_books.with_open))
    for book, left in found:
        for each in left:
            said = each["resolution"]
            asked = f"; {said['asked_by']} asks for {said['action']}: {said['reason']}" if isinstance(said, dict) else ""
            actions = "|".join(each["actions"])  # type: ignore[arg-type]
            text = f"{book.bank} {book.day} {each['id']}: {each['kind']}, serial {each['serial'] or '-'}: {each['detail']}"
            text = f"{text} ({actions}){asked}"
            print(json.dumps({"bank": book.bank, "accounting_date": book.day, **each}, ensure_ascii=False) if as_json else text)
    if found:
        raise typer.Exit(1)


@verbs.command()
def resolve(
    config: Config,
    bank: Annotated[str, typer.Argument(help="Whose day it is.")],
    day: Annotated[str, typer.Argument(help="The accounting date, e.g. 2026-11-21.")],
    number: Annotated[int, typer.Argument(help="Of the difference, as `central differences` shows it.")],
    action: Annotated[str, typer.Argument(help="book, reverse or ignore.")],
    reason: Annotated[str, typer.Option("--reason", help="Why, for the record.")],
    who: Annotated[str, typer.Option("--who", help="Who decides. It is done when a second person says the same.")],
) -> None:
    """Say what becomes of a difference of a bank's day; done when two people have said the same.

    Example: wattgate central resolve north 2026-11-21 1 book --reason "the bank was right" --who li -c central.toml
    """
    with _sentences():
        from gateway.central.config import load
        from gateway.central.resolving import resolve_one
        from gateway.central.service import wall_ms
        from gateway.central.till import till_of
        from gateway.domain.differences import Action, NotResolved, Wanted

        if action not in [each.value for each in Action]:
            raise Failure("the action is book, reverse or ignore", code=2)
        if not who.strip() or not reason.strip():
            raise Failure("--who and --reason are for the record: they cannot be empty", code=2)
        till = till_of(load(config), config.resolve().parent, bank)
        wanted = Wanted(bank, day, number, Action(action), reason, f"operator:{who}")
        try:
            done, found = _asked(config, lambda s: resolve_one(s, wanted, till, wall_ms))
        except NotResolved as refused:
            raise Failure(refused.detail) from None
    told = found["resolution"]
    assert isinstance(told, dict)
    print(
        f"done: {told['told']}" if done else f"asked for: a second person says the same, with --who (asked by {told['asked_by']})"
    )


@verbs.command()
def audit(config: Config) -> None:
    """Print the centre's audit log of money, a JSON object a row, and verify its chain; exit 1 where it is broken.

    Example: wattgate central audit -c central.toml
    """
    from gateway.central import audit as log

    count, finding = _asked(config, lambda s: log.walk(s, lambda row: print(json.dumps(asdict(row), ensure_ascii=False))))
    if finding is not None:
        raise Failure(finding)
    print(f"{count} rows, each as it was written", file=sys.stderr)


def _asked(config: Path, work: Callable[[CentralStore], T]) -> T:
    """Something of the central store, also beside a running central system."""
    with _sentences():
        from gateway.central.config import load
        from gateway.central.store import CentralStore

        store = CentralStore.open(load(config).store_url(config.resolve().parent))
        try:
            return work(store)
        finally:
            store.close()


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(verbs, name="central")
