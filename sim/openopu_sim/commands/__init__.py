"""Commands that the simulation adds to ``openopu``."""
