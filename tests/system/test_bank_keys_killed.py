"""A partner behind mutual TLS changes its MAC key while the gateway is killed: both sides always find a key that both hold."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from pathlib import Path
from random import Random

from protocols.bank.iso8583 import Codec, Deframer, Message, frame
from protocols.bank.keywrap import check_value, wrap
from tests.conftest import Figure
from tests.gateway.adapters.iso8583_line import network
from tests.gateway.bootstrap.certificates import authority, vouched
from tests.protocols.bank.tables import CONFIG, KEY, shipped
from tests.system.processes import wattgate
from tests.system.test_bank_lines import ACCOUNTS, BANK, BankStand

CODEC = Codec(shipped())
ZONE = bytes(range(16))
ROUNDS, PROOF_ROUNDS = 2, 40
"""Changes of the key, with two kills in each; a start takes a second or two."""

WITHIN_S = 0.03
"""In which a change is written down and answered: the kills fall in there, on both sides of either."""

SECURED = (
    'key_file = "mac.key"\nzone_key_file = "zone.key"\ncertificate = "gateway.pem"\nkey = "gateway.key"\n'
    'client_ca = "ca.pem"\nclient_certificate = "icbc.example"\n'
)


class Stand(BankStand):
    """The same, its ISO 8583 line behind TLS and with a zone's key."""

    def __init__(self, folder: Path) -> None:
        ca = authority(folder)
        for name in ("gateway", "icbc"):
            vouched(folder, name, ca)
        (folder / "zone.key").write_text(ZONE.hex())
        (folder / "zone.key").chmod(0o600)
        self.tls = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self.tls.load_cert_chain(folder / "icbc.pem", folder / "icbc.key")
        super().__init__(folder)

    def _lines(self) -> list[str]:
        return [line.replace('key_file = "mac.key"\n', SECURED) for line in super()._lines()]

    async def ask(self, message: Message, key: bytes) -> str | None:
        """Field 39 of the answer, on a connection of its own; None for none."""
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.iso, ssl=self.tls)
            try:
                writer.write(frame(CODEC.dialect, CODEC.encode(message, key)))
                frames, found = Deframer(CODEC.dialect), list[bytes]()
                async with asyncio.timeout(60):
                    while not found:
                        if not (data := await reader.read(4096)):
                            return None
                        found = frames.feed(data)
                received = CODEC.decode(found[0])
                assert received.message.get(39) == "A0" or CODEC.right(received, [key])
                return received.message.get(39)
            finally:
                writer.transport.abort()
        return None

    async def killed_while(self, message: Message, key: bytes, rng: Random) -> str | None:
        """Ask, and die of it; what was still answered. It is up again then."""
        asked = asyncio.create_task(self.ask(message, key))
        await asyncio.sleep(rng.uniform(0, WITHIN_S))
        await self.gateway.kill()
        answer = await asked
        await self.gateway.start()
        return answer


def brings(key: bytes) -> Message:
    told = wrap("sm4-ecb", ZONE, key).hex().upper() + check_value("sm4-ecb", key)[:6]
    return network("161", f48="KEY=" + told)


async def test_a_key_changes_while_the_gateway_dies(tmp_path: Path, proof_scale: int, figure: Figure) -> None:
    stand, rng, key = Stand(tmp_path), Random(161), KEY
    echo, rounds = network("301"), ROUNDS if proof_scale == 1 else PROOF_ROUNDS
    brought: dict[str | None, int] = {"00": 0, None: 0}
    used = dict(brought)
    try:
        await stand.gateway.start()
        for _ in range(rounds):
            new = rng.randbytes(16)
            brought[await stand.killed_while(brings(new), key, rng)] += 1
            assert await stand.ask(echo, key) == "00", "nobody has used the new one"
            assert await stand.ask(brings(new), key) == "00"
            used[await stand.killed_while(echo, new, rng)] += 1
            assert await stand.ask(echo, new) == "00", "it was promised before the death"
            assert await stand.ask(echo, key) == await stand.ask(brings(key), key) == "A0"
            assert await stand.ask(brings(key), new) == "30", "no key comes back"
            key = new
    finally:
        await stand.gateway.kill()
    figure("keys exchanged (0800/161), each with two kills", rounds)
    figure("kills while a key was brought, of which answered", f"{sum(brought.values())}, {brought['00']}")
    figure("kills while it was used for the first time, of which answered", f"{sum(used.values())}, {used['00']}")


async def test_the_simulator_s_bank_does_the_same_from_its_file(tmp_path: Path) -> None:
    stand = Stand(tmp_path)
    (tmp_path / "iso.toml").write_text((CONFIG / "iso8583-ascii.toml").read_text())
    (tmp_path / "bank.toml").write_text(
        f'[sim]\nseed = 5\n[[bank]]\nid = "{BANK}"\niso8583 = "127.0.0.1:{stand.iso}"\niso8583_tls = true\n'
        'ca_file = "ca.pem"\ncertificate_file = "icbc.pem"\ncertificate_key_file = "icbc.key"\n'
        'table = "iso.toml"\nmac_key_file = "mac.key"\nzone_key_file = "zone.key"\nnew_keys = 2\n'
        f"accounts = {json.dumps(ACCOUNTS)}\npayments = 30\n"
    )
    try:
        await stand.gateway.start()
        for _ in range(2):
            ran = await wattgate("sim", tmp_path / "bank.toml")
            assert (ran.code, ran.err) == (0, ""), ran
            told = json.loads(ran.out.splitlines()[1])
            assert told["ok"] and told["new_keys"] == 2 and told["states"]["posted"]
        (tmp_path / "icbc.pem").write_text("")
        (await wattgate("sim", tmp_path / "bank.toml")).refused(f"bank {BANK}: TLS with", "icbc.pem")
    finally:
        await stand.gateway.kill()
