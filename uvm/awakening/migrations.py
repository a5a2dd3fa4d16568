"""Migrations of the image's own structure, numbered: migration N brings an image of shape N - 1 to shape N, and takes it back.

`migrate` is part of the awakening's one transaction: all that are due are carried out in it, or none, and an image whose migration fails
is as it was. So a migration must be small enough for one transaction; one that is not does its work in portions that the old code can
live with, before the last migration says that it is done. What only adds something that was lacking is no migration but a renewal
(`uvm.awakening.renewal`).

A version that is on trial may have to go: `python -m uvm.awakening.migrations --to SHAPE`, run by the upgrader with the newer version's
Python before the older one starts, takes back what that one does not know, in one transaction too. What was written meanwhile stays.

A migration is never changed once it was released, and never leaves out what an image may have: `tests/images/` has an image of each
shape that was released, and the tests replay every migration on all of them.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from transaction.interfaces import NoTransaction, TransientError
from ZODB.POSException import StorageError

from deploy import logs, profiles
from deploy.settings import SettingsError, load
from uvm.errors import ImageError
from uvm.history import chronicle
from uvm.image.client import ImageUnreachable, open_image
from uvm.image.image import Image
from uvm.image.shape import ImageNewer, record_shape, shape_of
from uvm.image.transactor import TRIES, back_off
from uvm.startup import confine, wait_for_files


class Migration(NamedTuple):
    """One step: the shape that it leads to, what it does in words, how, and how it is taken back."""

    number: int
    what: str
    carry_out: Callable[[Image], None]
    take_back: Callable[[Image], None]


def _say_shape(image: Image) -> None:
    """Nothing but the number itself, which is recorded with each step: from here on an image says which shape it has."""


MIGRATIONS: Final[tuple[Migration, ...]] = (Migration(1, "the image says which shape it has", _say_shape, _say_shape),)


def migrate(image: Image, migrations: Sequence[Migration] = MIGRATIONS) -> list[Migration]:
    """Carry out what is due, in the current transaction; what that was. Raises ImageNewer, and whatever a migration raises."""
    shape = _known(image, migrations)
    due = list(migrations[shape:])
    for migration in due:
        migration.carry_out(image)
        record_shape(image, migration.number)
    return due


def go_back(image: Image, to: int, migrations: Sequence[Migration] = MIGRATIONS) -> list[Migration]:
    """Take back what leads beyond a shape, the last first, in the current transaction; what that was. Raises ImageNewer."""
    shape = _known(image, migrations)
    undone = list(reversed(migrations[max(0, to) : shape]))
    for migration in undone:
        migration.take_back(image)
        record_shape(image, migration.number - 1)
    return undone


def _known(image: Image, migrations: Sequence[Migration]) -> int:
    shape = shape_of(image)
    if shape > len(migrations):
        raise ImageNewer(
            f"the image has shape {shape}, and this version knows shapes up to {len(migrations)}",
            "start the version that wrote it; `batos upgrades` lists them",
        )
    return shape


def main() -> int:
    """Entry point: take back, through the image's server, what leads beyond a shape."""
    parser = argparse.ArgumentParser(description="Take back the migrations that lead beyond a shape of the image.")
    parser.add_argument("--to", type=int, required=True, help="the shape that the image is to have")
    parser.add_argument("--wait", type=float, default=30.0, help="seconds to wait for the ZEO server")
    options = parser.parse_args()
    logs.start("migrations", "warning")
    try:
        configuration = load()
        if not wait_for_files(configuration, seconds=options.wait):
            raise ImageUnreachable(f"no image answers at {configuration.home.zeo_socket}")
        confine("migrations", configuration, profiles.heartbeat_profile(configuration))
        image = open_image(configuration, options.wait)
    except (SettingsError, ImageUnreachable) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    image.writer = "upgrader"
    try:
        undone = _commit(image, options.to)
        sys.stdout.write("".join(f"taken back: shape {migration.number}, {migration.what}\n" for migration in undone))
    except (ImageError, TransientError, StorageError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        image.close()
    return 0


def _commit(image: Image, to: int) -> list[Migration]:
    for tried in range(1, TRIES + 1):
        image.manager.begin()
        try:
            undone = go_back(image, to)
            if undone:
                facts = {"taken back": [f"shape {migration.number}: {migration.what}" for migration in undone]}
                chronicle.record(image, "renewal", author="upgrader", facts=facts)
            image.manager.commit()
            return undone
        except TransientError:
            if tried == TRIES:
                raise
            back_off(tried)
        finally:
            with suppress(NoTransaction):
                image.manager.abort()
    raise AssertionError("the last try returns or raises")


if __name__ == "__main__":
    raise SystemExit(main())
