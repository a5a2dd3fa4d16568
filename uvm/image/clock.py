"""The image's own time, by which receipts and leases end: a clock that jumps must not end them.

Layout: slot `time` of `root["fence"]`, whole seconds. The first heartbeat sets it to the wall clock; from then on it is advanced by what a
monotonic clock saw pass from beat to beat, and stands still while no heartbeat runs.
"""

import time

from uvm.image import views
from uvm.image.image import Image


def now(image: Image) -> int:
    """Seconds; the wall clock's while no heartbeat has been there yet."""
    return int(views.slot(image.root["fence"], "time", int, int(time.time())))


def advance(image: Image, seconds: int) -> int:
    """Let so many seconds have passed, in the current transaction; answers the time that it is now."""
    reached = now(image) + seconds
    image.root["fence"].put("time", reached)
    return reached
