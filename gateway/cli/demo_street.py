"""The demo's street: which meters hang where, and the three configuration files that say so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from gateway.cli.centre_keys import CENTRAL_TABLE

CURRENCY = "CNY"
FLAT_PRICE = "0.617"
PEAK_PRICE, VALLEY_PRICE = "0.617", "0.307"
TOPUP_FEN = 80
"""What the bank pays in for the household that runs out: about half a minute at sixty times its load."""

SCHEME = "billing_s = 10\ninstant_s = 6\nswitch_s = 20"
"""As often as the 2400-baud line of the default street carries with some reserve (82 % of it)."""

UNBOUND = (
    "[limits]\nown_per_minute = 1000000\nown_per_hour = 1000000\nordered_per_hour = 1000000\nordered_per_day = 1000000\n"
    "trips_per_hour = 1000000\n"
)
"""The demo's limiter does not bind (contract.md 2)."""

PAST = ("day", "month", "curve", "events")
"""Shipped schemes that the demo does without: its meters have just been born, and its lines are full."""

MOST_POWER_W = 14_000
"""A 60 A single-phase service, in W; the demo multiplies it by --speed like the loads."""


@dataclass(frozen=True, slots=True)
class House:
    """One meter of the street and its account. `extra` and `policy` are TOML lines of meter (simulator) and account (gateway)."""

    meter: str
    line: str
    address: str
    model: str
    profile: str
    load: str
    opening: str = "60.00"
    tariff: str = "flat"
    switch: str = ""
    limit: str = ""

    @property
    def account(self) -> str:
        """The account's id."""
        return f"A-{self.meter}"


@dataclass(frozen=True, slots=True)
class Places:
    """Where things listen: pty path, ports on loopback."""

    pty: str
    bus_port: int
    modbus_port: int
    http: str
    mqtt: str


@dataclass(frozen=True, slots=True)
class Street:
    """All houses; `debtor` runs out of money, `greedy` draws more than its limit."""

    houses: tuple[House, ...]
    debtor: House
    greedy: House


