"""Boards by the number in the identity register ``board``."""

SIMULATION, TWIN = 0, 1

BOARDS = {
    SIMULATION: "simulation",
    TWIN: "twin",
    # Hardware.
    16: "ulx3s",
    17: "icepi_zero",
    18: "arty_a7",
}
"""Name of each board; one that is retired keeps its number."""

BOARD_NUMBERS = {name: number for number, name in BOARDS.items()}


def board_name(number: int) -> str:
    """Name of a board, or for one unknown to this host its number as text."""
    return BOARDS.get(number, str(number))
