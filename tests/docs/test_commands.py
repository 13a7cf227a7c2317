"""Every command that the documentation names exists, with the options that it names."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
BLOCK = re.compile(r"```(\w*)\n(.*?)```", flags=re.S)
COMMAND = re.compile(r"(?:^|[\s/])(openopu [a-z]+|tools/\w+\.py)\b([^|#]*)")
VERBS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))


def lines(text: str) -> list[str]:
    """Lines of the shell's blocks, continued ones joined, and inline code."""
    found = [line for kind, b in BLOCK.findall(text) if kind != "python" for line in b.replace("\\\n", " ").split("\n")]
    return found + [code.replace("\n", " ") for code in re.findall(r"`([^`]+)`", BLOCK.sub("", text))]


def named() -> dict[str, dict[str, str]]:
    """Options of each command, and the page of each."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for page in PAGES:
        for line in lines(page.read_text()):
            for program, rest in COMMAND.findall(line):
                found[program].update(dict.fromkeys(re.findall(r"(?<!\S)(--[a-z][a-z-]*)", rest), page.name))
    return found


NAMED = named()


def test_commands_are_found() -> None:
    assert {"openopu train", "tools/accuracy.py", "tools/features.py"} <= set(NAMED)
    assert "--seeds" in NAMED["tools/closing_the_gap.py"]


@pytest.mark.parametrize("program", sorted(NAMED))
def test_options_exist(program: str) -> None:
    words = ["-m", "openopu.cli", program.split()[1]] if program.startswith("openopu ") else [program]
    done = subprocess.run(
        [sys.executable, *words, "--help"],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    known = set(re.findall(r"--[a-z][a-z-]*", done.stdout))
    assert {option: page for option, page in NAMED[program].items() if option not in known} == {}


def test_verbs_exist() -> None:
    for page in PAGES:
        for line in lines(page.read_text()):
            for verb in re.findall(r"^make ([a-z]+)", line.strip()):
                assert verb in VERBS, (page.name, line)
