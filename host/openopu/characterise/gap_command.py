"""Compare a device with a model of it on held-out patterns: correlation, bias, noise, alignment, expected loss.

The model is a device of its own (--model), such as the twin with a fitted plant, which needs the same medium; without
one it is the effective matrix that is measured on the device now. --plant names the plant file whose noise to expect.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from typing import Any

import openopu
from openopu import Opu, plants
from openopu.errors import whole
from openopu.measure import TARGET_FILL
from openopu.url import DeviceUrl

from . import gap as gaps
from .loss import Loss, expected_loss
from .output import folder_of, save
from .plots import match
from .report import picture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--device", metavar="URL", required=True, help="device to compare")
    add("--model", metavar="URL", help="device that plays it; without noise if it is the twin")
    add("--plant", metavar="PLANT", help="plant whose noise to expect: a name or a file (default: that of a --model)")
    add("--rows", type=int, default=256, help="held-out vectors (default: %(default)s)")
    add("--components", type=int, default=10, help="their length (default: %(default)s)")
    add("--fill", type=float, default=TARGET_FILL, help="exposure: mean pixel over full scale (default: %(default)s)")
    add("--seeds", type=int, default=3, help="trainings with and without that noise; 0: none (default: %(default)s)")
    add("--out", metavar="DIR", help="also write gap.json and gap.png there")
    add("--arm", action="store_true", help="arm the laser of a real device")


def open_model(url: str) -> Opu:
    """The device of a model; the twin without noise, unless the URL says otherwise."""
    parsed = DeviceUrl.parse(url)
    if parsed.scheme == "twin" and "noise" not in parsed.parameters:
        parsed = parsed.with_parameters(noise="off")
    return openopu.open(parsed)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Compare, and return the table's figures."""
    whole(args.seeds, "seeds", 0)
    name = args.plant
    if name is None and args.model is not None:
        name = DeviceUrl.parse(args.model).parameters.get("plant", "dmd")
    plant = plants.find(name) if name is not None else None
    folder = folder_of(args.out) if args.out else None
    with contextlib.ExitStack() as stack:
        opu = stack.enter_context(openopu.open(args.device, arm=args.arm))
        model = stack.enter_context(open_model(args.model)) if args.model else None
        opu.expose_to(args.fill)
        matched = gaps.gap(opu, model, plant, rows=args.rows, components=args.components)
    loss = expected_loss(matched.noise, args.seeds)
    result = matched.as_json() | {"loss": loss.as_json()}
    if folder is not None:
        save(folder / "gap.json", (json.dumps(result, indent=1) + "\n").encode())
        save(folder / "gap.png", picture(match(matched), (9, 7)))
    if not args.json:
        rows = gap_rows(matched, loss)
        width = max(len(n) for n, _ in rows)
        for row_name, value in rows:
            print(f"{row_name:{width}}  {value}")
        return {"ok": True}
    return result


def gap_rows(matched: gaps.Gap, loss: Loss) -> list[tuple[str, str]]:
    """The comparison as names and values."""
    w = matched.whiteness
    rows = [
        ("correlation", f"{matched.correlation:.5f}"),
        ("slope (gain bias)", f"{matched.slope:.4f} +- {matched.slope_error:.4f}"),
        ("offset", f"{matched.offset:+.4f} of the signal's rms"),
        ("alignment angle", f"{matched.angle_degrees:.2f} degrees"),
        ("noise", f"{matched.noise:.2%} of the signal's rms"),
    ]
    if matched.expected_noise is not None and matched.chi2 is not None:
        rows.append(("expected of the plant", f"{matched.expected_noise:.2%}, without the frames' common mode"))
        rows.append(("variance over expected", f"{matched.chi2:.3f}, without the frames' common mode"))
    rows += [
        ("white along time", f"p = {w.time_p:.2g} (Ljung-Box {w.ljung_box:.4f}, spectrum flat to {w.flatness:.4f})"),
        ("white across outputs", f"p = {w.space_p:.2g} (largest neighbour correlation {w.space_z:+.1f} sigma)"),
        ("expected loss", f"{loss.interpolated:.2f} points, {loss.basis}"),
    ]
    if loss.trained is not None:
        error = "" if loss.trained_error is None else f" +- {loss.trained_error:.2f}"
        rows.append(("trained with that noise", f"{loss.trained:+.2f}{error} points, digits, seeds: {loss.seeds}"))
    return rows
