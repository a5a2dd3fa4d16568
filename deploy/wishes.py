"""What the image wishes for of itself, on its way to the upgrader: one JSON document each, `wishes/ID.json` in the home.

A narrow door. The heartbeat, which is confined and has no key, writes here; the upgrader reads, and decides what becomes of it
(`deploy.upgrader.door`). A document has room for newer versions of distributions that are installed, and nothing else: no hash, no
source, no option, no command. Whoever can write the home may write one, and gets no more by it.
Each appears whole, as everything in `deploy.orders`. The upgrader trusts neither the directory nor what lies in it: it follows no link.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from deploy import orders
from deploy.home import Home
from deploy.upgrader.instructions import DistributionName, ExpectedReply, Sentence, Version

REQUIREMENTS: Final = 32
"""Distributions of one wish of the image's."""
MUST_HOLD: Final = 16
LARGEST: Final = 65_536
"""Bytes of a wish."""
_MOST: Final = 16
"""Documents that are looked at in one go; the others wait."""
_NAME: Final = re.compile(r"[0-9a-f]{16}\.json")


class WantedVersion(Struct, frozen=True, forbid_unknown_fields=True):
    """A distribution that is installed, in a newer version."""

    name: DistributionName
    version: Version

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


class ImageWish(Struct, frozen=True, forbid_unknown_fields=True):
    """A wish of the image's. `by`: who wishes there, a principal or the heartbeat itself; the rest as in `UpdateInstructions`."""

    id: orders.Id
    at: Annotated[int, Meta(ge=0, lt=2**53)]
    by: Annotated[str, Meta(max_length=400)]
    requirements: Annotated[list[WantedVersion], Meta(min_length=1, max_length=REQUIREMENTS)]
    reason: Sentence = ""
    must_hold: Annotated[list[ExpectedReply], Meta(max_length=MUST_HOLD)] = []


class WishDoor:
    """The directory of a home."""

    def __init__(self, home: Home) -> None:
        self.path = home.path / "wishes"

    def ensure(self) -> None:
        """Make it, closed to other accounts."""
        self.path.mkdir(exist_ok=True, mode=0o700)

    def give(self, wish: ImageWish) -> None:
        """Leave a wish. Doing it again changes nothing: an id is carried out once."""
        self.ensure()
        orders.write(self.path / f"{wish.id}.json", wish)

    def forget_others(self, kept: set[str]) -> None:
        """Take away what nobody wishes for any more."""
        for left in self.path.iterdir() if self.path.is_dir() else ():
            if left.suffix == ".json" and left.stem not in kept:
                left.unlink(missing_ok=True)

    # --- the upgrader's side --------------------------------------------------------------------------------------------

    def waiting(self) -> Iterator[tuple[str, ImageWish | None]]:
        """Ids of what waits, with the wish; None for a document that is none."""
        with suppress(OSError):  # there is no such directory, or it is something else
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                with os.scandir(descriptor) as entries:
                    names = sorted(entry.name for entry, _ in zip(entries, range(1000), strict=False) if _NAME.fullmatch(entry.name))
                for name in names[:_MOST]:
                    yield name.removesuffix(".json"), _read(descriptor, name)
            finally:
                os.close(descriptor)

    def take_away(self, identifier: str) -> None:
        """Remove a wish that was taken, or refused."""
        with suppress(OSError):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.unlink(f"{identifier}.json", dir_fd=descriptor)
            finally:
                os.close(descriptor)


def _read(directory: int, name: str) -> ImageWish | None:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return None
            content = file.read(LARGEST + 1)
        wish = msgspec.json.decode(content, type=ImageWish) if len(content) <= LARGEST else None
    except (OSError, msgspec.DecodeError, RecursionError):
        return None
    return wish if wish is not None and wish.id == Path(name).stem else None
