"""Examines a line: tries speeds, parities, preamble and dialects until something explains what is heard (`wattgate doctor`)."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.adapters.clock import Clock
from gateway.adapters.line_tools.diagnosis import Evidence, Finding, Trial, Verdict, answered, conclude, within_limits
from gateway.adapters.line_tools.modbus_search import search_units
from gateway.adapters.line_tools.place import PARITIES, SPEEDS, Place, Setting
from gateway.adapters.line_tools.probe import Heard, Probe, one_answer
from gateway.adapters.line_tools.search import ENERGY, Tell
from gateway.adapters.lines.driver import LATEST_MS, Driver
from gateway.adapters.lines.transport import LineDown
from protocols.dlt645.frames import ANY, Dialect
from protocols.dlt645.master import Read

UNASKED_MS = 1_000
"""Listened to before the first question: another master asks more often than that."""

PATIENCE_MS = 1_500
"""At the setting that was given: thrice what the standard allows, to tell late from silent."""

OTHERS_MS = 700
"""At the settings that are only tried."""

MODBUS = Setting(9600, "N")
"""What most Modbus meters leave the works with."""

MAX_UNIT = 247


class Doctor:
    """One examination. address: 12 digits, None for whoever is there; dialect: the one that was named."""

    def __init__(self, place: Place, tell: Tell, address: str | None = None, dialect: Dialect | None = None) -> None:
        self._place, self._tell = place, tell
        self._address, self._dialect = address, dialect
        self._dialects = tuple(sorted(Dialect, key=lambda d: d is not dialect)) if dialect else tuple(Dialect)
        self.trials: list[Trial] = []

    async def examine(self) -> Verdict:
        """The finding; never raises for what is wrong with the line."""
        try:
            unasked = await self._at_given()
            if answered(self.trials, self._address) is None and self._place.settable:
                await self._elsewhere()
            modbus = None if any(t.answers or t.heard.garbled for t in self.trials) else await self._modbus()
        except LineDown as down:
            return Verdict(Finding.LINE, str(down))
        evidence = Evidence(self._place, self._address, self._dialect, unasked, self.trials, modbus)
        return within_limits(self._place, conclude(evidence))

    async def _at_given(self) -> Heard:
        probe = await self._open(self._place.setting)
        try:
            unasked = await probe.listen(0 if self._place.through else UNASKED_MS)
            for preamble in (4, 0):
                # behind a converter a late answer would be taken for that of the next trial
                patience_ms = LATEST_MS + OTHERS_MS if preamble and self._place.converted else PATIENCE_MS
                for dialect in self._dialects:
                    await self._try(probe, self._place.setting, dialect, preamble, self._address or ANY, patience_ms)
                    if self._found():
                        await self._look_closer(probe)
                        return unasked
            if self._address:
                for dialect in self._dialects:
                    await self._try(probe, self._place.setting, dialect, 4, ANY, PATIENCE_MS)
            if any(t.heard.garbled for t in self.trials):
                await self._again(probe)
            return unasked
        finally:
            await probe.close()

    async def _look_closer(self, probe: Probe) -> None:
        """It answers; does it need the preamble?"""
        trial = self.trials[-1]
        if trial.preamble:
            await self._try(probe, trial.setting, trial.dialect, 0, trial.address, PATIENCE_MS)

    async def _again(self, probe: Probe) -> None:
        """The garbled question once more: the same bytes mean a wrong setting, others mean a collision."""
        trial = next(t for t in self.trials if t.heard.garbled)
        await self._try(probe, trial.setting, trial.dialect, trial.preamble, trial.address, PATIENCE_MS)

    async def _elsewhere(self) -> None:
        for setting in _other_settings(self._place.setting):
            probe = await self._open(setting)
            try:
                for dialect in self._dialects:
                    await self._try(probe, setting, dialect, 4, self._address or ANY, OTHERS_MS)
                    if self._found():
                        return
            finally:
                await probe.close()

    async def _modbus(self) -> str | None:
        """Only units can be asked: the one that was named, else the one that devices leave the works with."""
        unit = int(self._address) if self._address and 0 < int(self._address) <= MAX_UNIT else 1
        settings = [self._place.setting, MODBUS] if self._place.settable else [self._place.setting]
        for place in (self._place.at(setting) for setting in settings):
            driver = Driver(place.transport(), baud=place.baud, clock=Clock(), latency_ms=place.latency_ms, numbered=place.numbered)
            if why := await driver.ensure_open():
                raise LineDown(why)
            try:
                found = await search_units(driver, "rtu", [unit])
            finally:
                await driver.close()
            if found:
                return f"unit {found[0].unit} {place.how}, {found[0].says}"
        return None

    async def _open(self, setting: Setting) -> Probe:
        place = self._place.at(setting)
        self._tell(f"asking {place.name} {place.how}")
        probe = Probe(place.transport(PATIENCE_MS), place.baud)
        await probe.open()
        return probe

    async def _try(self, probe: Probe, setting: Setting, dialect: Dialect, preamble: int, address: str, patience_ms: int) -> None:
        question = Read(address, ENERGY[dialect], preamble).start()
        anybody = address == ANY
        heard = await probe.ask(
            question, first_ms=patience_ms, others_ms=OTHERS_MS if anybody else None, until=None if anybody else one_answer
        )
        self.trials.append(Trial(setting, dialect, preamble, address, heard, probe.byte_us))

    def _found(self) -> bool:
        return bool(self.trials[-1].answers)


def _other_settings(given: Setting) -> Sequence[Setting]:
    """The given speed with the other parities first, then every other speed with even, then without parity."""
    same = [Setting(given.baud, parity) for parity in PARITIES]
    others = [Setting(baud, parity) for parity in ("E", "N") for baud in SPEEDS if baud != given.baud]
    return [setting for setting in (*same, *others) if setting != given]
