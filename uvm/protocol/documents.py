"""Exported objects: what an Export carries in pieces, and an Import takes in as a whole.

Their values are trees of what JSON can say, with tags for the rest; docs/export.md has the table.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from uvm.protocol.values import Name, decode_with

Key = Annotated[str, Meta(min_length=1, max_length=256)]
"""What an object is called within an export: its first name, or its reference in text where it has none."""


class MethodDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """A method. `positional`: how many parameters after `self` are given by place. `proof`, and who wrote it, are what the image that it
    comes from claims; `imports`: the images it came through, the newest last. `examples`: those that it has to satisfy. `quarantined`: why
    it is out of use."""

    selector: Annotated[str, Meta(min_length=1, max_length=128)]
    source: Annotated[str, Meta(min_length=1, max_length=65_536)]
    positional: Annotated[int, Meta(ge=0, le=255)] = 0
    policy: bool = False
    author: Annotated[str, Meta(max_length=256)] = ""
    born: Annotated[str, Meta(max_length=64)] = ""
    imports: Annotated[list[Any], Meta(max_length=64)] = []
    proof: Any = None
    examples: Any = None
    quarantined: Annotated[str, Meta(max_length=2000)] = ""


class ObjectDocument(Struct, frozen=True, forbid_unknown_fields=True):
    """An object. `slots` in their order, methods among them; `methods`: label → each method that has its place in this object."""

    key: Key
    names: Annotated[list[Name], Meta(max_length=10_000)] = []
    parents: Annotated[list[Any], Meta(max_length=256)] = []
    slots: dict[str, Any] = {}
    methods: dict[str, MethodDocument] = {}


class Bundle(Struct, frozen=True, forbid_unknown_fields=True):
    """What an Import takes in: encoded ObjectDocuments, and what their export said of itself."""

    image: Annotated[str, Meta(max_length=64)]
    tid: bytes
    roots: Annotated[list[Key], Meta(max_length=1000)]
    objects: list[bytes]


_bundles: msgspec.msgpack.Decoder[Bundle] = msgspec.msgpack.Decoder(Bundle)
_documents: msgspec.msgpack.Decoder[ObjectDocument] = msgspec.msgpack.Decoder(ObjectDocument)


def decode_bundle(encoded: bytes) -> Bundle:
    """What an Import takes in. Raises msgspec.DecodeError."""
    return decode_with(_bundles, encoded)


def decode_document(encoded: bytes) -> ObjectDocument:
    """One object of a bundle, or of an Exported. Raises msgspec.DecodeError."""
    return decode_with(_documents, encoded)
