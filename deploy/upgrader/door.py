"""The image's own wishes, let in: what the image asked for (`deploy.wishes`), pinned and signed, or refused with a reason.

The image is trusted with less than the owner. It may wish only for newer versions of distributions that are installed, only from the
directory of wheels (no index is asked because of it), and so often a day as `upgrade.image_a_day` says. The hashes are of the wheels
that lie there now, taken here; the key stays where the image's processes cannot read it. What is let in becomes the same
`update_instructions.json` as anybody's wish, so that there is one way from there on.
Called by the upgrader's one thread.
"""

import time
from typing import Final

import structlog

from deploy import environment
from deploy.settings import Configuration
from deploy.upgrader import instructions, journal, wheels
from deploy.upgrader.events import WishRefused
from deploy.upgrader.instructions import BadInstructions, PinnedDistribution
from deploy.upgrader.wheel_directory import is_newer
from deploy.wishes import ImageWish, WantedVersion, WishDoor

BY: Final = "image/"
"""How the `asked_by` of an image's wish begins; no account of the host is called so."""
DAY_S: Final = 86_400.0

log = structlog.get_logger()


def let_in(configuration: Configuration, now: float) -> WishRefused | None:
    """Have at most one wish of the image's wait as anybody's does; what is refused, if one is, to be written down."""
    home, door = configuration.home, WishDoor(configuration.home)
    if (home.upgrades / instructions.FILE).exists():
        return None
    for identifier, wish in list(door.waiting()):
        if wish is None:
            log.warning("what waits at the door is no wish, and is removed", id=identifier)
            door.take_away(identifier)
        elif journal.wished(home, identifier) is not None:
            door.take_away(identifier)
        elif taken(configuration, now) >= configuration.settings.upgrade.image_a_day:
            return None  # it waits for another day; the image gives it up when it likes
        else:
            try:
                return _take(configuration, wish, now)
            except OSError as error:  # no room on the disk, say: it is looked at again
                log.error("a wish of the image's cannot be taken now", id=identifier, error=str(error))
                return None
    return None


def taken(configuration: Configuration, now: float) -> int:
    """How many wishes of the image's were taken or refused within a day."""
    upgrades = journal.every(configuration.home)
    return sum(1 for upgrade in upgrades if upgrade.asked_by.startswith(BY) and upgrade.stages and now - upgrade.stages[0].at < DAY_S)


def _take(configuration: Configuration, wish: ImageWish, now: float) -> WishRefused | None:
    by = f"{BY}{wish.by}"
    try:
        pinned = [_pinned(configuration, each) for each in wish.requirements]
        signed = instructions.wish(
            configuration.home,
            by,
            requirements=pinned,
            reason=wish.reason,
            must_hold=wish.must_hold,
            identifier=wish.id,
        )
    except BadInstructions as bad:
        wished = [str(each) for each in wish.requirements]
        return WishRefused(at=now, why=str(bad)[:1000], id=wish.id, asked_by=by, reason=wish.reason, wished=wished)
    try:
        instructions.put(configuration.home, signed)
    except BadInstructions:
        return None  # somebody was quicker, and goes first
    log.info("the image wishes", id=wish.id, by=wish.by, waited_s=round(time.time() - wish.at))
    return None


def _pinned(configuration: Configuration, wanted: WantedVersion) -> PinnedDistribution:
    installed = environment.distributions(environment.prefix_in_force(configuration.home))
    has = installed.get(environment.normalized(wanted.name))
    if has is None:
        raise BadInstructions(f"{wanted.name} is not installed; the image may wish for newer versions of what is, and for nothing else")
    if not is_newer(wanted.version, has):
        raise BadInstructions(f"{wanted} is not newer than {has}, which is in force")
    hashes = wheels.in_directory(configuration, wanted.name, wanted.version)
    if not hashes:
        where = configuration.settings.upgrade.wheels or "upgrade.wheels, which is not set"
        raise BadInstructions(f"there is no wheel of {wanted} in {where}")
    return PinnedDistribution(wanted.name, wanted.version, hashes[:64])
