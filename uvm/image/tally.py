"""The counters that `genesis_obj` shows: they merge, so that counting costs no message a conflict."""

from uvm.image.image import Image
from uvm.objects import Counter


def count(image: Image, slot: str) -> None:
    """Add one to a counter of `genesis_obj`, in the current transaction; a slot that holds something else stays as it is."""
    genesis = image.named("genesis_obj")
    counter = genesis.own(slot)
    if type(counter) is Counter:
        counter.add(1)
        genesis._p_changed = True
