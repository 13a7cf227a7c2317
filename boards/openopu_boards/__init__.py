"""Boards: pins and clocks of each, one file a board; bitstreams, and the way onto a board.

Imports the gateware and the host's contract for commands.
"""
