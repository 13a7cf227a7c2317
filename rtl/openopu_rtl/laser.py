"""Laser path: enable through the interlock, power DAC, monitor photodiode."""

from __future__ import annotations

from amaranth import Module, Mux
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .interlock import Interlock
from .registerfile import RegisterFile
from .spi import Mcp3201, Mcp4921
from .watchdog import ExposureWatchdog

LASER_STATE = data.StructLayout({"laser_on": 1, "armed": 1, "interlock_closed": 1, "heartbeat_fresh": 1, "tripped": 1})
"""Bits of the register ``status``, by name; ``interlock_closed`` is the loop, synchronised."""


class LaserPath(wiring.Component):
    """The laser and what watches it.

    Parameters
    ----------
    clock_hz : frequency of ``sync``.
    regs : the register file, a sibling.

    Ports
    -----
    laser_enable, dac_*, adc_* : pins. interlock_closed : the loop's pin, asynchronous.
    refresh : strobe: a valid packet came.
    link_reset : the link is reset: the laser trips, and is not armed.
    panel_fault : what the panel shows is not known: so too.
    shot_take, shot_exposure_cycles, trigger : shots as the exposer takes them, and the trigger, for the watchdog.
    exposure_ended : strobe: read the photodiode.
    analog_ready : the DAC holds what it shall. monitor, monitor_busy : the photodiode's last reading; one is made.
    state : for the status register and the records.
    """

    def __init__(self, clock_hz: int, regs: RegisterFile):
        self.regs = regs
        self.dac = Mcp4921(clock_hz)
        self.adc = Mcp3201(clock_hz)
        super().__init__(
            {
                "interlock_closed": In(1),
                "laser_enable": Out(1),
                "dac_cs_n": Out(1),
                "dac_sck": Out(1),
                "dac_sdi": Out(1),
                "adc_cs_n": Out(1),
                "adc_sck": Out(1),
                "adc_dout": In(1),
                "refresh": In(1),
                "link_reset": In(1),
                "panel_fault": In(1),
                "shot_take": In(1),
                "shot_exposure_cycles": In(32),
                "trigger": In(1),
                "exposure_ended": In(1),
                "analog_ready": Out(1),
                "monitor": Out(12),
                "monitor_busy": Out(1),
                "state": Out(LASER_STATE),
                "timestamp": In(32),
            }
        )

    @property
    def monitor_clocks(self) -> int:
        """Most clocks from ``exposure_ended`` until its reading is there."""
        return self.adc.conversion_clocks

    def elaborate(self, platform):
        m = Module()
        regs, dac, adc = self.regs, self.dac, self.adc
        m.submodules.interlock = interlock = Interlock()
        m.submodules.watchdog = watchdog = ExposureWatchdog()
        m.submodules.dac = dac
        m.submodules.adc = adc
        m.d.comb += [
            interlock.unlock.eq(regs.laser_unlock_try),
            interlock.arm.eq(regs.laser_arm_try),
            interlock.key.eq(regs.w_data),
            interlock.disarm.eq(regs.laser_disarm_try),
            regs.laser_unlock_code.eq(interlock.unlock_code),
            regs.laser_arm_code.eq(interlock.arm_code),
            interlock.interlock_closed.eq(self.interlock_closed),
            interlock.link_reset.eq(self.link_reset),
            interlock.over_power.eq(adc.done & (adc.value > regs.monitor_limit)),
            interlock.sequencer_fault.eq(self.panel_fault | watchdog.fault),
            watchdog.take.eq(self.shot_take),
            watchdog.exposure_cycles.eq(self.shot_exposure_cycles),
            watchdog.trigger.eq(self.trigger),
            interlock.refresh.eq(self.refresh),
            interlock.heartbeat_cycles.eq(regs.heartbeat_cycles),
            self.laser_enable.eq(interlock.laser_on),
            dac.code.eq(Mux(interlock.laser_on, regs.laser_power, 0)),
            self.analog_ready.eq(dac.settled),
            self.dac_cs_n.eq(dac.cs_n),
            self.dac_sck.eq(dac.sck),
            self.dac_sdi.eq(dac.sdi),
            adc.start.eq(self.exposure_ended),
            adc.dout.eq(self.adc_dout),
            self.adc_cs_n.eq(adc.cs_n),
            self.adc_sck.eq(adc.sck),
            self.monitor.eq(adc.value),
            self.monitor_busy.eq(adc.busy | adc.start),
            regs.monitor.eq(adc.value),
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
        with m.If(interlock.trip):
            m.d.sync += regs.trip_time.eq(self.timestamp)
        return m
