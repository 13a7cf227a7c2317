"""The RTL bench: simulated panel, camera, DAC, ADC and serial adapter around the gateware's Verilog.

The models are Verilog files (``hdl/``), one source for every simulator; Python wakes once an exposure.
:mod:`build` makes a simulator's program, :mod:`process` runs it as a child process, :mod:`server` is
what runs inside it.
"""
