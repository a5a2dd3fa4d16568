"""Lines on standard error that say how far the benchmark is."""

import sys
import time

_BEGAN = time.monotonic()


def say(text: str) -> None:
    """One line, with the seconds since the benchmark began."""
    sys.stderr.write(f"{time.monotonic() - _BEGAN:5.0f} s  {text}\n")
