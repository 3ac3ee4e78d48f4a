"""A stolen key signs a thousand cuts: the limiter lets its share through, the rest waits for another person (prepayment.md 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from gateway.adapters.mqtt_down import DownSide
from gateway.adapters.mqtt_session import Arrival, Demands
from gateway.adapters.uplink_keyring import KeyRing
from gateway.domain.approvals import Approval
from gateway.domain.budgets import DECIDED
from gateway.domain.findings import FindingKind
from gateway.domain.incoming import IncomingCommand, UnreadableCommand
from gateway.domain.meters import Meter, SwitchKind
from gateway.domain.supply import Command, CommandState, Verb
from gateway.domain.uplink_keys import Why
from gateway.services.ports import Site
from gateway.services.receive_command import receive_command
from gateway.services.run_command import start_command
from gateway.services.stop_switch import stopped
from gateway.services.uplink_answers import Received
from tests.gateway.centre_keys import Signer
from tests.gateway.services.memory_tx import MemoryTx

T0 = 1_795_262_400_000
METERS = 1000
SHARE = METERS * 2 // 100
"""What one key may cut within an hour: 2 % of the meters."""


class Gateway:
    """The down side and the use case, on a store that outlives it."""

    def __init__(self, tx: MemoryTx) -> None:
        self.tx, self.now_ms, self.said = tx, T0, Received()
        self.down = DownSide(
            "G1", KeyRing(tx.uplink_keys()), signatures="required", commands=True, on_loopback=False, now_ms=lambda: self.now_ms
        )
        self.down.listener = self

    @property
    def site(self) -> Site:
        return Site("G1", "Asia/Shanghai", clock_trusted=True, budgets=DECIDED, boot="b", steady_ms=self.now_ms - T0)

    async def on_command(self, command: IncomingCommand) -> None:
        self.said = receive_command(self.tx, command, self.site, self.now_ms)

    async def on_unreadable(self, what: UnreadableCommand) -> None:
        raise AssertionError(what.text)

    async def on_ack(self, epoch: str, upto: int, also: tuple[tuple[int, int], ...]) -> None: ...
    async def on_resend(self, epoch: str, ranges: tuple[tuple[int, int], ...]) -> None: ...

    async def send(self, token: bytes) -> Received:
        await self.down.receive(Arrival("wattgate/v1/G1/down/command", token, False, Demands()))
        return self.said

    def states(self) -> dict[CommandState, int]:
        found = [command.state for command in self.tx.kept_commands.values()]
        return {state: found.count(state) for state in set(found)}


def street(tx: MemoryTx | None = None) -> MemoryTx:
    tx = tx or MemoryTx()
    for number in range(METERS):
        tx.save_meter(Meter(f"M{number}", "a", f"{number:012}", "dlt645-2007", "p", None, f"P{number}", SwitchKind.INTERNAL, "a"))
    return tx


async def test_a_thousand_signed_cuts_in_ten_seconds_cut_the_share_of_one_key() -> None:
    tx, stolen, watch = street(), Signer("stolen", 1), Signer("watch", 2)
    tx.save_uplink_key(stolen.key(holder="the centre"))
    tx.save_uplink_key(watch.key(holder="the watch", verbs=("stop", "go", "release", "refuse")))
    gateway, alarmed_ms = Gateway(tx), None
    for number in range(METERS):
        gateway.now_ms = T0 + 10 * number
        if number == METERS // 2:
            now_ms = gateway.now_ms
            gateway = Gateway(tx)  # a restart in between changes nothing
            gateway.now_ms = now_ms
        await gateway.send(stolen.signed(stolen.fields(f"c-{number}", gateway.now_ms, meter=f"M{number}")))
        if alarmed_ms is None and tx.finding(FindingKind.QUARANTINED, "uplink:stolen") is not None:
            alarmed_ms = gateway.now_ms
    assert gateway.states() == {CommandState.QUEUED: SHARE, CommandState.QUARANTINED: METERS - SHARE}
    assert alarmed_ms is not None and alarmed_ms - T0 < 5000

    stop = watch.fields("stop-1", gateway.now_ms, verb="stop", meter=None, args=None, expires_at=None)
    assert (await gateway.send(watch.signed(stop))).why is None
    assert stopped(tx) == "fire brigade (uplink:watch)"
    for command in [each for each in tx.kept_commands.values() if each.state is CommandState.QUEUED]:
        start_command(tx, command.id, gateway.site, gateway.now_ms + 1000)
    cuts = [each.state for each in tx.kept_commands.values() if each.verb is Verb.CUT]
    assert {state: cuts.count(state) for state in set(cuts)} == {
        CommandState.CANCELLED: SHARE,
        CommandState.QUARANTINED: METERS - SHARE,
    }
    said = await gateway.send(stolen.signed(stolen.fields("c-after", gateway.now_ms, meter="M999")))
    assert said.why is Why.NOT_PERMITTED and "cuts are stopped" in str(said.refused)


async def test_a_stop_that_overtook_the_cuts_of_its_own_key_leaves_each_of_them_its_own_answer() -> None:
    tx, stolen = street(), Signer("stolen", 1)
    tx.save_uplink_key(stolen.key())
    gateway = Gateway(tx)
    cuts = [stolen.signed(stolen.fields(f"c-{number}", T0, meter=f"M{number}")) for number in range(2 * SHARE)]
    stop = stolen.signed(stolen.fields("stop-1", T0 + 5, verb="stop", meter=None, args=None, expires_at=None))
    for token in cuts[:2]:
        assert (await gateway.send(token)).why is None
    gateway.now_ms = T0 + 10
    assert (await gateway.send(stop)).why is None
    for token in cuts[2:]:
        said = await gateway.send(token)
        assert said.why is Why.NOT_PERMITTED and str(said.refused).endswith("cuts are stopped: fire brigade (uplink:stolen)")
    gateway = Gateway(tx)  # the connection broke before they were acknowledged: all come again, each is told the same
    gateway.now_ms = T0 + 20
    for token in cuts[:2]:
        said = await gateway.send(token)
        assert said.again and said.command is not None and said.command.state is CommandState.QUEUED
    for token in (*cuts[2:], stop):
        said = await gateway.send(token)
        assert said.again and said.why is (None if token == stop else Why.NOT_PERMITTED)
    for number in range(2):
        start_command(tx, f"c-{number}", gateway.site, gateway.now_ms)
    assert {each.state for each in tx.kept_commands.values() if each.verb is Verb.CUT} == {CommandState.CANCELLED}


async def test_only_another_holders_key_releases_and_the_expiry_runs_on() -> None:
    tx, first = street(), Signer("first", 1)
    sister, other = Signer("sister", 2), Signer("other", 3)
    for signer, holder in ((first, "the centre"), (sister, "the centre"), (other, "the watch")):
        tx.save_uplink_key(signer.key(holder=holder))
    gateway = Gateway(tx)
    for number in range(SHARE + 2):
        await gateway.send(first.signed(first.fields(f"c-{number}", T0, meter=f"M{number}")))
    waits, late = f"c-{SHARE}", f"c-{SHARE + 1}"

    def release(signer: Signer, ident: str, of: str) -> bytes:
        return signer.signed(signer.fields(ident, gateway.now_ms, verb="release", meter=None, args={"id": of}, expires_at=None))

    for signer in (first, sister):
        said = await gateway.send(release(signer, f"r-{signer.kid}", waits))
        assert said.why in (Why.NO_RIGHT, Why.NOT_PERMITTED) and "another" in str(said.refused)
    assert (await gateway.send(release(other, "r-1", waits))).why is None
    command = tx.command(waits)
    assert command is not None and command.state is CommandState.QUEUED
    gateway.now_ms = T0 + 400_000
    said = await gateway.send(release(other, "r-2", late))
    assert said.why is Why.NOT_PERMITTED and "expired" in str(said.refused)


async def test_cancel_takes_back_what_has_not_left() -> None:
    tx, centre = street(), Signer("centre", 1)
    tx.save_uplink_key(centre.key())
    gateway = Gateway(tx)
    for ident, meter in (("c-1", "M1"), ("c-2", "M2")):
        await gateway.send(centre.signed(centre.fields(ident, T0, meter=meter)))
    left = tx.command("c-2")
    assert left is not None
    tx.save_command(replace(left, state=CommandState.SENT, attempts=1))
    for ident, of, why in (("x-1", "c-1", None), ("x-2", "c-2", Why.NOT_PERMITTED), ("x-3", "c-9", Why.NOT_PERMITTED)):
        said = await gateway.send(
            centre.signed(centre.fields(ident, T0, verb="cancel", meter=None, args={"id": of}, expires_at=None))
        )
        assert said.why is why
    command, freed = tx.command("c-1"), tx.meter("M1")
    assert command is not None and command.state is CommandState.CANCELLED
    assert freed is not None and freed.cut_reasons == ()


class Frugal(MemoryTx):
    """Whoever reads all that waits, or all that is open, pays for it with every cut of a raid."""

    def approvals(self, limit: int, *, asked: bool = False) -> Sequence[Approval]:
        raise AssertionError(f"{limit} approvals are read")

    def open_commands(self, *, line: str | None = None, meter: str | None = None) -> Sequence[Command]:
        assert meter is not None, "all open commands are read"
        return super().open_commands(meter=meter)

    def queued_cuts(self) -> Sequence[Command]:
        return [each for each in super().open_commands() if (each.state, each.attempts) == (CommandState.QUEUED, 0)]


async def test_a_cut_in_a_raid_costs_the_same_however_many_wait() -> None:
    tx, thief, watch = street(Frugal()), Signer("stolen", 1), Signer("watch", 2)
    for signer in (thief, watch):
        tx.save_uplink_key(signer.key())
    gateway = Gateway(tx)
    for number in range(SHARE + 3):
        await gateway.send(thief.signed(thief.fields(f"c-{number}", T0, meter=f"M{number}")))
    for number in range(SHARE, SHARE + 3):
        said = await gateway.send(
            watch.signed(watch.fields(f"r-{number}", T0, verb="refuse", meter=None, args={"id": f"c-{number}"}, expires_at=None))
        )
        assert said.why is None
        assert (tx.finding(FindingKind.QUARANTINED, "uplink:stolen") is None) is (number == SHARE + 2), "it ends with the last"
