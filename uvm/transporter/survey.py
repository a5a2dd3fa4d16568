"""What an export takes along, and what everything in it is called: one walk through a snapshot, kept by oid.

An object goes if it can be reached from the targets, through slots, parents and containers. The walk stops at what every image has (the
primordial objects and their methods) and at what the kernel keeps (messages, models, adapters): these are named, and do not go. Of models
and adapters it is noted where their files are, for who wants them along.

An object's key is its first name, else its reference in text: neither changes while the image lives, so the next export calls it the same.
A method stands with the first object that has it in a slot, under the selector; the others refer to it there.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from msgspec import Struct
from ZODB.blob import Blob

from deploy.digest import listing_digest
from uvm.errors import BadValue
from uvm.image import model_registry, views
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.protocol import ExportedWeights, Reference
from uvm.transporter.blobs import digest_of
from uvm.transporter.methods import examples_of
from uvm.transporter.origin import UNNAMED, image_id, primordial_methods, primordial_objects
from uvm.transporter.parts import referents

WEIGHTS: Final = 1000
"""Models and adapters that an export refers to."""


class Survey(Struct, frozen=True):
    """`objects`: oids of what goes, in the order of the walk, of which the first `roots` are the targets; `keys`: what each is called.
    `tags`: oid of anything else → how a value refers to it. `homes`: oid of a method → the key of its object, and its label there.
    `blobs`: digest → oid. `weights`: models and adapters that something refers to, whose files are among the blobs."""

    image: str
    objects: list[bytes]
    keys: dict[bytes, str]
    roots: int
    tags: dict[bytes, dict[str, Any]]
    homes: dict[bytes, tuple[str, str]]
    blobs: dict[str, bytes]
    weights: list[ExportedWeights] = []


def survey(image: Image, targets: Sequence[str | Reference], alive: Callable[[], None]) -> Survey:
    """Look at the image of this view. Raises NoSuchObject for a target that is none, BadValue for what cannot go, DamagedRecord."""
    walk = _Walk(image, alive)
    if targets:
        roots = list(dict.fromkeys(image.target(target) for target in targets))
    else:
        roots = list(dict.fromkeys(owner for owner in image.names.values() if type(owner) is UvmObject and not image.is_primordial(owner)))
    for root in roots:
        if root.own(KIND) is not ABSENT or image.is_primordial(root):
            raise BadValue(
                f"{root!r} is the image's own, and stays there", "export objects of your own; batos image backup copies the whole image"
            )
    walk.through(roots)
    return walk.survey(len(roots) if targets else 0)


class _Walk:
    def __init__(self, image: Image, alive: Callable[[], None]) -> None:
        self._image = image
        self._alive = alive
        self._objects: list[bytes] = []
        self._methods: list[tuple[UvmObject, str, str]] = []
        self._loose: list[tuple[UvmObject, str]] = []
        self._blobs: dict[str, bytes] = {}
        self._weights: dict[str, ExportedWeights] = {}
        self.keys: dict[bytes, str] = {}
        primordial = primordial_objects(image)
        behaviour = primordial_methods(primordial)
        self._primitives = {owner.own("primitive"): location for location, owner in behaviour.items()}
        self._tags: dict[bytes, dict[str, Any]] = {owner._p_oid: {"primordial": list(location)} for location, owner in behaviour.items()}
        self._tags |= {owner._p_oid: {"primordial": name} if name in UNNAMED else {"ref": name} for name, owner in primordial.items()}

    def through(self, roots: Iterable[UvmObject]) -> None:
        pending = deque(filter(self._meets, roots))
        while pending:
            owner = pending.popleft()
            self._alive()
            key = self.keys[owner._p_oid]
            reached: list[UvmObject] = []
            for slot in owner.names():
                value = owner.own(slot)
                if is_method(value):
                    self._behaviour(value, key, slot)
                    reached += self._referred(examples_of(value), key, slot)
                else:
                    reached += self._referred(value, key, slot)
            reached += owner.parents()
            pending.extend(filter(self._meets, reached))

    def _meets(self, owner: UvmObject) -> bool:
        """Give an object its key and its place; whether it has none yet."""
        if owner._p_oid in self.keys or owner._p_oid in self._tags:
            return False
        names = self._image.names_of(owner)
        self.keys[owner._p_oid] = names[0] if names else str(Reference(owner._p_oid))
        self._objects.append(owner._p_oid)
        return True

    def _behaviour(self, method: UvmObject, key: str, slot: str) -> None:
        primitive = method.own("primitive")
        if primitive is ABSENT:
            self._methods.append((method, key, slot))
        elif primitive in self._primitives:
            # Whichever object of the kernel's stands for it: what it does is the same.
            self._tags.setdefault(method._p_oid, {"primordial": list(self._primitives[primitive])})
        else:
            raise BadValue(f"{slot} of {key} is a primitive that no object of the image's own has", f"remove it: removeSlot_('{slot}')")

    def _referred(self, value: Any, key: str, slot: str) -> list[UvmObject]:
        """The objects in a value that are to be looked at as well."""
        reached: list[UvmObject] = []
        for referent in referents(value):
            if isinstance(referent, Blob):
                self._file(referent)
            elif referent.own(KIND) is ABSENT:
                reached.append(referent)
            else:
                self._kernels(referent, key, slot)
        return reached

    def _file(self, blob: Blob) -> None:
        if blob._p_oid not in self._tags:
            self._alive()
            digest = digest_of(blob)
            self._tags[blob._p_oid] = {"blob": digest}
            self._blobs.setdefault(digest, blob._p_oid)

    def _kernels(self, record: UvmObject, key: str, slot: str) -> None:
        kind = record.own(KIND)
        if kind == "method" and record.own("primitive") is not ABSENT:
            self._behaviour(record, key, slot)
        elif kind == "method":
            self._loose.append((record, key))
        elif kind == "message":
            self._tags[record._p_oid] = {"message": str(Reference(record._p_oid))}
        elif kind in ("model", "adapter"):
            self._tags[record._p_oid] = {kind: record.own("digest")}
            self._weigh(record, kind)
        elif record._p_oid not in self._tags:
            raise BadValue(f"{slot} of {key} refers to a {kind}, which stays in the image", f"remove it: removeSlot_('{slot}')")

    def _weigh(self, record: UvmObject, kind: model_registry.Kind) -> None:
        """Note a model, or an adapter and its model, with where the files are. A damaged one is referred to by its digest alone."""
        try:
            weights = views.weights(record, kind)
        except BadValue:
            return
        if weights.digest in self._weights:
            return
        if len(self._weights) == WEIGHTS:
            raise BadValue(f"the objects refer to more than {WEIGHTS:,} models and adapters", "export fewer objects at a time")
        digests = views.slot(record, "digests", dict, {})
        files = {path: digests[path] for path in weights.blobs if type(digests.get(path)) is str and isinstance(weights.blobs[path], Blob)}
        for path, digest in files.items():
            self._blobs.setdefault(digest, weights.blobs[path]._p_oid)
        whole = weights.blobs.keys() == files.keys() and listing_digest(files) == weights.digest
        self._weights[weights.digest] = ExportedWeights(kind, weights.digest, weights.name, weights.base or "", files if whole else {})
        base = model_registry.at(self._image, "model", weights.base) if weights.base else None
        if base is not None:
            self._weigh(base, "model")

    def survey(self, roots: int) -> Survey:
        homes: dict[bytes, tuple[str, str]] = {}
        labels: set[tuple[str, str]] = set()
        loose = ((method, key, str(method.own("selector"))) for method, key in self._loose)
        for method, key, label in [*self._methods, *loose]:
            if method._p_oid in self._tags or method._p_oid in homes:
                continue
            if (key, label) in labels:
                label = f"{label}{Reference(method._p_oid)}"
            labels.add((key, label))
            homes[method._p_oid] = (key, label)
            self._tags[method._p_oid] = {"method": [key, label]}
        return Survey(image_id(self._image), self._objects, self.keys, roots, self._tags, homes, self._blobs, list(self._weights.values()))
