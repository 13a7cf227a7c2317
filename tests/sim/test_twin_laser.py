"""The twin at byte level: when its laser is on."""

from __future__ import annotations

import numpy as np
from openopu_rtl.protocol import (
    PROTOCOL_HASH,
    REGISTERS,
    Code,
    Format,
    decode_records,
)
from openopu_rtl.protocol.registers import TRIP_CAUSES
from openopu_rtl.protocol.shots import complement

from .twin_host import SMALL, Host, planes_of, refused, split


def test_laser_is_dark_until_armed():
    host = Host()
    program = complement(1).replace(exposure_cycles=3000)
    host.configure(program)
    host.set(laser_disarm=0)
    refused(host.write(REGISTERS["laser_arm"].address, PROTOCOL_HASH ^ 1), Code.ARM_KEY, REGISTERS["laser_arm"].address)
    assert host.status() == {"interlock_closed", "heartbeat_fresh"}
    form = Format(SMALL.outputs, 16)
    records = []
    for arm in (False, True):
        if arm:
            host.set(laser_unlock=PROTOCOL_HASH, laser_arm=PROTOCOL_HASH)
            assert host.status() == {"interlock_closed", "heartbeat_fresh", "armed", "laser_on"}
        host.project(planes_of(1, 1))
        (result,) = split(host.twin.run())
        records.append(decode_records(result.payload, form)[1])
    dark, lit = records
    assert dark.head["flags"] == 0
    assert lit.head["flags"] == 1
    assert lit.head["monitor"] > 1000 > 10 >= dark.head["monitor"]
    assert np.abs(lit.values).mean() > 10 * np.abs(dark.values).mean()


def test_arming_takes_two_steps(host):
    unlock, arm = REGISTERS["laser_unlock"].address, REGISTERS["laser_arm"].address
    refused(host.write(arm, PROTOCOL_HASH), Code.ARM_ORDER, arm)
    refused(host.write(unlock, PROTOCOL_HASH ^ 1), Code.ARM_KEY, unlock)
    refused(host.write(arm, PROTOCOL_HASH), Code.ARM_ORDER, arm)
    host.set(laser_unlock=PROTOCOL_HASH, laser_disarm=0)
    refused(host.write(arm, PROTOCOL_HASH), Code.ARM_ORDER, arm)
    host.set(laser_unlock=PROTOCOL_HASH)
    refused(host.write(arm, PROTOCOL_HASH ^ 1), Code.ARM_KEY, arm)
    refused(host.write(arm, PROTOCOL_HASH), Code.ARM_ORDER, arm)
    # No single packet holds both steps in their order.
    assert unlock > arm
    assert "armed" not in host.status()
    host.set(laser_unlock=PROTOCOL_HASH, laser_power=1, laser_arm=PROTOCOL_HASH)
    assert {"laser_on", "armed"} <= host.status()


def test_interlock_trips_and_latches(host):
    host.configure(complement(1))
    host.twin.registers.set_interlock(False)
    assert host.status() == {"heartbeat_fresh", "tripped"}
    assert host.read("trip_cause") == 1 << TRIP_CAUSES["interlock_open"]
    assert host.read("laser_trips") == 1
    for name in ("laser_unlock", "laser_arm"):
        address = REGISTERS[name].address
        refused(host.write(address, PROTOCOL_HASH), Code.INTERLOCK_OPEN, address)
    host.twin.registers.set_interlock(True)
    assert "laser_on" not in host.status()
    host.set(laser_unlock=PROTOCOL_HASH, laser_arm=PROTOCOL_HASH)
    assert {"laser_on", "armed"} <= host.status()
    assert host.read("trip_cause") == 0


def test_over_power_trips_where_armed(host):
    # Too short for a reading to come, and darken it, while it lasts.
    host.configure(complement(1, exposure_cycles=400), monitor_limit=10)
    peaks = []
    for _ in range(2):
        host.project(planes_of(2, 1))
        (result,) = split(host.twin.run())
        record = decode_records(result.payload, Format(SMALL.outputs, 16))[1]
        # The records' readings are those of the last exposures: only the very first was lit, and it tripped.
        assert record.head["flags"].tolist() == [0, 0]
        assert (record.head["monitor"] <= 10).all()
        peaks.append(np.abs(record.values).max(axis=1))
        assert host.read("laser_trips") == 1
    assert peaks[0][0] > 10 * max(peaks[0][1], *peaks[1])
    assert host.status() == {"interlock_closed", "heartbeat_fresh", "tripped"}
    assert host.read("trip_cause") == 1 << TRIP_CAUSES["over_power"]
