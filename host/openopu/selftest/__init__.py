"""Checks of a board before, and after, optics is on the table."""
