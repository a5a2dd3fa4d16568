"""Which image this is, and what in it an export calls by name because every image has it. Within the current transaction."""

import hashlib
from typing import Any, Final

from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.objects import UvmObject

UNNAMED: Final = ("message_traits", "codex")
"""Objects of every image that have no name, by their place in its root."""


def image_id(image: Image) -> str:
    """What tells this image from any other; its backups have the same. It is made of the Codex and the transaction of its birth."""
    codex = image.root["codex"]
    codex._p_activate()
    return hashlib.sha256(image.root["identity"].encode() + codex._p_serial).hexdigest()[:32]


def primordial_objects(image: Image) -> dict[str, UvmObject]:
    """The objects that every image is born with, by the name that an export has for them."""
    root = image.root
    objects: dict[str, Any] = {name: image.names.get(name) for name in root["primordial"]}
    objects |= {name: root.get(name) for name in UNNAMED}
    return {name: owner for name, owner in objects.items() if type(owner) is UvmObject}


def primordial_methods(objects: dict[str, UvmObject]) -> dict[tuple[str, str], UvmObject]:
    """Their methods, by object and selector."""
    return {
        (name, selector): owner.own(selector)
        for name, owner in objects.items()
        for selector in owner.names()
        if is_method(owner.own(selector))
    }
