"""What the kernel reads out of the image, by type: each function says in the log what is wrong, and goes on with a sound value.

Slots of primordial objects are policy's to change, and so may hold anything. Nothing that stands in them may end a process, and what the
kernel does for everybody (counting, naming, measuring) must not fail because of it.
"""

from pathlib import PurePosixPath
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
import structlog
from msgspec import Meta, Struct
from ZODB.blob import Blob

from uvm.errors import BadValue
from uvm.objects import ABSENT, KIND, Counter, UvmObject

COVENANT: Final = (
    "Write the body of one method of a living object. State is self.slot only. "
    'After a change inside a list or dict: self._p_changed = True. If unsure: decline("why").'
)
"""The first paragraph of a prompt, where the image has none that is a text."""

log = structlog.get_logger()

_T = TypeVar("_T")


def slot(owner: UvmObject, name: str, kind: type[_T], default: _T) -> _T:
    """The own slot as a value of that type; the default where it is absent, or something else."""
    value = owner.own(name)
    if type(value) is kind:
        return value
    if value is not ABSENT:
        log.warning("a slot does not hold what it should", object=repr(owner), slot=name, seen=type(value).__name__, kept=kind.__name__)
    return default


def counted(owner: UvmObject, name: str) -> int | float:
    """The number in a counter."""
    return slot(owner, name, Counter, Counter()).plain()


def objects(owner: UvmObject, name: str) -> list[UvmObject]:
    """The objects in a list."""
    return [value for value in slot(owner, name, list, []) if type(value) is UvmObject]


def nearest(owner: UvmObject, name: str, kind: str) -> UvmObject | None:
    """The nearest slot of that name, from the object on, that holds one of the kernel's objects of that kind; what else is called so is
    somebody's word, as the model of a car. None where there is none.
    """
    values = (ancestor.own(name) for ancestor in owner.chain())
    return next((value for value in values if type(value) is UvmObject and value.own(KIND) == kind), None)


Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Weights(Struct, frozen=True):
    """A model or an adapter. `blobs`: relative path → file. Of an adapter: `base`, the digest of the model that it belongs to, its largest
    `rank` (0: not known). `state`: a revoked adapter stays to be looked at, and nobody is drafted for with it; of a removed model or
    adapter the files are gone, and journals may still name it.
    """

    digest: Digest
    name: str
    blobs: dict[str, Any] = {}
    bytes: int = 0
    imported: str = ""
    base: Digest | None = None
    rank: int = 0
    state: Literal["ready", "revoked", "removed"] = "ready"

    def serves(self, model: str) -> bool:
        """Whether this adapter may be used with the model of that digest."""
        return self.base == model and self.state == "ready"


def weights(proxy: Any, kind: str) -> Weights:
    """A model or adapter as the kernel made it. Raises BadValue for anything else, before any of it is used as a path."""
    if type(proxy) is not UvmObject or proxy.own(KIND) != kind:
        raise BadValue(f"{proxy!r:.100} is no {kind}", "only the kernel makes them; a clone of one is an object without weights")
    slots = {name: value for name in Weights.__struct_fields__ if (value := proxy.own(name)) is not ABSENT}
    try:
        content = msgspec.convert(slots, Weights)
    except msgspec.ValidationError as error:
        raise BadValue(f"the {kind} {proxy!r} is damaged: {error}", "restore a backup") from error
    for name, blob in content.blobs.items():
        path = PurePosixPath(name)
        inside = path.parts and not path.is_absolute() and ".." not in path.parts and str(path) == name and "\0" not in name
        if not inside or not isinstance(blob, Blob):
            raise BadValue(f"the {kind} {proxy!r} has a file {name!r:.100} that is none", "restore a backup")
    return content
