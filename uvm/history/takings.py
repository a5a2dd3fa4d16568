"""What an undo is asked to take back: an entry, a message, a transaction, or a method, as effects of entries. Reads only."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from msgspec import Struct

from uvm.errors import BadArguments, NotRecorded, UndoConflict
from uvm.history import entries, marks
from uvm.history.entries import Recorded
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.image.methods import VERSION
from uvm.image.pages import Position
from uvm.image.receipts import Ledger
from uvm.objects import UvmObject

LOOKED: Final = 20_000
"""Entries that an undo looks through, the newest first, for a message, for what a method wrote, and for what came later."""
SHORT: Final = 12
DRAWN: Final = 32
"""Characters of a session as `batos history` shows it, and as the client library draws it."""
TEXT_TID: Final = 16
"""Characters of a transaction's id."""
_LOOK: Final = 20
"""Units that an entry costs that is looked at."""

Charge = Callable[[int], None]


class Taking(Struct, frozen=True):
    """An entry of which effects are to be taken back; `numbers` are theirs, newest first."""

    recorded: Recorded
    numbers: tuple[int, ...]


def whole(image: Image, recorded: Recorded) -> Taking:
    """All effects of an entry that were not taken back yet. Raises NotRecorded for one that has none, UndoConflict."""
    count = len(recorded.entry.get("effects", ()))
    if not count:
        remedy = "what it made stays until nothing refers to it"
        if "revokeAuthor_" in recorded.entry.get("selector", "").split(","):
            remedy = "`batos restore`, or `batos adapters restore`, takes a revocation back"
        raise NotRecorded(f"{recorded.id} changed no slot that could be taken back", remedy, entry=recorded.id)
    undone = marks.taken_back(image, recorded.id)
    numbers = tuple(number for number in reversed(range(count)) if number not in undone)
    if not numbers:
        raise UndoConflict(
            f"{recorded.id} was taken back already",
            "`batos history` shows the undo that did it; undo that one to bring it back",
            entry=recorded.id,
        )
    return Taking(recorded, numbers)


def behind(image: Image, recorded: Recorded) -> Recorded:
    """The message that an entry of the chronicle tells of, where the effects are the message's; else the entry itself."""
    if not recorded.chronicled or recorded.entry.get("effects"):
        return recorded
    messages = [message for message in entries.of_transaction(image, recorded.tid) if not message.chronicled]
    cause = recorded.entry.get("cause", "")
    same = [message for message in messages if cause and f"{message.entry.get('session')}/{message.entry.get('seq')}" == cause]
    return same[0] if same else messages[0] if len(messages) == 1 and not cause else recorded


def of_message(image: Image, session: str, seq: int, principal: str, charge: Charge) -> Recorded:
    """The journal's entry of a message; the principal's own, where several have a session of that name. Raises NotRecorded.

    Its receipt names the entry, as long as it is there. Else the newest entries are looked through, where a session that a client has
    drawn is known by its first `SHORT` digits as well.
    """
    named = Ledger(image).entry(principal, session, seq)
    if named:
        charge(_LOOK)
        with suppress(NotRecorded):
            return entries.find(image, named)
    foreign: Recorded | None = None
    for recorded in looked_through(image, charge):
        if not recorded.chronicled and recorded.entry.get("seq") == seq and _is_session(recorded.entry.get("session", ""), session):
            if recorded.entry.get("principal", principal) == principal:
                return recorded
            foreign = foreign or recorded
    if foreign is not None:
        return foreign
    raise NotRecorded(
        f"no message {session}/{seq} is in the newest {LOOKED:,} entries of the journals, and no receipt says where it is",
        "it changed nothing, or it was long ago: name the transaction that its answer had (batos undo TID), or the entry that "
        "`batos history` shows (batos undo uvm-1/17.3)",
    )


def _is_session(session: str, word: str) -> bool:
    return session == word or (len(word) == SHORT and len(session) == DRAWN and session.startswith(word))


