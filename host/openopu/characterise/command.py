"""Characterise a bench: noise, drift, settling, speckle, and how well a model matches; a report and a plant file.

Records frames of the device, estimates every parameter with its error, and writes to --out: report.html, report.pdf,
report.json, and plant.toml, with which `twin:?plant=FILE` plays the bench. A camera alone is measured by EMVA 1288.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
from typing import Any

import openopu
from openopu import Opu, plants
from openopu.calibration import Calibration, CalibrationMismatch, CalibrationStale, load
from openopu.calibration.monitor import WARN
from openopu.fit import Fit, Plan, Recording, fit
from openopu.measure import TARGET_FILL
from openopu.train.command import describe_device

from . import camera as cameras
from . import gap as gaps
from . import plots
from .budget import ADVICE, budget
from .gap_command import gap_rows, open_model
from .loss import Loss, expected_loss
from .output import folder_of, save
from .report import Report, Section

PLANT, REPORT = "plant.toml", "report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--device", metavar="URL", help="device to look at, such as serial:/dev/ttyUSB0 or twin:")
    what.add_argument("--camera", metavar="URL", help="a camera alone instead, by EMVA 1288, such as pylon:SERIAL")
    add("--out", metavar="DIR", required=True, help="folder of the report and the plant file")
    add("--base", metavar="PLANT", default="dmd", help="plant whose parameters stand where none is measured: a name "
        "or a file (default: %(default)s)")  # fmt: skip
    add("--model", metavar="URL", help="device that plays the bench, to compare with; without noise if it is the twin "
        "(default: the device's own measured matrix)")  # fmt: skip
    add("--fill", type=float, default=TARGET_FILL, help="exposure: mean pixel over full scale (default: %(default)s)")
    add("--calibration", metavar="FILE", help="a calibration: the report says whether it still holds")
    add("--quick", action="store_true", help="fewer frames: errors about twice as large")
    add("--arm", action="store_true", help="arm the laser of a real device")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure, write, and return what was found."""
    base = plants.find(args.base)
    folder = folder_of(args.out)

    def say(text: str) -> None:
        if not args.json:
            print(f"{text} ...", flush=True)

    if args.camera:
        return cameras.run(args.camera, folder, base, say)
    calibration = load(args.calibration) if args.calibration else None  # before minutes of measurement
    with contextlib.ExitStack() as stack:
        opu = stack.enter_context(openopu.open(args.device, arm=args.arm))
        model = stack.enter_context(open_model(args.model)) if args.model else None
        exposure = opu.expose_to(args.fill)
        found, recording = fit(opu, Plan.quick() if args.quick else Plan(), say)
        plant = found.plant(base)
        plants.save(folder / PLANT, plant)
        say("match")
        matched = gaps.gap(opu, model, plant, rows=64 if args.quick else 256)
        say("what the noise costs a network")
        loss = expected_loss(matched.noise, 1 if args.quick else 3)
        about = describe_device(opu)
        sections = [
            _device(opu, about, exposure.mean_fill, exposure.clipped_share, list(exposure.warnings)),
            *_fitted(found, recording), _match(found, matched, loss), *_calibration(opu, calibration, args.calibration),
        ]  # fmt: skip
    sections.insert(0, _summary(found, matched, loss))
    report = Report(f"Characterisation of {args.device}", sections)
    say("report")
    files = report.save(folder, REPORT)
    result = {
        "device": about, "estimates": found.as_json(), "gap": matched.as_json(), "loss": loss.as_json(),
        "limits": limits(found),
    }  # fmt: skip
    save(folder / f"{REPORT}.json", (json.dumps(result, indent=1) + "\n").encode())
    plain = {name: str(e) for name, e in found.estimates().items()}
    return plain | {"files": [str(f) for f in (*files, folder / PLANT)], **result}


def limits(found: Fit) -> list[dict[str, Any]]:
    """What limits a pixel at the working point, the largest share of its variance first, and what helps."""
    shares = budget(found, found.signal.value * found.transfer.gain.value)
    whole = sum(shares.values())
    order = sorted(shares, key=lambda name: -shares[name])
    return [{"cause": name, "share": shares[name] / whole, "helps": ADVICE[name]} for name in order]


def _summary(found: Fit, matched: gaps.Gap, loss: Loss) -> Section:
    first, second = limits(found)[:2]
    drift = found.fluctuations.medium_drift.seen
    text = (
        f"At the working exposure a pixel holds {found.signal.value:.0f} e- on average. Its noise is {first['cause']} "
        f"to {first['share']:.0%}, then {second['cause']} ({second['share']:.0%}). What helps most: {first['helps']}."
    )
    if drift:
        until = math.acos(math.sqrt(WARN)) / drift  # intensities correlate by cos**2
        text += f"\nThe medium keeps a correlation of {WARN} for {until:,.0f} exposures: calibrate anew by then."
    else:
        text += "\nNo drift of the medium was seen over the series."
    if found.settling.tau.seen:
        text += (
            f"\nThe panel settles with {found.settling.tau}: wait five times that, or calibrate with the same program."
        )
    text += (
        f"\nHeld-out projections correlate with the model by {matched.correlation:.4f}; a relative noise of "
        f"{matched.noise:.1%} is expected to cost {loss.interpolated:.2f} points of accuracy ({loss.basis})."
    )
    return Section("Summary", text, [(n.replace("_", " "), str(e)) for n, e in found.estimates().items()])


