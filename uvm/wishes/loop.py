"""The image's wishes, as the heartbeat brings them on their way, once a beat: look what is newer, decide, hand over, hear what became.

Owned by the heartbeat's one thread. What is kept is one transaction, which checks the heartbeat's fencing token; what is outside of the
image (the directory behind the door) is written after the commit that decides it, and again at the next beat until its receipt is there.
So whoever is killed, the next beat goes on; an id is carried out once.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog

from deploy import environment
from deploy.upgrader import wheel_directory
from deploy.wishes import ImageWish, WishDoor
from uvm.image import views
from uvm.image.image import Image
from uvm.image.transactor import Transactor
from uvm.wishes import book, policy
from uvm.wishes.criterion import WishDecision, decide

log = structlog.get_logger()


class WishLoop:
    """The loop of one process; it remembers nothing between two beats."""

    def __init__(self, image: Image, transactor: Transactor, door: WishDoor, check: Callable[[], None], wheels: str) -> None:
        """`wheels`: the directory of wheels; empty: there is none, and nothing is newer."""
        self._image = image
        self._transactor = transactor
        self._door = door
        self._check = check
        self._wheels = wheels

    def beat(self) -> None:
        """One step. Raises ImageAway, and what `check` raises."""
        newer = wheel_directory.newer(self._wheels, installed()) if self._wheels else {}
        decision = self._transactor.run(lambda: self._decide(newer, int(time.time())))
        if decision.wanted is not None:
            log.info("the image wishes", wanted=str(decision.wanted), reason=decision.reason)
        self._give()

    def _decide(self, newer: Mapping[str, wheel_directory.NewerVersion], now: int) -> WishDecision:
        self._check()
        upgrade = book.holder(self._image)
        if upgrade is None:
            return WishDecision(None, f"{policy.NAME} is somebody else's name")
        book.note_newer(upgrade, newer)
        under_way = book.given(upgrade)
        rule, fault = policy.read(views.slot(upgrade, policy.SLOT, dict, {}))
        told = book.receipts(self._image) if under_way is not None or rule.enabled else []
        if under_way is not None:
            book.conclude(under_way, told, now)
        if book.given(upgrade) is None and (waiting := book.unfinished(upgrade)):
            book.hand_over(waiting[0])
        engaged = "a wish is under way" if book.unfinished(upgrade) else ""
        spoilt = book.spoilt(upgrade, told)
        decision = decide(newer, rule, spoilt, book.own_times(upgrade), now=now, engaged=engaged, fault=fault)
        if decision.wanted is not None:
            wish = book.made(self._image, [str(decision.wanted)], decision.reason, [], "", now)
            book.hand_over(wish)
            upgrade.put("wishes", book.with_wish(upgrade, wish))
        book.note(upgrade, decision, now)
        return decision

    def _give(self) -> None:
        """Have the wish that is under way wait at the door, and nothing else."""
        wanted = self._transactor.look(self._under_way)
        if wanted is not None:
            self._door.give(wanted)
        self._door.forget_others({wanted.id} if wanted is not None else set())

    def _under_way(self) -> ImageWish | None:
        upgrade = book.holder(self._image)
        wish = book.given(upgrade) if upgrade is not None else None
        try:
            return book.as_document(wish) if wish is not None else None
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            log.warning("a wish cannot be understood, and is not given", error=str(error))
            return None  # nobody takes it, and so it lapses


def installed() -> dict[str, str]:
    """What this process runs with: normalized name → version."""
    return environment.distributions(Path(sys.prefix))
