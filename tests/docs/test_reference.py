"""The generated pages are the declaration's."""

import subprocess
import sys
from pathlib import Path

import pytest
from openopu_rtl.protocol import REGISTERS, WINDOWS, Geometry
from systemrdl import RDLCompiler
from systemrdl.messages import MessagePrinter
from systemrdl.node import MemNode, RegNode

ROOT = Path(__file__).parents[2]


def test_reference_is_fresh():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "reference.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


class Strict(MessagePrinter):
    def print_message(self, severity, text, src_ref):
        pytest.fail(f"{severity}: {text} at {src_ref}")


def test_systemrdl_says_the_same():
    """PeakRDL's compiler reads the file without a warning, and finds what is declared."""
    compiler = RDLCompiler(message_printer=Strict())
    compiler.compile_file(str(ROOT / "docs" / "registers.rdl"))
    geometry = Geometry.fitting(64, 256)
    sizes = {"SHOT_DEPTH": geometry.shot_depth, "OUTPUTS": geometry.outputs}
    top = compiler.elaborate(parameters=sizes).top
    seen = set()
    for node in top.children():
        name = node.inst_name
        seen.add(name)
        if isinstance(node, MemNode):
            window = WINDOWS[name]
            assert (node.absolute_address, node.get_property("mementries")) == (
                4 * window.address,
                window.words(geometry),
            )
            continue
        assert isinstance(node, RegNode)
        register = REGISTERS[name]
        assert node.absolute_address == 4 * register.address
        access = register.access.name
        assert (node.has_sw_readable, node.has_sw_writable) == (access != "WO", access != "RO")
        if access == "RW":
            assert node.get_child_by_name("value").get_property("reset") == register.reset
    assert seen == REGISTERS.keys() | WINDOWS.keys()


def test_wiring_pages_are_fresh():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "wiring.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
