"""The acceptance bench for one meter, put together: its password, its record of refusals, its report."""

from __future__ import annotations

import os
import secrets
import sys
import tomllib
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from gateway import __version__
from gateway.adapters.clock import Clock
from gateway.adapters.crypto_service import Crypto, CryptoError, CryptoService
from gateway.adapters.line_tools.acceptance import report
from gateway.adapters.line_tools.acceptance import run as acceptance
from gateway.adapters.line_tools.acceptance.case import Case, Outcome, Verdict
from gateway.adapters.line_tools.acceptance.subject import Options
from gateway.adapters.line_tools.hand_read import DIALECTS
from gateway.adapters.line_tools.place import Place
from gateway.adapters.line_tools.refusals import Refusals
from gateway.adapters.meter_links.dlt645_link import Password
from gateway.bootstrap.examine import CannotStart, passwords_of
from gateway.bootstrap.lines import Passwords
from gateway.bootstrap.tools import Chosen, NotDone, Target, WrongUse, held, ran
from gateway.settings import SettingsError, secret_file, service_url

__all__ = ["BenchOrder", "Options", "Outcome", "Verdict", "accept_meter"]


@dataclass(frozen=True, slots=True)
class BenchOrder:
    """What a tester wants. folder: for the report, None for none; only: ids of cases or their beginnings.

    passwords: a file of mode 0600 as the gateway has it; stated_ms: the laboratory's own bound of the error of times.
    crypto: URL of the service that makes MACs, with its token's file; None for the configuration's, or the TEST module.
    """

    options: Options = field(default_factory=Options)
    only: tuple[str, ...] = ()
    folder: Path | None = None
    passwords: Path | None = None
    password_class: str = "control"
    crypto: str | None = None
    crypto_token: Path | None = None
    stated_ms: float | None = None
    by: str = ""
    laboratory: str = ""
    order: str = ""
    note: str = ""


def accept_meter(chosen: Chosen, target: Target, order: BenchOrder, tell: Callable[[Outcome], None]) -> list[Outcome]:
    """Run the acceptance list and write the report. Raises WrongUse, NotDone."""
    try:
        cases = acceptance.chosen(order.only)
    except KeyError as unknown:
        raise WrongUse(f"there is no case {unknown}; they begin with link, time, control and wallet") from None
    password = _bench_password(chosen, order)
    if order.folder is not None:
        _new_folder(order.folder)
    module = _module(chosen, order)
    with held(chosen) as place:
        if place.kind == "modbus-tcp":
            raise WrongUse(f"{place.name} carries Modbus TCP; the acceptance list is for DL/T 645 meters")
        return ran(_accept(place, target, order, cases, password, module, Refusals(_refusals_file(chosen)), tell))


async def _accept(
    place: Place,
    target: Target,
    order: BenchOrder,
    cases: Sequence[Case],
    password: Password | None,
    module: Crypto | None,
    refusals: Refusals,
    tell: Callable[[Outcome], None],
) -> list[Outcome]:
    clock = Clock()
    begun_ms = clock.now_ms()
    async with AsyncExitStack() as opened:
        if isinstance(module, CryptoService):
            try:
                await opened.enter_async_context(module)
            except CryptoError as error:
                raise NotDone(str(error)) from None
        meter = await acceptance.subject_on(
            place, target.address, DIALECTS[target.dialect], clock=clock, refusals=refusals, options=order.options,
            password=password, module=module, stated_ms=order.stated_ms,
        )  # fmt: skip
        opened.push_async_callback(meter.probe.close)
        told = await acceptance.facts(meter)
        outcomes = await acceptance.run(meter, cases, tell)
    if order.folder is not None:
        heading = report.Heading(
            f"wattgate {__version__}", place.name, place.how, target.address, str(meter.dialect), begun_ms, clock.now_ms(),
            order.by, order.laboratory, order.order, order.note, module.label if module else None, told,
        )  # fmt: skip
        data = report.as_json(heading, meter.precision, outcomes)
        (order.folder / "report.json").write_text(data, "utf-8")
        (order.folder / "report.html").write_text(report.as_html(heading, meter.precision, outcomes, data), "utf-8")
    return outcomes


def _module(chosen: Chosen, order: BenchOrder) -> Crypto | None:
    """Who makes the MACs; None where no case wants any. Raises WrongUse, NotDone."""
    if not order.options.wallet:
        return None
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    url, token_file = order.crypto, order.crypto_token
    if url is None and chosen.settings is not None and chosen.settings.security.url is not None:
        named = chosen.settings.security.token_file
        url, token_file = chosen.settings.security.url, chosen.folder / named if named else None
    if url is None:
        return acceptance.test_module(secrets.token_bytes)
    try:
        return CryptoService(service_url(url), secret_file(token_file) if token_file else None)
    except SettingsError as error:
        raise NotDone(error.errors[0]) from None
    except ValueError as error:
        raise WrongUse(str(error)) from None


def _new_folder(folder: Path) -> None:
    """A report is never overwritten: it may have been signed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "report.json").exists():
            raise WrongUse(f"{folder} holds a report already; name another folder")
        (folder / "report.json").touch()
        (folder / "report.json").unlink()
    except OSError as error:
        raise NotDone(f"{folder} cannot be used for the report: {error.strerror}") from None


def _bench_password(chosen: Chosen, order: BenchOrder) -> Password | None:
    """From the named file, else from the configuration's; None where there is neither. Raises WrongUse, NotDone."""
    try:
        if order.passwords is not None:
            passwords = Passwords.parse(tomllib.loads(secret_file(order.passwords)))
        elif chosen.settings is not None and chosen.settings.gateway.passwords is not None:
            passwords = passwords_of(chosen.settings, chosen.folder)
        else:
            return None
    except SettingsError as error:
        raise NotDone(error.errors[0]) from None
    except CannotStart as error:
        raise NotDone(str(error)) from None
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise WrongUse(f"{order.passwords}: {error}") from None
    try:
        return passwords.password(order.password_class)
    except LookupError as error:
        raise WrongUse(str(error.args[0])) from None


def _refusals_file(chosen: Chosen) -> Path:
    """The record of refused passwords: beside the gateway's state, else in the user's own state folder."""
    if chosen.settings is not None:
        return chosen.folder / chosen.settings.gateway.data / "refused-passwords.json"
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "wattgate" / "refused-passwords.json"
