"""Other libraries' instruments for openopu, and openopu's for other libraries. Each module needs its extra."""
