"""Objects that only a tool knows: kept alive until the tool releases them or their lease ends.

Layout: `nursery` shard of the oid, slot `<oid hex>` → `[object, end of the lease in seconds of the image's time]`.
"""

from collections.abc import Iterable
from typing import Final

from uvm.image import clock as image_time
from uvm.image.image import Image
from uvm.image.tables import SHARDS
from uvm.objects import ABSENT, UvmObject

LEASE_S: Final = 7 * 86_400


def keep(image: Image, objects: Iterable[UvmObject], seconds: int = LEASE_S) -> None:
    """Keep new objects that a reply refers to, in the current transaction."""
    for newborn in objects:
        key = image.reference(newborn).oid.hex()
        image.enter("nursery", key, [newborn, image_time.now(image) + seconds])


def release(image: Image, oids: Iterable[bytes]) -> int:
    """Let go of objects; answers how many were held."""
    released = 0
    for key in (oid.hex() for oid in oids):
        shard = image.shard("nursery", key)
        if shard.own(key) is not ABSENT:
            shard.drop(key)
            released += 1
    return released


def expire(image: Image, now: int, shards: Iterable[int] = range(SHARDS)) -> int:
    """Let go of everything in these shards whose lease has ended."""
    expired = 0
    for shard in image.shards("nursery", shards):
        for key in [key for key in shard.names() if shard.own(key)[1] < now]:
            shard.drop(key)
            expired += 1
    return expired
