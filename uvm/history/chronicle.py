"""The chronicle: what mattered in the image's life. Ordinary messages are in the journals; here is what one looks for years later.

`record` writes an entry, in the current transaction, so that it is true exactly when what it tells of is:

    chronicle.record(image, "install", author=persona, cause=message, object=holder, slot=selector, method=made)

Layout: table `chronicle`, key name of the writer (`Image.writer`) → head of a book (`uvm.image.pages`), so that two processes never
write one page. An entry has `kind`, `at` (seconds since the epoch), `author`, `cause`, `object`, `slot`, `method`, as far as they are
there, `facts` (a map of plain values), and `effects` where undo can take it back: as in a journal (`uvm.image.journal`). It holds on to
the objects that it names, so that a pack keeps them. In images of earlier versions the table's records are entries themselves.
"""

import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from BTrees.OOBTree import OOBTree

from uvm.image import pages, prompts
from uvm.image.image import Image
from uvm.image.journal import Effect, effects_kept
from uvm.image.large import stored, weight
from uvm.objects import ABSENT, KIND, UvmObject
from uvm.values.slot_values import copied

Kind = Literal[
    "birth",
    "renewal",
    "install",
    "correction",
    "removal",
    "refusal",
    "quarantine",
    "release",
    "model",
    "adapter",
    "prompt",
    "revocation",
    "restoration",
    "undo",
    "import",
    "upgrade",
    "decision",
    "gap",
]
KINDS: Final = get_args(Kind)
"""birth: the image's first objects. renewal: what a newer kernel added. install, correction, removal: of a method; a correction
replaces one. refusal: of a method that was to be written. quarantine, release: a method was put out of use, and back. model, adapter: one
was imported, removed, or put into a slot. prompt: what the model is asked with was changed, `facts` have the text before and after it.
revocation, restoration: of an adapter's or an author's methods. undo, import, upgrade: as they say. decision, gap: what the autotelic loop
decided, and what it found to be missing (`uvm.autotelic`)."""

PAGES: Final = 4000
KEPT: Final = 32_000_000
"""Pages and bytes that one writer's book keeps; the oldest pages go first."""
TEXT: Final = 2000
"""Characters of a text of an entry; what is longer is cut."""
_ENTRY: Final = 128


def record(
    image: Image,
    kind: Kind,
    *,
    author: str,
    cause: UvmObject | str = "",
    object: UvmObject | None = None,
    slot: str = "",
    method: UvmObject | None = None,
    effects: Iterable[Effect] = (),
    facts: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write down what mattered, in the current transaction.

    `author`: the principal, persona or program that did it. `cause`: the message object, or the request or command in words.
    `object`, `slot` and `method` are those concerned. `effects`: what changed of slots, where no journal has it; then undo can take it
    back. `facts`: plain values that say more.
    """
    entry: dict[str, Any] = {"kind": kind, "at": int(time.time()), "author": author[:TEXT]}
    entry |= {name: value for name, value in (("object", object), ("method", method)) if value is not None}
    entry |= {name: value[:TEXT] if isinstance(value, str) else value for name, value in (("cause", cause), ("slot", slot)) if value}
    if facts:
        entry["facts"] = stored({name: value[:TEXT] if isinstance(value, str) else copied(value) for name, value in facts.items()})
    changes = effects_kept(image, effects)
    if changes:
        entry["effects"] = changes
    octets = _ENTRY + weight(entry, KEPT)
    for number in pages.append(_head(image), [(entry, octets)], PAGES, KEPT).dropped:
        image.strike("undone", f"{image.writer}/c{number}")


def record_effects(image: Image, effects: Iterable[Effect], author: str, cause: str) -> None:
    """Write down what mattered of a message's effects: methods that it removed or put back, models and adapters that it put somewhere,
    and texts that personas are asked with.
    """
    for owner, slot, before, after, _ in effects:
        was, is_now = _kind(before), _kind(after)
        if was == "method" or is_now == "method":
            kind: Kind = "removal" if after is ABSENT else "correction" if was == "method" else "install"
            record(image, kind, author=author, cause=cause, object=owner, slot=slot, method=before if after is ABSENT else after)
        elif is_now in ("model", "adapter"):
            record(
                image, "model" if is_now == "model" else "adapter", author=author, cause=cause, object=owner, slot=slot, facts=_named(after)
            )
        elif slot in prompts.SLOTS and prompts.is_persona(image, owner):
            record(
                image, "prompt", author=author, cause=cause, object=owner, slot=slot, facts={"before": _text(before), "after": _text(after)}
            )


def _kind(value: Any) -> Any:
    return value.own(KIND) if type(value) is UvmObject else ABSENT


def _named(weights: UvmObject) -> dict[str, str]:
    return {name: value for name in ("name", "digest") if type(value := weights.own(name)) is str}


def _text(covenant: Any) -> dict[str, str]:
    """A text that the model is asked with, as far as it is one; a whole one, which a fact that is a text itself is not."""
    return {"text": covenant} if type(covenant) is str and len(covenant) <= prompts.CHARACTERS else {}


def _head(image: Image) -> UvmObject:
    head: UvmObject = image.shard("chronicle", image.writer).own(image.writer)
    if head is ABSENT:
        head = UvmObject({KIND: "chronicle", "pages": OOBTree(), "bytes": 0})
        image.enter("chronicle", image.writer, head)
    return head
