"""The image's word for another version of what it is made of: `wishFor_` of `upgrade_obj`. Called in a UVM, in a message's transaction.

What becomes of a wish is told by its slots (`uvm.wishes.book`). The heartbeat brings it on its way, and the upgrader decides.
"""

from typing import Any, Final

import msgspec

from deploy.wishes import LARGEST, MUST_HOLD, REQUIREMENTS, ImageWish
from uvm.errors import BadArguments
from uvm.objects import UvmObject
from uvm.runtime.runtime import Primitive, Runtime
from uvm.values.slot_values import checked
from uvm.wishes import book

_NO_ID: Final = "0" * 16
_HOW: Final = "as in `batos send upgrade_obj wishFor_ '[\"structlog==26.2.0\"]' '\"it is newer\"'`"


def wish_for(
    runtime: Runtime, receiver: UvmObject, requirements: list[str], reason: str = "", must_hold: list[Any] | None = None
) -> UvmObject:
    """Wish for newer versions of what is installed, `NAME==VERSION` each; answers the wish, whose `state` says what becomes of it.

    `must_hold`: messages that must have a result on a copy of the image, maps of `target`, `selector` and `result`.
    """
    if not isinstance(requirements, list) or not all(type(each) is str and each.count("==") == 1 for each in requirements):
        raise BadArguments("wishFor_ takes a list of NAME==VERSION, and a reason", _HOW)
    pairs = [each.split("==") for each in requirements]
    plain = {
        "id": _NO_ID,
        "at": 0,
        "by": "",
        "requirements": [{"name": name.strip(), "version": version.strip()} for name, version in pairs],
        "reason": reason,
        "must_hold": must_hold if must_hold is not None else [],
    }
    try:
        wanted = msgspec.convert(checked(plain), ImageWish)
        if len(msgspec.json.encode(wanted)) > LARGEST - len(runtime.attempt.principal):
            raise ValueError(f"it is longer than {LARGEST:,} bytes")
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        bounds = f"1 to {REQUIREMENTS} of them, a reason of at most 500 characters, at most {MUST_HOLD} maps that must hold"
        raise BadArguments(f"this cannot be wished for: {error}", f"{bounds}; {_HOW}") from error
    runtime.check_writable(receiver)
    if receiver is not book.holder(runtime.image):
        raise BadArguments("only upgrade_obj itself can wish, and what it wishes for is looked at; a clone of it cannot", _HOW)
    if len(book.unfinished(receiver)) >= book.WAITING:
        raise BadArguments(f"{book.WAITING} wishes wait already", "wish again when they have ended; slot `wishes` of upgrade_obj has them")
    wish = book.made(
        runtime.image,
        [str(each) for each in wanted.requirements],
        wanted.reason,
        msgspec.to_builtins(wanted.must_hold),
        runtime.attempt.principal,
        int(runtime.attempt.now),
    )
    runtime.attempt.made(wish)
    runtime.put(receiver, "wishes", book.with_wish(receiver, wish))
    return wish


UPGRADES: dict[str, Primitive] = {"wishFor_": wish_for}
