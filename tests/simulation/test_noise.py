"""A month of byte errors: every day's registers are read all the same, and nothing false is stored as confirmed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.domain.events import EventKind
from gateway.domain.jobs import Group, ReadJob, Want
from gateway.domain.readings import Source
from gateway.domain.schemes import SlotState
from gateway.domain.slots import DAY_MS, MINUTE_MS
from tests.conftest import Figure
from tests.simulation.virtual_loop import in_virtual_time
from tests.simulation.whole_gateway import BORN_MS, ONLY_FREEZES, Pair, Polls, WholeGateway

ROUND_MS = 20 * MINUTE_MS
"""A freeze read so soon after its midnight was read in the first round, which begins at 00:05."""

CATCH_UP_H = 24
"""What may still be missing after the last morning is read within a day or never."""


@dataclass(frozen=True, slots=True)
class Noise:
    """nights, meters: of the long form. complete, first: the least share of meter-days read at all, and in the first round;
    answered: of questions, at the first try."""

    share: float
    complete: float
    first: float
    answered: float
    meters: int
    polls: Polls
    nights: int = 30

    def whole(self, group: Group) -> float:
        """How likely a question and its answer both come whole, whatever a gateway does."""
        return float((1 - self.share) ** (QUESTION_BYTES + ANSWER_BYTES[group]))


QUESTION_BYTES = 16
ANSWER_BYTES = {Group.BILLING: 36, Group.INSTANT: 19, Group.SWITCH: 18}
"""Total and four rates, three bytes of a power, status word 3: frames of dlt645.md 2 without their FE, which may be hit."""

STRESS, BAD, FIELD = (
    Noise(0.05, 0.999, 0.0, 0.0, 10, Polls(1800, 21_600, 21_600)),
    Noise(0.01, 0.99999, 0.5, 0.0, 20, Polls(3600, 21_600, 21_600)),
    Noise(0.001, 0.9999, 0.96, 0.96, 20, Polls(7200, 480, 2400)),
)
"""The field's has the shipped scheme's mix of questions, at an eighth of its pace; the others are about freezes."""


@in_virtual_time
async def month(folder: Path, noise: Noise, figure: Figure) -> None:
    pair = Pair("rs", noise.meters, noise=noise.share)
    async with WholeGateway(folder, [pair], noise.polls, ONLY_FREEZES, patient=True) as gateway:
        await gateway.run((10 + 24 * (noise.nights - 1)) * 3600)  # until 07:00 after the last night
        for _ in range(CATCH_UP_H):
            if not gateway.missing():
                break
            await gateway.run(3600)
        slots = [slot for slot in gateway.slots() if slot.at_ms < BORN_MS + noise.nights * DAY_MS]
        wanted = noise.meters * noise.nights
        assert len(slots) == wanted
        read = [slot for slot in slots if slot.state is SlotState.READ]
        lost = [slot for slot in slots if slot.state is SlotState.UNAVAILABLE]
        first = sum(slot.read_ms is not None and slot.read_ms - slot.at_ms <= ROUND_MS for slot in read)
        at_once = sum(not slot.tries for slot in read)
        stored = [reading for name in gateway.names for reading in gateway.readings(name)]
        wrong, false = gateway.auditor.wrong(stored), gateway.auditor.false(stored)
        heard = sum(done.answered for done in gateway.auditor.done) / len(gateway.auditor.done)
        live = Counter(done.job.group for done in gateway.auditor.done if isinstance(done.job, ReadJob))
        came = sum(done.answered for done in gateway.auditor.done if isinstance(done.job, ReadJob)) / live.total()
        whole = sum(noise.whole(group) * count for group, count in live.items()) / live.total()
        figure("byte errors, meter-days, read, told as lost", f"{noise.share:.1%}, {wanted}, {len(read)}, {len(lost)}")
        figure("of these in the first round, without any question in vain", f"{first / wanted:.2%}, {at_once / wanted:.2%}")
        figure("questions, answered at the first try", f"{len(gateway.auditor.done)}, {heard:.2%}")
        figure("live ones of them, answered, and what whole blocks allow", f"{live.total()}, {came:.2%}, {whole:.2%}")
        figure("exchanges of a block of rates that can come whole", f"{noise.whole(Group.BILLING):.2%}")
        figure("false registers accepted by the checksum, stored as confirmed", f"{len(gateway.auditor.lies)}, {len(wrong)}")
        figure("false freezes that were not held to be suspect", len(false))
        figure("readings stored", dict(Counter(str(each.quality) for each in stored)))
        assert wrong == [] and false == []
        assert len(read) >= noise.complete * wanted, [slot for slot in slots if slot.state is not SlotState.READ]
        assert first >= noise.first * wanted
        assert heard >= noise.answered
        assert gateway.wire("rs").counters.collisions == 0


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("noise", [STRESS, BAD, FIELD], ids=lambda noise: f"{noise.share:.1%}")
def test_thirty_days_of_noise(tmp_path: Path, noise: Noise, figure: Figure, pytestconfig: pytest.Config) -> None:
    """Every day one night and a few meters, with the first days of the same month."""
    proof = bool(pytestconfig.getoption("proof"))
    quick = replace(noise, nights=1, meters=noise.meters // 5, first=noise.first - 0.2, answered=noise.answered - 0.03)
    month(tmp_path, noise if proof else quick, figure)


@in_virtual_time
async def outage(folder: Path, hours: int, figure: Figure) -> None:
    """A gateway that collects everything, on a line that is noisy even when it is there."""
    pairs = [Pair("rs", 3, noise=0.005), Pair("other", 1)]
    async with WholeGateway(folder, pairs, Polls(900, 900, 900), patient=True) as gateway:
        await gateway.run(3600)
        gateway.street.lines["rs"].unplug()
        await gateway.run(3600 * hours)
        back_ms = gateway.clock.now_ms()
        there = len(gateway.readings("other-1"))
        gateway.street.lines["rs"].plug()
        wants = (Want.DAY, Want.MONTH, Want.CURVE)
        assert len([slot for slot in gateway.missing(Want.CURVE) if slot.at_ms <= back_ms]) >= 3 * 4 * (hours - 2)
        while [slot for want in wants for slot in gateway.missing(want) if slot.at_ms <= back_ms]:
            await gateway.run(300)
            assert gateway.clock.now_ms() < back_ms + hours * 3_600_000, "not refilled in the time that it lasted"
        took_h = (gateway.clock.now_ms() - back_ms) / 3_600_000
        figure(f"hours until an outage of {hours} h was refilled, at 0.5 % byte errors", took_h)
        stored = [reading for name in gateway.names for reading in gateway.readings(name)]
        curve = sum(each.reading.source is Source.CURVE for each in stored)
        figure("points of curves stored, false ones among them that were not held to be suspect",
               f"{curve}, {len(gateway.auditor.false_points(stored))}")  # fmt: skip
        assert gateway.auditor.wrong(stored) == []
        assert there >= 3 * 4 * hours, "the other line has not noticed"
        assert [event.data["line"] for event in gateway.events(EventKind.LINE_DOWN, EventKind.LINE_UP)] == ["rs", "rs"]


@pytest.mark.timeout(1800)
def test_an_outage_of_a_noisy_line_is_refilled_too(tmp_path: Path, figure: Figure, pytestconfig: pytest.Config) -> None:
    outage(tmp_path, 72 if pytestconfig.getoption("proof") else 6, figure)
