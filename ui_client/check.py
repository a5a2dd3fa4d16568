"""One answer of `batos doctor`."""

from msgspec import Struct


class Check(Struct, frozen=True):
    """One answer. `essential`: without it the service does not do its work."""

    name: str
    well: bool
    essential: bool
    seen: str
    remedy: str = ""
