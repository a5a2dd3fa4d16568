"""The shape of the image: a number for how its own structure is laid out, kept in the image's root as `shape`.

A migration (`uvm.awakening.migrations`) brings an image from one shape to the next. An image that says nothing has shape 0. Code that
is older than an image does not touch it: every process that opens one looks first.
"""

from typing import Final

from uvm.errors import ImageError
from uvm.image.image import Image

SHAPE: Final = 1
"""The shape that this code reads and writes."""
_KEY: Final = "shape"


class ImageNewer(ImageError):
    """The image has a shape that this code does not know; nothing was changed."""


def shape_of(image: Image) -> int:
    """The shape of an image, in its open transaction. Raises ImageNewer where it is none that code ever wrote."""
    recorded = image.root.get(_KEY, 0)
    if type(recorded) is not int or recorded < 0:
        raise ImageNewer(f"the image's shape is {recorded!r:.80}, which is none", "restore a backup")
    return recorded


def expect_known(image: Image) -> int:
    """The shape of an image. Raises ImageNewer when this code is older than that."""
    shape = shape_of(image)
    if shape > SHAPE:
        raise ImageNewer(
            f"the image has shape {shape}, and this version knows shapes up to {SHAPE}",
            "start the version that wrote it; `batos upgrades` lists them",
        )
    return shape


def record_shape(image: Image, shape: int) -> None:
    """Write down that the image has this shape now, in the current transaction; of shape 0 it says nothing."""
    if shape:
        image.root[_KEY] = shape
    else:
        image.root.pop(_KEY, None)
