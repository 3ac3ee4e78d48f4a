"""How a DL/T 645 meter's options are written in the simulator's file."""

from __future__ import annotations

import re
from decimal import Decimal

from firmware_sim.dlt645.options import PROFILES, PROFILES_1997, Options, WalletOptions
from firmware_sim.dlt645.parameters import factory
from firmware_sim.fields import Fields
from firmware_sim.wallet import NO_STEPS, Limits, Steps
from protocols.dlt645.identifiers import write_fields
from protocols.errors import RequestError

ADDRESS = re.compile(r"[0-9]{12}\Z")
PASSWORD = re.compile(r"[0-9]{6}\Z")
DI = re.compile(r"04[0-9A-F]{6}\Z")
DATE = re.compile(r"(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8]) ([01][0-9]|2[0-3])\Z")
MODEL_1997 = "dlt645-1997"
MAX_SET = 100  # parameters set in the file
MAX_STEPS, MAX_PRICES, MAX_DATES = 6, 63, 6
_RULES = {"above": False, "at_least": True}


def build(fields: Fields, model: str, baud: int) -> Options:
    """address, password, level, passwords, firmware, programming_key, protect_restores, set, wallet, preamble, wake_up."""
    address = fields.text("address", None, ADDRESS, "a text of 12 digits")
    password = fields.text("password", "000000", PASSWORD, "a text of 6 digits")
    level = fields.integer("level", 2, 0, 9)
    profiles = PROFILES_1997 if model == MODEL_1997 else PROFILES
    return Options(
        address=address,
        passwords={level: password} | _passwords(fields),
        control_level=level,
        profile=profiles[fields.choice("firmware", profiles, "bench")],
        key_needed=fields.flag("programming_key", False),
        protect=fields.choice("protect_restores", ("allow", "close", "none"), "allow"),
        wallet=_wallet(fields),
        baud=baud,
        preamble=fields.integer("preamble", 4, 0, 10),
        wake_up=fields.integer("wake_up", 0, 0, 10),
        set=_set(fields),
    )


def _passwords(fields: Fields) -> dict[int, str]:
    """`passwords = {4 = "444444"}`: further levels beside the one of `password`."""
    table = fields.table("passwords")
    if table is None:
        return {}
    found = {level: table.text(str(level), "", PASSWORD, "a text of 6 digits") for level in range(10) if table.has(str(level))}
    table.done()
    return found


def _set(fields: Fields) -> dict[str, bytes]:
    """`set = {04001401 = 5}`: parameters as they leave the factory, in the units of the protocol."""
    table = fields.table("set")
    found: dict[str, bytes] = {}
    for di in sorted(table.names())[:MAX_SET] if table else ():
        assert table is not None
        value = table.value(di)
        try:
            if not DI.match(di) or di not in factory() or not isinstance(value, (int, float, str)) or isinstance(value, bool):
                raise RequestError("it is no plain parameter of this meter, or its value is no number or text")
            found[di] = write_fields(di, [str(value)])
        except RequestError as error:
            table.complain(di, f"cannot be set: {error}")
    return found


def _wallet(fields: Fields) -> WalletOptions | None:
    table = fields.table("wallet")
    if table is None:
        return None
    in_kwh = table.choice("unit", ("money", "kWh"), "money") == "kWh"
    prices = [_price(table, "prices", row) for row in table.rows("prices", MAX_PRICES)]
    if not prices and not in_kwh:
        table.complain("prices", "must hold at least one price, such as [0.5]")
    if in_kwh and (prices or table.has("steps") or table.has("reconnect")):
        table.complain("unit", "is kWh: such a wallet has neither prices nor steps nor a reconnect amount")
    limits = Limits(**{name: _fen(table, name) for name in ("alarm_1", "alarm_2", "overdraft", "hoarding", "reconnect")})
    options = WalletOptions(
        prices=(*prices, *([prices[-1]] * (MAX_PRICES - len(prices)))) if prices else (),
        steps=_steps(table),
        limits=limits,
        balance_fen=_fen(table, "balance"),
        customer=table.text("customer", "000000000000", ADDRESS, "a text of 12 digits"),
        count=table.integer("count", 0, 0, 2**31),
        at_least=_RULES[table.choice("reconnect_rule", _RULES, "above")],
        trip_once=table.flag("alarm_2_trips", False),
        in_kwh=in_kwh,
    )
    table.done()
    return options


def _steps(fields: Fields) -> Steps:
    table = fields.table("steps")
    if table is None:
        return NO_STEPS
    thresholds = [row for row in table.rows("thresholds_kwh", MAX_STEPS) if type(row) is int]
    adders = [_price(table, "adders", row) for row in table.rows("adders", MAX_STEPS + 1)]
    dates = [DATE.match(row) if isinstance(row, str) else None for row in table.rows("settle", MAX_DATES)]
    table.done()
    if thresholds != sorted(set(thresholds)) or len(adders) != len(thresholds) + 1 or any(kwh < 1 for kwh in thresholds):
        table.complain("thresholds_kwh", "must rise in whole kWh, with one adder more than thresholds")
        return NO_STEPS
    if None in dates:
        table.complain("settle", 'must hold dates with an hour, such as "01-01 00"')
    settlements = tuple((int(date[1]), int(date[2]), int(date[3])) for date in dates if date)
    return Steps(tuple(kwh * 100 for kwh in thresholds), tuple(adders), settlements)


def _fen(fields: Fields, name: str) -> int:
    amount = fields.number(name, "0", 0, 999_999)
    if amount != amount.quantize(Decimal("0.01")):
        fields.complain(name, f"must have two decimals at most, not {amount}")
    return int(amount * 100)


def _price(fields: Fields, name: str, row: object) -> int:
    """0.0001 yuan per kWh."""
    try:
        price = Decimal(str(row)) * 10_000 if isinstance(row, (int, float, str)) and not isinstance(row, bool) else Decimal("NaN")
    except ArithmeticError:
        price = Decimal("NaN")
    if price.is_finite() and price == int(price) and 0 <= price < 10**8:
        return int(price)
    fields.complain(name, f'must hold prices of at most four decimals such as "0.5283", not {row!r}')
    return 0
