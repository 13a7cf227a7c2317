"""The command ``openopu``.

A command is a module with ``add_arguments(parser)`` and ``run(args) -> dict``; its docstring's first line is its help.
Packages add commands with entry points in the group ``openopu.commands``. ``run`` returns the result as plain data;
``"ok": False`` in it means exit code 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from .errors import OpenopuError, UsageError

COMMANDS_GROUP = "openopu.commands"
BUILT_IN = {
    "train": "openopu.train.command",
    "demo": "openopu.train.demo",
    "compare": "openopu.compare",
    "doctor": "openopu.doctor",
}
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
"""Of a shell's command that was interrupted: 128 + SIGINT."""


def commands() -> dict[str, str]:
    """Module of every command by name, those of installed packages included."""
    return BUILT_IN | {e.name: e.value for e in entry_points(group=COMMANDS_GROUP)}


def _load(name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"it needs a package that is not installed ({error})",
            f"openopu {name}",
            "Install the extra that brings it, for example `pip install 'openopu[sim,plots]'`",
        ) from error


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """The parser; only the chosen command's module is imported, or all of them for the list."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as one JSON object, as the last line")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = argparse.ArgumentParser(
        prog="openopu", description="Optical processing unit: train, compare, diagnose.", allow_abbrev=False
    )
    group = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, path in sorted(commands().items()):
        if chosen in commands() and name != chosen:
            group.add_parser(name)
            continue
        try:
            module = _load(name, path)
        except UsageError as error:
            if chosen == name:
                raise
            group.add_parser(name, help=error.what)
            continue
        text = (module.__doc__ or "").strip()
        sub = group.add_parser(
            name,
            parents=[common],
            allow_abbrev=False,
            help=text.partition("\n")[0],
            description=text,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(run=module.run)
    return parser


def _show(result: dict[str, Any]) -> None:
    """The result for people: one line for each plain value."""
    width = max((len(k) for k in result), default=0)
    for key, value in result.items():
        if isinstance(value, (str, int, float, bool)) or value is None:
            print(f"{key:{width}}  {value:.6g}" if isinstance(value, float) else f"{key:{width}}  {value}")
        elif isinstance(value, list) and all(isinstance(v, str) for v in value):
            for line in value:
                print(f"{key:{width}}  {line}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 for failures, 2 for wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    chosen = next((w for w in words if not w.startswith("-")), None)
    try:
        args = _parser(chosen).parse_args(words)
        result: dict[str, Any] = args.run(args)
        if args.json:
            print(json.dumps(result), flush=True)
        else:
            _show(result)
        return 0 if result.get("ok", True) else EXIT_FAILURE
    except OpenopuError as error:
        if debug:
            traceback.print_exc()
        print(f"openopu: {error}", file=sys.stderr)
        return EXIT_USAGE if isinstance(error, UsageError) else EXIT_FAILURE
    except KeyboardInterrupt:
        print("openopu: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more when it flushes at exit.
        sys.stderr.close()
        return EXIT_FAILURE
    except OSError as error:
        if debug:
            traceback.print_exc()
        print(f"openopu: {error.filename or ''}: {error.strerror}. Check the path and its permissions", file=sys.stderr)
        return EXIT_FAILURE


if __name__ == "__main__":
    sys.exit(main())
