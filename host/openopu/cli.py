"""The command ``openopu``.

A command is a module with ``add_arguments(parser)`` and ``run(args) -> dict``; its docstring's first line is its help.
Packages add commands with entry points in the group ``openopu.commands``. ``run`` returns the result as plain data;
``"ok": False`` in it means exit code 1. With ``--json`` the last line is one JSON object also where a command fails:
``ok`` False, the ``error``'s class, ``what`` happened, ``where``, and the ``next_step``.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import json
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, NoReturn

from .errors import Interrupted, OpenopuError, UsageError

COMMANDS_GROUP = "openopu.commands"
BUILT_IN = {
    "train": "openopu.train.command",
    "demo": "openopu.train.demo",
    "compare": "openopu.compare",
    "doctor": "openopu.doctor",
    "sensor": "openopu.sensor_command",
    "budget": "openopu.budget",
    "selftest": "openopu.selftest.command",
    "characterise": "openopu.characterise.command",
    "gap": "openopu.characterise.gap_command",
    "calibrate": "openopu.calibration.command",
}
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
"""Of a shell's command that was interrupted: 128 + SIGINT."""
EXIT_TERMINATED = 143
"""128 + SIGTERM."""
LATER_S = 0.05
"""After which a signal that was lost is raised again."""


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a command in order, as an interrupt from the keyboard does."""


class _Parser(argparse.ArgumentParser):
    """Reports wrong options as every other error is reported."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, "", f"`{self.prog} --help` lists the options")


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
    common = _Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as one JSON object, as the last line")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    parser = _Parser(
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


def _failure(error: BaseException, interrupted: str) -> OpenopuError:
    """What a command that ended with ``error`` has to say."""
    if isinstance(error, OpenopuError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Interrupted(interrupted)
    if isinstance(error, MemoryError):
        return OpenopuError(
            f"out of memory ({error})", "", "Take smaller n, m, --hidden or --batch, or a larger machine"
        )
    if isinstance(error, OSError):
        where = str(error.filename or "")
        return OpenopuError(error.strerror or str(error), where, "Check the path, its permissions and the space left")
    return OpenopuError(
        f"{type(error).__name__}: {error}", "", "This is a defect of openopu: report it with what --debug shows"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 1 for failures, 2 for wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    if threading.current_thread() is not threading.main_thread():
        return _main(words)

    def terminate(*_: object) -> NoReturn:
        raise Terminated

    before, hook = signal.signal(signal.SIGTERM, terminate), sys.unraisablehook
    sys.unraisablehook = functools.partial(_heard_again, hook)
    try:
        return _main(words)
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before)


def _heard_again(hook: Callable[[Any], object], told: Any) -> None:
    """A signal that came while Python ran a finaliser, where its exception is lost: it comes once more, later."""
    if isinstance(told.exc_value, KeyboardInterrupt):
        number = signal.SIGTERM if isinstance(told.exc_value, Terminated) else signal.SIGINT
        again = threading.Timer(LATER_S, _interrupt, (number,))
        again.daemon = True
        again.start()
    else:
        hook(told)


def _interrupt(number: int) -> None:
    """Raise a signal in the main thread; what it waits for ends."""
    if sys.platform == "win32":
        signal.raise_signal(number)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, number)


def _main(words: list[str]) -> int:
    try:
        try:
            chosen = next((w for w in words if not w.startswith("-")), None)
            args = _parser(chosen).parse_args(words)
            result: dict[str, Any] = args.run(args)
            if args.json:
                print(json.dumps(result), flush=True)
            else:
                _show(result)
            return 0 if result.get("ok", True) else EXIT_FAILURE
        except BrokenPipeError:
            raise
        except (Exception, KeyboardInterrupt) as error:
            terminated = isinstance(error, Terminated) or isinstance(error.__context__, Terminated)
            failure = _failure(error, "terminated" if terminated else "interrupted")
            if "--debug" in words:
                traceback.print_exc()
            print(f"openopu: {failure}", file=sys.stderr)
            if "--json" in words:
                about = {"error": type(failure).__name__, "what": failure.what}
                about |= {"where": failure.where, "next_step": failure.next_step}
                print(json.dumps({"ok": False, **about}), flush=True)
            if isinstance(failure, Interrupted):
                return EXIT_TERMINATED if terminated else EXIT_INTERRUPTED
            return EXIT_USAGE if isinstance(failure, UsageError) else EXIT_FAILURE
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more when it flushes at exit.
        sys.stderr.close()
        return EXIT_FAILURE


if __name__ == "__main__":
    sys.exit(main())
