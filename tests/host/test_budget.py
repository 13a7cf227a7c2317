"""The budget: bytes of real packets, rates of the lines, and who is the bottleneck."""

import json

import pytest
from openopu import budget, cli
from openopu.errors import UsageError
from openopu.session import uart_divisor
from openopu_rtl.protocol import Format, Link, packets


def rate(link, form, modes=1024, planes=2, **line):
    load = budget.traffic(modes, planes, form, 16384)
    return 1 / budget.line_of(link, **{"clock_hz": 48_000_000, **line}).seconds(load.to_device, load.to_host)


def test_traffic_is_that_of_whole_packets():
    load = budget.traffic(1024, 2, Format(1024, 8), 16384)
    assert load.rows == 3
    assert load.payload == 1024
    record = 1024 + packets.RECORD_DTYPE.itemsize
    # Type, sequence, first exposure, count, checksum, delimiter: 13 bytes; COBS adds 1 in 254 at most.
    assert record + 13 / 3 < load.to_host <= (record + 13 / 3) * 255 / 254 + 1
    assert 256 + 13 / 3 < load.to_device <= (256 + 13 / 3) * 255 / 254 + 1


def test_rates_of_the_lines():
    form = Format(1024, 8)
    assert rate(Link.UART, form, baud=12_000_000) == pytest.approx(1.2e6 / 1044.9, rel=1e-3)
    assert rate(Link.UART, form, baud=3_000_000) * 4 == pytest.approx(rate(Link.UART, form, baud=12_000_000))
    # Both directions of these share one bus.
    assert rate(Link.USB, form) == pytest.approx(1.216e6 / (1044.9 + 261.5), rel=2e-3)
    assert rate(Link.FT245, form) == pytest.approx(48e6 / (7 * 1044.9 + 3 * 261.2), rel=2e-3)
    assert rate(Link.FT245SYNC, form, clock_hz=100_000_000) == pytest.approx(60e6 / 1306.1, rel=2e-3)
    assert rate(Link.FT245SYNC, form) < rate(Link.FT245SYNC, form, clock_hz=100_000_000)


@pytest.mark.parametrize("clock_hz", [48_000_000, 100_000_000])
@pytest.mark.parametrize("baud", [115_200, 460_800, 921_600, 1_000_000, 2_000_000, 3_000_000, 4_000_000, 12_000_000])
def test_divisors_are_near_the_rate_or_refused(clock_hz, baud):
    """What FTDI's adapters offer up to 12 Mbaud; 8.3 clocks a bit are too few for a whole divisor."""
    if (clock_hz, baud) == (100_000_000, 12_000_000):
        with pytest.raises(UsageError, match="nearest is 12500000"):
            uart_divisor(baud, clock_hz)
        return
    divisor = uart_divisor(baud, clock_hz)
    assert abs(clock_hz / divisor / baud - 1) <= 0.02


@pytest.mark.parametrize("baud", [13_000_000, 300, 40_000_000])
def test_rates_out_of_reach_name_the_nearest(baud):
    with pytest.raises(UsageError, match="The nearest is"):
        uart_divisor(baud, 48_000_000)


def test_the_slowest_is_the_bottleneck():
    load = budget.traffic(1024, 2, Format(1024, 8), 16384)
    line = budget.line_of(Link.UART, 48_000_000)
    found = budget.budget(line, load, 4, modulator_s=1e-4, frame_s=1e-4)
    assert (found.bottleneck, found.rate) == ("link", found.link)
    found = budget.budget(line, load, 4, modulator_s=1e-4, frame_s=1e-2)
    assert (found.bottleneck, found.rate) == ("camera", 25)
    found = budget.budget(line, load, 4, modulator_s=1e-3, frame_s=1e-4, exposure_s=1e-2)
    assert (found.bottleneck, found.rate) == ("modulator", 25)


def test_the_command(capsys):
    assert cli.main(["budget", "--n", "1024", "--m", "1024,4096", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])["projections_per_s"]
    assert [(row["m"], row["bits"]) for row in rows] == [(1024, 8), (1024, 16), (4096, 8), (4096, 16)]
    assert rows[0]["links"]["UART 12 Mbaud"] is None  # not from 100 MHz
    assert all(row["payload"] > 0.95 for row in rows)
    assert cli.main(["budget", "--exposure-us", "1e6", "--json"]) == 0
    slow = json.loads(capsys.readouterr().out.splitlines()[-1])["projections_per_s"][0]
    assert set(slow["modulators"].values()) == {0.25}  # four shots of a second
    assert cli.main(["budget"]) == 0
    out = capsys.readouterr().out
    assert "no divisor" in out
    assert "DLP7000" in out


@pytest.mark.parametrize(
    "words",
    ["--n 63", "--n 9999999999", "--m x", "--m 0", "--m 9999999", "--bits 9", "--planes 0", "--store-bytes 8"]
    + [f"--{name} {value}" for name in ("exposure-us", "clock-hz") for value in ("-1", "nan", "inf")],
)
def test_bad_input(capsys, words):
    assert cli.main(["budget", *words.split()]) == 2
    assert "Take" in (text := capsys.readouterr().err) or "Give" in text or "Write" in text
    assert words.split()[0] in text
