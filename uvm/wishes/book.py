"""What the image keeps of its wishes: the primordial object `upgrade_obj`. In a transaction of the heartbeat, or of a UVM (`wishFor_`).

Its slots: `policy` (`uvm.wishes.policy`), `newer` (map: name of a distribution → version installed, newest wheel), `wishes` (objects, the
newest `KEPT`), and `last` (map of `at` and `reason`: what was decided at last).

A wish has `requirements` (list of `NAME==VERSION`), `reason`, `must_hold`, `principal` (who sent it; empty: the heartbeat itself), `at`,
`state`, `id` (once it was given to the upgrader), `upgrade` (the number of the upgrade that it became) and `why` (of one that came to
nothing). States: `waiting` → `given` → `permanent`, `reverted` or `refused`, as its receipt in the chronicle says; or `lapsed`: the
upgrader did not take it within a day. Everything is read by type and never trusted: policy may put anything into these slots.
"""

import secrets
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

import msgspec

from deploy.upgrader.wheel_directory import NewerVersion
from deploy.wishes import LARGEST, ImageWish
from uvm.history import entries
from uvm.image import views
from uvm.image.image import Image
from uvm.image.large import loaded
from uvm.objects import PARENTS, UvmObject
from uvm.wishes import policy
from uvm.wishes.criterion import DAY_S, WishDecision

BY: Final = "heartbeat"
"""Who wishes, as a receipt says it, where no message did."""
WAITING: Final = 8
"""Wishes that may wait for each other."""
KEPT: Final = 32
"""Wishes that are kept; the chronicle remembers what became of older ones."""
LOOKED: Final = 2000
"""Entries of the chronicle that are looked through for receipts, the newest."""
NEWER: Final = 200
"""Distributions of which it is kept that there is a newer version."""
_WELL: Final = "permanent"


def ensure(image: Image) -> bool:
    """Make the object where the image has none; whether it did. A name that somebody has given to something else stays theirs."""
    if policy.NAME in image.names:
        return False
    slots: dict[str, Any] = {
        PARENTS: [image.named("traits_obj")],
        "name": policy.NAME,
        policy.SLOT: msgspec.to_builtins(policy.WishPolicy()),
        "newer": {},
        "wishes": [],
        "last": None,
    }
    image.give_name(UvmObject(slots), policy.NAME)
    image.root["primordial"] = [*image.root["primordial"], policy.NAME]
    return True


def holder(image: Image) -> UvmObject | None:
    """The object; None where somebody has that name for something of their own."""
    return image.named(policy.NAME) if policy.NAME in image.root["primordial"] else None


def made(image: Image, requirements: list[str], reason: str, must_hold: list[Any], principal: str, at: int) -> UvmObject:
    """A wish that waits; it is in no slot yet."""
    slots: dict[str, Any] = {
        PARENTS: [image.named("traits_obj")],
        "requirements": requirements,
        "reason": reason,
        "must_hold": must_hold,
        "principal": principal,
        "at": at,
        "state": "waiting",
        "id": "",
        "upgrade": 0,
        "why": "",
    }
    return UvmObject(slots)


def with_wish(book: UvmObject, wish: UvmObject) -> list[UvmObject]:
    """The wishes with one more."""
    return [*views.objects(book, "wishes"), wish][-KEPT:]


def unfinished(book: UvmObject) -> list[UvmObject]:
    """The wishes of which nothing has become yet, the oldest first."""
    return [wish for wish in views.objects(book, "wishes") if wish.own("state") in ("waiting", "given")]


def given(book: UvmObject) -> UvmObject | None:
    """The wish that the upgrader was given; there is one at a time."""
    return next((wish for wish in unfinished(book) if wish.own("state") == "given"), None)


def own_times(book: UvmObject) -> list[int]:
    """When the heartbeat itself wished."""
    return [views.slot(wish, "at", int, 0) for wish in views.objects(book, "wishes") if wish.own("principal") == ""]


def receipts(image: Image) -> list[dict[str, Any]]:
    """What became of upgrades, the newest first."""
    newest = islice(entries.newest_first(image, chronicle=True), LOOKED)
    facts = (loaded(each.entry.get("facts")) for each in newest if each.entry["kind"] == "upgrade")
    return [each for each in facts if isinstance(each, dict)]


def spoilt(book: UvmObject, told: list[dict[str, Any]]) -> set[str]:
    """`NAME==VERSION` of all that was wished for, by whomever, and is not in force because of it. What was well at last is not spoilt."""
    seen: dict[str, bool] = {}
    for receipt in told:
        for each in _texts(receipt.get("wished")):
            seen.setdefault(each, receipt.get("outcome") != _WELL)
    for wish in views.objects(book, "wishes"):
        if wish.own("state") in ("reverted", "refused", "lapsed"):
            for each in _texts(wish.own("requirements")):
                seen.setdefault(each, True)
    return {each for each, bad in seen.items() if bad}


def note_newer(book: UvmObject, newer: Mapping[str, NewerVersion]) -> None:
    """Keep what the directory of wheels has that is newer."""
    listed = {name: list(versions) for name, versions in sorted(newer.items())[:NEWER]}
    if book.own("newer") != listed:
        book.put("newer", listed)


def note(book: UvmObject, decision: WishDecision, now: int) -> None:
    """Keep what was decided, where it is not what was decided before; the chronicle has the receipts."""
    before = views.slot(book, "last", dict, {}) if book.own("last") is not None else {}
    if before.get("reason") != decision.reason:
        book.put("last", {"at": now, "reason": decision.reason})


def hand_over(wish: UvmObject) -> None:
    """A wish is to be given to the upgrader, under an id of its own."""
    wish.put("id", secrets.token_hex(8))
    wish.put("state", "given")


def conclude(wish: UvmObject, told: list[dict[str, Any]], now: int) -> None:
    """Enter what became of a wish that was given, where its receipt is there, or nobody took it for a day."""
    receipt = next((each for each in told if each.get("wish") == wish.own("id")), None)
    if receipt is not None:
        outcome = receipt.get("outcome")
        wish.put("state", outcome if outcome in (_WELL, "reverted", "refused") else "lapsed")
        wish.put("upgrade", receipt["upgrade"] if type(receipt.get("upgrade")) is int else 0)
        wish.put("why", str(receipt.get("why", ""))[:2000])
    elif now - views.slot(wish, "at", int, 0) > DAY_S:
        lapse(wish, "the upgrader did not take it within a day; `batos upgrades` and the log of the upgrader say more")


def lapse(wish: UvmObject, why: str) -> None:
    """Nothing becomes of a wish."""
    wish.put("state", "lapsed")
    wish.put("why", why[:2000])


def as_document(wish: UvmObject) -> ImageWish:
    """A wish as the upgrader reads it. Raises ValueError or TypeError for one that policy has made something else of."""
    pairs = [each.partition("==") for each in _texts(wish.own("requirements"))]
    plain = {
        "id": wish.own("id"),
        "at": wish.own("at"),
        "by": wish.own("principal") or BY,
        "requirements": [{"name": name, "version": version} for name, _, version in pairs],
        "reason": wish.own("reason"),
        "must_hold": wish.own("must_hold"),
    }
    wanted = msgspec.convert(plain, ImageWish)
    if len(msgspec.json.encode(wanted)) > LARGEST:
        raise ValueError(f"it is longer than {LARGEST:,} bytes")
    return wanted


def _texts(value: Any) -> list[str]:
    return [each for each in value if type(each) is str] if isinstance(value, list) else []
