"""What holds for every test."""

import signal

# A shell starts background jobs with SIGINT ignored, and they pass that on: here interrupts always interrupt, so that
# the tests of Ctrl-C say the same wherever they are started from.
signal.signal(signal.SIGINT, signal.default_int_handler)
