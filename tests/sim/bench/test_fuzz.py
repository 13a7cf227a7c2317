"""Damaged packets in both directions: a short run of `make fuzz`."""

import numpy as np
import pytest
from openopu.url import DeviceUrl
from openopu_rtl.protocol import codec
from openopu_sim.bench import fuzz
from openopu_sim.bench.process import Simulation
from openopu_sim.device import settings_of


def check(tally: fuzz.Tally) -> None:
    assert not tally.disagreements
    assert tally.wrong_accepted == 0
    assert tally.most_lost_in_a_row <= 1
    assert tally.intact > tally.packets / 3
    assert tally.corrupted_bytes > 3 * tally.packets


def test_the_hosts_decoder_takes_nothing_wrong() -> None:
    check(fuzz.fuzz_host(4000, 0.0012, seed=3))


def test_the_gatewares_receiver_takes_nothing_wrong() -> None:
    with Simulation(settings_of(DeviceUrl.parse("rtl:verilator?n=64&m=64&link=bytes"))) as simulation:
        check(fuzz.fuzz_device(simulation.url, 2000, 0.0012, seed=3))


def test_a_decoder_that_does_not_look_at_the_checksum_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "unframe", lambda encoded: codec.cobs_decode(encoded)[:-4])
    tally = fuzz.fuzz_host(1000, 0.0012, seed=3)
    assert tally.wrong_accepted > 10
    assert tally.disagreements


def test_damage_is_what_it_says() -> None:
    sent = fuzz.results(np.random.default_rng(1), 500)
    hurt = fuzz.damage(sent, np.random.default_rng(2), 0.0)
    total = sum(map(len, sent))
    assert 0 < hurt.corrupted < 3e-3 * total
    assert 0 < (~hurt.intact).sum() <= hurt.corrupted
    assert fuzz.damage(sent, np.random.default_rng(2), 0.01).corrupted > 0.3 * total