def of_transaction(image: Image, tid: bytes) -> list[Taking]:
    """What a transaction did, newest first, as far as it was not taken back. Raises NotRecorded, UndoConflict."""
    changing = [recorded for recorded in entries.of_transaction(image, tid) if recorded.entry.get("effects")]
    if not changing:
        raise NotRecorded(
            f"no journal has anything of the transaction {tid.hex()}", "`batos history` shows the transactions of messages, as `tid`"
        )
    if all(len(marks.taken_back(image, recorded.id)) == len(recorded.entry["effects"]) for recorded in changing):
        raise UndoConflict(f"all of {tid.hex()} was taken back already", "`batos history` shows by which undo")
    return [Taking(recorded, tuple(reversed(range(len(recorded.entry["effects"]))))) for recorded in changing]


def of_method(image: Image, holder: UvmObject | None, selector: str, method: UvmObject, charge: Charge) -> list[Taking]:
    """The installations of a method that are in force: on the holder, or, without one, wherever it was put. Raises NotRecorded.

    Where the chronicle does not have it any more, the method itself knows what it replaced.
    """
    takings: list[Taking] = []
    locations: set[tuple[int, str]] = set()
    for recorded in looked_through(image, charge, chronicle=True):
        for number, (owner, slot, _, _, _, *left_there) in enumerate(recorded.entry.get("effects", ())):
            location = id(owner), slot
            matches = left_there == ["=", method] and (holder is None or (owner is holder and slot == selector))
            # One that is shared may have been corrected where it stands: then that was what became of it last.
            matches = matches or (owner is method and slot == VERSION and left_there[:1] == ["="])
            if (
                matches
                and location not in locations
                and owner.own(slot) is left_there[1]
                and number not in marks.taken_back(image, recorded.id)
            ):
                locations.add(location)
                takings.append(Taking(recorded, (number,)))
        if takings and holder is not None:
            return takings
    if holder is not None:
        replaced = method.own("replaced")
        before = replaced if is_method(replaced) else None
        effect = [holder, selector, before is not None, before, None, "=", method]
        return [Taking(Recorded("", Position(0, 0), b"", {"effects": [effect]}), (0,))]
    if not takings:
        raise NotRecorded(
            f"{method!r} stands in no slot that the chronicle knows of", "name the object and the selector: `batos undo TARGET SELECTOR`"
        )
    return takings


def written_by(image: Image, method: UvmObject, installs: list[Taking], charge: Charge) -> tuple[list[Taking], bool]:
    """The effects that a method had since it was installed, newest first, but those taken back already; and whether there may be more."""
    since = min(taking.recorded.tid for taking in installs)
    takings: list[Taking] = []
    looked = 0
    for recorded in looked_through(image, charge):
        looked += 1
        if recorded.tid < since:
            return takings, False
        effects = recorded.entry.get("effects", ()) if not recorded.chronicled else ()
        numbers = tuple(number for number in reversed(range(len(effects))) if effects[number][4] is method)
        if numbers and (numbers := tuple(number for number in numbers if number not in marks.taken_back(image, recorded.id))):
            takings.append(Taking(recorded, numbers))
    return takings, looked >= LOOKED


def looked_through(image: Image, charge: Charge, chronicle: bool = False) -> Iterable[Recorded]:
    """The newest entries, as many as an undo looks through; each is charged for."""
    for count, recorded in enumerate(entries.newest_first(image, chronicle=chronicle)):
        if count >= LOOKED:
            return
        charge(_LOOK)
        yield recorded


def tid_of(text: str) -> bytes:
    """A transaction's id as people write it. Raises BadArguments."""
    try:
        tid = bytes.fromhex(text)
    except ValueError:
        tid = b""
    if len(text) != TEXT_TID or len(tid) != TEXT_TID // 2:
        raise BadArguments(f"{text!r:.100} is no transaction: that is {TEXT_TID} hexadecimal digits", "`batos history` shows them")
    return tid
