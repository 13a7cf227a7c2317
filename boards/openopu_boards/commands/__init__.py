"""Commands that this package adds to ``openopu``."""