def _device(opu: Opu, about: dict[str, Any], fill: float, clipped: float, warnings: list[str]) -> Section:
    g = opu.geometry
    cycles = opu.exposure_cycles
    return Section(
        "Device", "", [
            ("device", about["url"]), ("name", about["name"]), ("gateware", about["gateware"]),
            ("modes, outputs", f"{g.modes}, {g.outputs} of {g.bin} x {g.bin} pixels"),
            ("panel", f"{g.slm_width} x {g.slm_height}, macropixels of {g.macropixel} x {g.macropixel}"),
            ("camera", f"{g.camera_width} x {g.camera_height}, {g.pixel_bits} bit"),
            ("exposure", f"{cycles} cycles, {cycles / opu.identity.clock_hz * 1e6:.2f} us"),
            ("laser power", f"code {opu.settings.registers['laser_power']} of 4095"),
            ("mean fill, clipped", f"{fill:.3f}, {clipped:.3%}"),
        ], warnings=warnings,
    )  # fmt: skip


def _fitted(found: Fit, recording: Recording) -> list[Section]:
    t, f = found.transfer, found.fluctuations
    reference = next(b for b in recording.flat if b.exposure_cycles == found.shot.exposure_cycles)
    mean = found.signal.value * t.gain.value
    shares = budget(found, mean)
    return [
        Section(
            "Photon transfer",
            "Temporal variance of groups of pixels against their mean, from differences of neighbouring frames; the "
            "frames' common mode and the ADC's rounding are taken out.",
            [("gain", str(t.gain)), ("read noise", str(found.dark.read_noise)), ("black level", str(found.dark.black)),
             ("dark signal", str(found.dark_signal)), ("DSNU", str(found.dark.dsnu)),
             ("hot, dead pixels", f"{found.hot_share.value:.3%}, {found.dead_share.value:.3%}"),
             ("exponent of shot noise", str(t.exponent)),
             ("chi-squared per degree", f"{t.chi2:.2f}")],
            plots.photon_transfer(found),
        ),
        Section(
            "Noise budget",
            f"Of a pixel from exposure to exposure. At the working point, {mean:.1f} DN above black:",
            [(name, f"{value**0.5:.3g} DN rms") for name, value in shares.items()], plots.noise_budget(found),
        ),
        Section(
            "Laser and medium over time",
            "The laser's noise is what the halves of a frame, and the photodiode, have in common. Reference patterns "
            "that return over the series tell how the medium turns.",
            [("laser noise, by halves", str(f.laser_noise)), ("by photodiode", str(f.laser_noise_photodiode or "-")),
             ("laser drift", str(f.laser_drift)), ("medium drift", str(f.medium_drift)), ("motion", str(t.motion)),
             ("photodiode", str(f.photodiode_dn or "no reading")), ("its noise", str(f.photodiode_noise or "-"))],
            plots.changes(found),
        ),
        Section(
            "Settling", "A pattern after its complement, against the time it was given, beside the settled frame.",
            [("time constant", str(found.settling.tau) if found.settling.tau.resolved
              else f"below {found.settling.tau.error:.2g} s: settled at once")],
            plots.settle(found), (8.0, 3.0),
        ),
        Section(
            "Speckle", "Fully developed and resolved speckle has a contrast of 1 and exponential intensities.",
            [("contrast", str(found.speckle.contrast)), ("grain", str(found.speckle.grain_px)),
             ("mean signal", str(found.signal))],
            plots.speckle(found, reference), (9.5, 3.2),
        ),
    ]  # fmt: skip


def _match(found: Fit, matched: gaps.Gap, loss: Loss) -> Section:
    text = (
        f"{matched.rows} held-out vectors of {matched.components} components, encoded as in training, on "
        f"{matched.outputs} outputs. Model: {matched.model}."
    )
    warnings = [] if matched.whiteness.white else [
        "The residuals are not white: model and bench differ by more than noise. Look for drift (calibrate more "
        "often), an unsettled panel (raise settle_cycles), pixels that clip (lower --fill), or another program."
    ]  # fmt: skip
    return Section("Match with the model", text, gap_rows(matched, loss), plots.match(matched), (8.0, 6.0), warnings)


def _calibration(opu: Opu, loaded: Calibration | None, path: str) -> list[Section]:
    if loaded is None:
        return []
    warnings = []
    try:
        loaded.check(opu)
    except (CalibrationMismatch, CalibrationStale) as error:
        warnings.append(str(error))
    rows = [("file", path), ("created", str(loaded.created)), ("sha256", loaded.sha256),
            ("holds", "no" if warnings else "yes")]  # fmt: skip
    return [Section("Calibration", "", rows, warnings=warnings)]
