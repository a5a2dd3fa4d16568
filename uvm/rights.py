"""What a principal may do, and what one message of it may cost. Plain values; the bridge sets them, the UVM keeps to them.

A principal is whoever is behind a connection: a user of this host, or the holder of a key (docs/security.md). A method runs with the
rights of who sent the message, and no more than its author had.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct

from deploy.settings import RIGHTS
from deploy.settings import Right as Right

ALL: Final[frozenset[Right]] = frozenset(RIGHTS)
"""What the owner of the service has."""


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """What one message may use; the rest of a principal's quota is the bridge's to keep.

    `ticks`: the budget of work. `bytes`: size of all records that it changes or makes. `objects`: how many those are. `stored`: bytes of
    the image that its sender may hold with it (`uvm.image.stored`); 0: any, and nothing is counted.
    """

    ticks: Annotated[int, Meta(ge=1)] = 2_000_000
    bytes: Annotated[int, Meta(ge=1)] = 32_000_000
    objects: Annotated[int, Meta(ge=1)] = 10_000
    stored: Annotated[int, Meta(ge=0)] = 0


class Spent(Struct, frozen=True, forbid_unknown_fields=True):
    """What a message used: processor seconds of its UVM, bytes of the records that it changed or made, methods that it had written.

    `stored`: what its sender holds of the image after it, where that is counted and it changed something.
    """

    cpu_s: Annotated[float, Meta(ge=0)] = 0.0
    bytes: Annotated[int, Meta(ge=0)] = 0
    generations: Annotated[int, Meta(ge=0)] = 0
    stored: Annotated[int, Meta(ge=0)] | None = None