def street(meters: int, rng: Random) -> Street:
    """`meters` DL/T 645 meters, a third on the slow line and the rest on the fast one, and four Modbus meters."""
    slow = [_house(f"slow-{n:02d}", "slow", f"2019000001{n:02d}", rng) for n in range(1, meters // 3 + 1)]
    debtor = House(
        "fast-01", "fast", "201900000201", "dlt645-single", "dlt645-single", '{kind = "constant", power_w = 2400}', opening="0.60"
    )
    greedy = House(
        "fast-02",
        "fast",
        "201900000202",
        "dlt645-single",
        "dlt645-single",
        '{kind = "schedule", steps = [[0, 600], [2, 3200]]}',
        limit="power_w = 2000\ndelay_s = 9\npause_s = 10\nrecloses = 1",
    )
    fast = [_house(f"fast-{n:02d}", "fast", f"2019000002{n:02d}", rng) for n in range(3, meters - len(slow) + 1)]
    return Street((*slow, debtor, greedy, *fast, *_modbus()), debtor, greedy)


def _house(name: str, line: str, address: str, rng: Random) -> House:
    three = rng.random() < 0.15
    kind = "dlt645-three" if three else "dlt645-single"
    tariff = "two-rate" if rng.random() < 0.4 else "flat"
    load = f'{{kind = "household", mean_w = {rng.randrange(300, 900)}}}'
    return House(name, line, address, kind, kind, load, f"{rng.randrange(30, 200)}.00", tariff)


def _modbus() -> Iterator[House]:
    household = '{kind = "household", mean_w = 500}'
    yield House("own-relay", "modbus", "11", "dds238", "hiking-dds238-zn-sr", household)
    yield House("workshop", "modbus", "12", "dds238", "hiking-dds238-zn-sr", household)
    yield House("contactor", "modbus", "21", "sdm630", "eastron-sdm630", household, switch="31")
    yield House("landlord", "modbus", "22", "sdm630", "eastron-sdm630", household)


def sim_toml(street: Street, places: Places, speed: float, seed: int, rng: Random) -> str:
    """The simulator's file."""
    parts = [
        f'[sim]\nseed = {seed}\nspeed = {speed}\nstate = "meters.state"\n',
        f'[[line]]\nid = "slow"\nkind = "pty"\npath = "{places.pty}"\nbaud = 2400\n',
        f'[[line]]\nid = "fast"\nkind = "tcp"\nport = {places.bus_port}\nbaud = 9600\n',
        f'[[line]]\nid = "modbus"\nkind = "modbus-tcp"\nport = {places.modbus_port}\n',
    ]
    for house in street.houses:
        where = f"unit = {house.address}" if house.line == "modbus" else f'address = "{house.address}"'
        switch = f'switch = {{line = "modbus", unit = {house.switch}, coil = 0, input = 0}}\n' if house.switch else ""
        parts.append(
            f'[[meter]]\nid = "{house.meter}"\nline = "{house.line}"\n{where}\nmodel = "{house.model}"\n'
            f"initial_kwh = {rng.randrange(100, 900_000) / 100}\nload = {house.load}\n{switch}"
        )
    return "\n".join(parts)


def gateway_toml(street: Street, places: Places, speed: float) -> str:
    """The gateway's file, with what contract.md 2 says of the demo: no no-cut hours, a vouched clock, agreements."""
    mqtt_host, _, mqtt_port = places.mqtt.rpartition(":")
    parts = [
        '[gateway]\nid = "demo"\ndata = "gateway"\nzone = "Asia/Shanghai"\npasswords = "passwords.toml"\n',
        "[store]\nreserve_mib = 8\n",
        f'[http]\nlisten = "{places.http}"\nopen_get = true\ntoken_file = "../operator.token"\n',
        '[bank]\nsignatures = "off"\nzone = "Asia/Shanghai"\n',
        f'[mqtt]\nhost = "{mqtt_host}"\nport = {mqtt_port}\nversion = "3.1.1"\ncommands = true\n',
        '[uplink]\nacknowledge = "central"\n',
        '[clock]\nsource = "vouched"\n',
        UNBOUND,
        f"[[scheme]]\n{SCHEME}\n",
        *(f'[[scheme]]\nid = "{past}"\nenabled = false\n' for past in PAST),
        f'[[tariff]]\nid = "flat"\ncurrency = "{CURRENCY}"\nkind = "flat"\nprice = "{FLAT_PRICE}"\n',
        f'[[tariff]]\nid = "two-rate"\ncurrency = "{CURRENCY}"\nkind = "two_rate"\n'
        f'peak = {{registers = [1, 2], price = "{PEAK_PRICE}"}}\nvalley = {{registers = [3, 4], price = "{VALLEY_PRICE}"}}\n',
        f'[[line]]\nid = "slow"\nkind = "serial"\ndevice = "{places.pty}"\nbaud = 2400\n',
        f'[[line]]\nid = "fast"\nkind = "tcp"\nhost = "127.0.0.1"\nport = {places.bus_port}\nbaud = 9600\n',
        f'[[line]]\nid = "modbus"\nkind = "modbus-tcp"\nhost = "127.0.0.1"\nport = {places.modbus_port}\n',
    ]
    parts += [_house_toml(house, speed) for house in street.houses]
    return "\n".join(parts)


def _house_toml(house: House, speed: float) -> str:
    limit = f"[account.limit]\n{house.limit}\n" if house.limit else ""
    switch = f'switch = {{line = "modbus", address = "{house.switch}", profile = "relay-module-8"}}\n' if house.switch else ""
    phases = 3 if house.model in ("dlt645-three", "sdm630") else 1
    return (
        f'[[account]]\nid = "{house.account}"\nholder = "Household {house.meter}"\n'
        f'currency = "{CURRENCY}"\ntariff = "{house.tariff}"\n'
        f'agreement = "demo-agreement"\nopening = "{house.opening}"\n'
        f'[account.policy]\nlow = "0.40"\nreconnect = "close"\nno_cut_hours = false\n{limit}\n'
        f'[[meter]]\nid = "{house.meter}"\nline = "{house.line}"\naddress = "{house.address}"\nprofile = "{house.profile}"\n'
        f'account = "{house.account}"\nmax_power_w = {max(1, int(MOST_POWER_W * phases * speed))}\n{switch}'
    )


PASSWORDS_TOML = '[control]\nlevel = 2\npassword = "000000"\n'
"""The simulated meters' password, as a file of mode 0600."""


def central_toml(places: Places) -> str:
    """The reference central's file."""
    host, _, port = places.mqtt.rpartition(":")
    return f'[central]\ndata = "central"\n\n[mqtt]\nhost = "{host}"\nport = {port}\n\n{CENTRAL_TABLE}'
