"""What was sent, as the image keeps it to be looked at: a wire value with its references, or, where that is too much, how much it is."""

from typing import Any, Final

from uvm.errors import BadValue, NoSuchObject
from uvm.image.image import Image
from uvm.image.large import weight
from uvm.values.crossing import from_wire

KEPT: Final = 16_384
"""Bytes of a value that is kept."""


def retained(image: Image, value: Any) -> Any:
    """A wire value as a slot may hold it; an object that only the attempt had is kept as the text of its reference."""

    def resolve(reference: Any) -> Any:
        try:
            return image.visible(reference)
        except NoSuchObject:
            return str(reference)

    if weight(value, KEPT) > KEPT:
        return f"more than {KEPT:,} bytes, too many to keep"
    try:
        return from_wire(value, resolve)
    except BadValue as error:
        return error.message
