"""Laser path: enable through the interlock, power and bias DACs, photodiode and thermometer."""

from __future__ import annotations

from amaranth import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from . import chip_medium
from .interlock import EVENT_CLOCKS, Interlock
from .monitor import WEIGHT_BITS, Monitor
from .protocol.errors import Code
from .protocol.registers import PLANT_SOURCES
from .registerfile import RegisterFile
from .spi import AdcDriver, Mcp4921
from .spi.common import ADC_BITS, ADC_CHANNELS
from .watchdog import ExposureWatchdog

LASER_STATE = data.StructLayout({"laser_on": 1, "armed": 1, "interlock_closed": 1, "heartbeat_fresh": 1, "tripped": 1})
"""Bits of the register ``status``, by name; ``interlock_closed`` is the loop, synchronised."""

TRIP_CLOCKS = EVENT_CLOCKS + 1
"""``laser_enable`` is low so many clocks after ``link_reset`` or ``panel_fault`` rose, an exposure was too long, or the
ADC's driver had a reading above ``monitor_limit``."""
CODE_CLOCKS = 1
"""The DACs' codes are zero so many clocks after ``laser_enable`` fell."""

LASER_PINS = {
    "interlock_closed": In(1),
    "laser_enable": Out(1),
    "dac_cs_n": Out(1),
    "dac_sck": Out(1),
    "dac_sdi": Out(1),
    "bias_cs_n": Out(1),
    "bias_sck": Out(1),
    "bias_sdi": Out(1),
    "adc_cs_n": Out(ADC_CHANNELS),
    "adc_sck": Out(1),
    "adc_sdi": Out(1),
    "adc_dout": In(1),
}
"""Of interlock, laser, its two DACs and the ADC."""


class LaserPath(wiring.Component):
    """The laser and what watches it.

    While the laser is off both DACs hold 0, the bias too: a diode biased near its threshold already glows. Each DAC has
    pins of its own, so that none waits for the other on its way to 0.

    Parameters
    ----------
    clock_hz : frequency of ``sync``.
    regs : the register file, a sibling.
    adc : driver of the ADC.

    Ports
    -----
    laser_enable, dac_*, bias_*, adc_* : pins. interlock_closed : the loop's pin, asynchronous.
    refresh : strobe: a valid packet came.
    link_reset : the link is reset: the laser trips, and is not armed.
    panel_fault : what the panel shows is not known: so too.
    shot_take, shot_exposure_cycles, trigger : shots as the exposer takes them, and the trigger, for the watchdog.
    exposure_begins : strobe: read the photodiode.
    analog_ready : the DACs hold what they shall.
    monitor_pending, reading, reading_stb, weight : the photodiode's reading of the last exposure; see
        :class:`~openopu_rtl.monitor.Monitor`.
    state : for the status register and the records.
    """

    def __init__(self, clock_hz: int, regs: RegisterFile, adc: type[AdcDriver]):
        self.clock_hz = clock_hz
        self.regs = regs
        self.adc = adc
        super().__init__(
            {
                **LASER_PINS,
                "refresh": In(1),
                "link_reset": In(1),
                "panel_fault": In(1),
                "shot_take": In(1),
                "shot_exposure_cycles": In(32),
                "trigger": In(1),
                "exposure_begins": In(1),
                "analog_ready": Out(1),
                "monitor_pending": Out(1),
                "reading": Out(ADC_BITS),
                "reading_stb": Out(1),
                "weight": Out(WEIGHT_BITS),
                "state": Out(LASER_STATE),
                "timestamp": In(32),
            }
        )

    def elaborate(self, platform):
        m = Module()
        regs = self.regs
        m.submodules.interlock = interlock = Interlock()
        m.submodules.watchdog = watchdog = ExposureWatchdog()
        m.submodules.dac = dac = Mcp4921(self.clock_hz)
        m.submodules.bias = bias = Mcp4921(self.clock_hz)
        m.submodules.adc = adc = self.adc(self.clock_hz)
        m.submodules.monitor = monitor = Monitor(self.clock_hz)
        simulated = Signal()
        m.d.comb += [
            interlock.unlock.eq(regs.laser_unlock_try),
            interlock.arm.eq(regs.laser_arm_try),
            interlock.key.eq(regs.w_data),
            # Simulated light needs no laser: as long as it is, none can be armed. Its photodiode is simulated too.
            simulated.eq(regs.plant_source != PLANT_SOURCES["camera"]),
            interlock.disarm.eq(regs.laser_disarm_try | simulated),
            regs.laser_unlock_code.eq(Mux(simulated, Code.PLANT_SIMULATED, interlock.unlock_code)),
            regs.laser_arm_code.eq(Mux(simulated, Code.PLANT_SIMULATED, interlock.arm_code)),
            interlock.interlock_closed.eq(self.interlock_closed),
            watchdog.take.eq(self.shot_take),
            watchdog.exposure_cycles.eq(self.shot_exposure_cycles),
            watchdog.trigger.eq(self.trigger),
            interlock.refresh.eq(self.refresh),
            interlock.heartbeat_cycles.eq(regs.heartbeat_cycles),
            self.laser_enable.eq(interlock.laser_on),
            self.analog_ready.eq(dac.settled & bias.settled),
            self.dac_cs_n.eq(dac.cs_n),
            self.dac_sck.eq(dac.sck),
            self.dac_sdi.eq(dac.sdi),
            self.bias_cs_n.eq(bias.cs_n),
            self.bias_sck.eq(bias.sck),
            self.bias_sdi.eq(bias.sdi),
            monitor.begin.eq(self.exposure_begins),
            monitor.laser_on.eq(interlock.laser_on),
            monitor.reference.eq(regs.monitor_reference),
            monitor.value.eq(Mux(simulated & monitor.light_stb, chip_medium.MONITOR, adc.value)),
            monitor.done.eq(adc.done),
            adc.start.eq(monitor.start),
            adc.channel.eq(monitor.channel),
            adc.dout.eq(self.adc_dout),
            self.adc_cs_n.eq(adc.cs_n),
            self.adc_sck.eq(adc.sck),
            self.adc_sdi.eq(adc.sdi),
            self.monitor_pending.eq(monitor.pending),
            self.reading.eq(monitor.reading),
            self.reading_stb.eq(monitor.reading_stb),
            self.weight.eq(monitor.weight),
            regs.monitor_live.eq(monitor.live),
            regs.temperature.eq(monitor.temperature),
            regs.trip_cause.eq(interlock.cause),
            regs.laser_trips_inc.eq(interlock.trip),
        ]
        m.d.comb += [
            self.state.laser_on.eq(interlock.laser_on),
            self.state.armed.eq(interlock.armed),
            self.state.interlock_closed.eq(interlock.closed),
            self.state.heartbeat_fresh.eq(interlock.fresh),
            self.state.tripped.eq(interlock.tripped),
        ]
        # Events come from afar: each through a register.
        m.d.sync += [
            interlock.link_reset.eq(self.link_reset),
            interlock.sequencer_fault.eq(self.panel_fault | watchdog.fault),
            interlock.over_power.eq(monitor.light_stb & (adc.value > regs.monitor_limit)),
            dac.code.eq(Mux(interlock.laser_on, regs.laser_power, 0)),
            bias.code.eq(Mux(interlock.laser_on, regs.laser_bias, 0)),
        ]
        with m.If(interlock.trip):
            m.d.sync += regs.trip_time.eq(self.timestamp)
        return m
