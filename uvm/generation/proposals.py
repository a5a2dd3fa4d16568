"""Methods that were written for a preview: shown, and installed by the message that accepts them. Inside a transaction.

A preview writes and tries a method like any other message, and then nothing is installed: the method is kept here, with what its trial
saw, until somebody accepts it by its digest, or another preview takes its place. At most `KEPT` are kept, for `LASTS_S` of the image's
time; the writer of the next one takes away what is too many or too old.

Layout: `root["proposals"]`, made with the first one → object whose slots are keys (`MethodRequest.key`) → object with `method`, not
installed yet, `holder`, `message`, `replaces` (the method whose place it takes, or nil), `versions` (digests of what it replaces and of
itself, as it was shown), `read` (pairs of oid and transaction), `digest` and `at`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from uvm.errors import ImageError, PreviewGone, PreviewOutdated
from uvm.image import clock as image_time
from uvm.image import contract
from uvm.image.image import Image
from uvm.image.message_object import PREVIEW, is_method
from uvm.objects import ABSENT, KIND, UvmObject

KEPT: Final = 64
"""Previews whose methods are kept."""
LASTS_S: Final = 3600
"""Seconds for which one is kept."""
PREFIX: Final = PREVIEW
"""What the key of a preview begins with, before the key of the method itself."""

_ROOT: Final = "proposals"


def matters(image: Image, record: Any, receiver: bytes) -> bool:
    """Whether a changed record can change a trial's verdict: an object's own, not the counters that every message moves.

    Nor a message object, of which a method sees what never changes (`uvm.runtime.authority.check_look`).
    """
    if not isinstance(record, UvmObject) or record.own(KIND) == "message":
        return False
    return record is not image.named("genesis_obj") or record._p_oid == receiver


def unchanged(image: Image, read: Iterable[tuple[bytes, bytes]], receiver: bytes) -> bool:
    """Whether what a trial saw (oid and transaction) is as it was."""
    for oid, serial in read:
        record = image.connection.get(oid)
        record._p_activate()
        if record._p_serial != serial and matters(image, record, receiver):
            return False
    return True


def propose(
    image: Image, key: str, method: UvmObject, holder: UvmObject, message: UvmObject, read: Mapping[bytes, bytes], receiver: bytes
) -> None:
    """Keep a method that is shown, in the current transaction, in the place of an earlier one of this key. It may be the library's."""
    root = image.root
    if _ROOT not in root:
        root[_ROOT] = UvmObject({KIND: _ROOT})
    table: UvmObject = root[_ROOT]
    now, before = image_time.now(image), holder.own(method.own("selector"))
    parts = [key, str(image.reference(holder)), method.own("source"), str(message._p_oid.hex() if message._p_oid else "")]
    proposal = UvmObject(
        {
            KIND: "proposal",
            "method": method,
            "holder": holder,
            "message": message,
            "receiver": receiver,
            "replaces": before if is_method(before) else None,
            "versions": [before.own("digest", "") if is_method(before) else "", method.own("digest", "")],
            "read": [[oid, serial] for oid, serial in read.items()],
            "digest": hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32],
            "at": now,
        }
    )
    if key in table.names():
        table.drop(key)  # the newest one stands last
    for old in [name for name in table.names() if table.own(name).own("at") < now - LASTS_S]:
        table.drop(old)
    for old in table.names()[: max(0, len(table.names()) + 1 - KEPT)]:
        table.drop(old)
    table.put(key, proposal)


def find(image: Image, key: str) -> UvmObject | None:
    """What was shown under this key and may still be accepted, as far as time goes."""
    table = image.root.get(_ROOT)
    proposal: Any = table.own(key) if type(table) is UvmObject else ABSENT
    if type(proposal) is not UvmObject or proposal.own("at") < image_time.now(image) - LASTS_S:
        return None
    return proposal


def shown_since(image: Image, key: str, asked_at: float) -> bool:
    """Whether a method was shown under this key after that moment (seconds since the epoch)."""
    proposal = find(image, key)
    return proposal is not None and bool(proposal.own("message").own("ended") > asked_at)


def why_not(image: Image, proposal: UvmObject) -> str:
    """Why what was shown does not hold any more; nothing if it does."""
    holder, method, replaced = (proposal.own(name) for name in ("holder", "method", "replaces"))
    selector = method.own("selector")
    versions = [replaced.own("digest", "") if replaced is not None else "", method.own("digest", "")]
    if holder.own(selector, None) is not replaced or versions != proposal.own("versions"):
        return f"{selector} of {holder!r} is another one since, or none"
    tried = contract.clauses_of(method)
    if replaced is not None and not all(any(bound.same(clause) for clause in tried) for bound in contract.clauses_of(replaced)):
        return f"{selector} of {holder!r} has got examples since that were not tried"
    try:
        same = unchanged(image, proposal.own("read"), proposal.own("receiver"))
    except ImageError:
        same = False
    return "" if same else "objects that it was tried on have changed since"


def accepted(image: Image, key: str, digest: str) -> UvmObject:
    """What was shown under this digest. Raises PreviewGone, PreviewOutdated."""
    proposal = find(image, key)
    if proposal is None or proposal.own("digest") != digest:
        raise PreviewGone(
            f"nothing that can be accepted was shown under {digest} for this message",
            f"preview it again: what is shown is kept for {LASTS_S // 60} minutes, or until the message is previewed anew",
        )
    why = why_not(image, proposal)
    if why:
        raise PreviewOutdated(f"what was shown under {digest} does not hold any more: {why}", "preview it again", why=why)
    return proposal


def forget(image: Image, key: str) -> None:
    """It was accepted, in the current transaction."""
    image.root[_ROOT].drop(key)
