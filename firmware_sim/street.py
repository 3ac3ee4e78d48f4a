"""Builds the whole street from its configuration: stations, their firmware, and what hangs on which line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random

from firmware_sim.bus import Bus
from firmware_sim.config import MeterConfig, SimConfig
from firmware_sim.dlt645.device import Device
from firmware_sim.dlt645.option_table import MODEL_1997
from firmware_sim.dlt645.options import as_new
from firmware_sim.dlt645_1997 import Dlt645Unit1997
from firmware_sim.dlt645_firmware import Dlt645Unit
from firmware_sim.meter import Meter
from firmware_sim.modbus_firmware import Channel, Dds238, Measuring, RelayModule, Sdm630
from firmware_sim.modbus_prepaid import Ddsy1352
from firmware_sim.station import Station
from firmware_sim.wire import Wire

MODBUS: dict[str, type[Measuring]] = {"sdm630": Sdm630, "dds238": Dds238, "ddsy1352": Ddsy1352}


class Street:
    """Every meter by id and every bus by line id.

    now_us: monotonic start. unix_us: wall clock at that moment. saved: states by meter id.
    Raises ValueError when a saved state does not fit its meter.
    """

    def __init__(self, config: SimConfig, now_us: int, unix_us: int, saved: Mapping[str, object] | None = None) -> None:
        self.config = config
        self.unix_at_zero_us = unix_us - now_us
        self.stations: dict[str, Station] = {}
        self._swaps = 0
        self.buses = {line.name: Bus(line.baud, line.follow_speed) for line in config.lines}
        self._configs = {meter.name: meter for meter in config.meters}
        self._delays = {line.name: line.delay for line in config.lines}
        local_us = unix_us + config.utc_offset_min * 60_000_000
        for meter in config.meters:
            self._add(meter, now_us, local_us, (saved or {}).get(meter.name))
        for meter in config.meters:
            self._wire_switch(meter)

    def unix_us(self, now_us: int) -> int:
        """Wall clock of a monotonic moment, counted from the start so that both rise evenly."""
        return self.unix_at_zero_us + now_us

    def configured_load(self, name: str) -> None:
        """Give the meter back the load of its configuration, begun anew."""
        station = self.stations[name]
        station.meter.set_load(self._configs[name].load(self.rng(name, "load"), station.meter.local_us))

    def set_baud(self, line: str, wire: Wire, baud: int) -> None:
        """The master of this line sends at another speed; meters that were told another one no longer understand it."""
        wire.baud = self.buses[line].baud = baud

    def swap(self, name: str, initial_mws: int, address: str) -> None:
        """Put another meter of the same kind in the place of this one: new registers, clock and firmware, the same load."""
        station, config = self.stations[name], self._configs[name]
        old = station.meter
        self._swaps += 1
        rng = self.rng(name, f"meter {self._swaps}")
        meter = Meter(replace(config.spec, initial_mws=initial_mws), old.load, rng, old.now_us, old.local_us)
        if config.switch:
            meter.relay = old.relay  # the contactor beside the meter stays where it was
        meter.set_levels(old.levels)
        station.put(meter, Device(meter, as_new(config.options, address), rng) if config.options else None)
        bus = self.buses[config.line]
        for unit in bus.units:
            if unit.station is station and station.device:
                unit.firmware = station.device
        bus.index()

    def rng(self, name: str, use: str) -> Random:
        """Randomness of its own for one use of one thing, always the same for one seed."""
        return Random(f"{self.config.seed}:{name}:{use}")

    def _add(self, config: MeterConfig, now_us: int, local_us: int, saved: object) -> None:
        load = config.load(self.rng(config.name, "load"), local_us)
        meter = Meter(config.spec, load, self.rng(config.name, "meter"), now_us, local_us)
        delay = config.delay or self._delays[config.line]
        station = Station(config.name, config.model, config.line, config.address, meter, delay, self.rng(config.name, "delay"))
        if config.options:
            station.device = Device(meter, config.options, self.rng(config.name, "chip"))
        if saved is not None:
            try:
                station.restore(saved)
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise ValueError(f"The saved state of meter {config.name} does not fit it: {error}.") from error
        self.stations[config.name] = station
        bus = self.buses[config.line]
        if station.device:
            unit = Dlt645Unit1997 if config.model == MODEL_1997 else Dlt645Unit
            bus.add_dlt645(unit(station, station.device))
        else:
            bus.add_modbus(int(config.address), MODBUS[config.model](station, int(config.address)))

    def _wire_switch(self, config: MeterConfig) -> None:
        """Put the coil module of a switch on its line, once, and connect its channel."""
        switch = config.switch
        if switch is None:
            return
        bus = self.buses[switch.line]
        module = bus.modbus.get(switch.unit)
        if not isinstance(module, RelayModule):
            module = RelayModule(switch.unit, self._delays[switch.line], self.rng(f"{switch.line}/{switch.unit}", "delay"))
            bus.add_modbus(switch.unit, module)
        module.coils[switch.coil] = Channel(self.stations[config.name], switch.inverted)
        module.inputs[switch.input] = self.stations[config.name]
