"""Revoking an author and restoring it, as messages to pLLM_obj: primitives like those of `uvm.runtime.primitives`, for tools alone.

Each is one transaction, whatever the number of methods up to `revocations.MOST`; of more, the author is revoked with the first message and
the rest goes into quarantine with the next ones, which `left` of the answer says, or by the heartbeat's hand. What a method wrote is read
from the journals, as far back as the newest `LOOKED` entries.
"""

from collections.abc import Iterable
from itertools import islice
from typing import Any, Final, Literal, get_args

from uvm.errors import BadArguments, NoSuchAdapter
from uvm.history import chronicle, entries
from uvm.image import authors, model_registry, revocations
from uvm.image.authors import Author, Kind
from uvm.image.image import Image
from uvm.image.large import loaded
from uvm.image.methods import VERSION, digest_of
from uvm.image.revocations import Judged
from uvm.objects import UvmObject
from uvm.runtime.authority import check_revoking
from uvm.runtime.runtime import Primitive, Runtime, shown

LISTED: Final = 200
"""Methods that an answer lists; `more` says how many there are besides."""
DATA: Final = 32
"""Slots that are listed of what one method wrote; its `writes` counts all of them."""
LOOKED: Final = 20_000
"""Entries of the journals that are looked at for what methods wrote, the newest first."""
REASON: Final = 500
"""Characters of a reason."""
SHORTEST: Final = 6
"""Digits of a digest's beginning that may stand for it."""
_METHOD: Final = 100
_LOOK: Final = 20
"""Units that a method costs that is marked, and an entry of a journal that is looked at."""


def revoke(runtime: Runtime, receiver: UvmObject, kind: str, name: str, reason: str = "", preview: bool = False) -> dict[str, Any]:
    """Ask an author for nothing more, and put its methods into quarantine; answers each of them with the data that it wrote.

    `preview`: only say what would be done. Raises BadArguments for an author whom the image does not know.
    """
    image, attempt = runtime.image, runtime.attempt
    check_revoking(attempt.rights, bool(attempt.frames))
    if type(reason) is not str or len(reason) > REASON or type(preview) is not bool:
        raise BadArguments(f"a reason is a text of at most {REASON} characters, and preview is true or false")
    author = _author(image, kind, name)
    judged, left = revocations.portion(revocations.to_quarantine(image, author))
    attempt.charge(_METHOD * len(judged))
    answer = _answer(runtime, author, judged, left, preview)
    if preview or (not judged and revocations.finished(image, author)):
        return answer
    attempt.touch()
    attempt.judged += [verdict.method for verdict in judged]
    revocations.revoke(image, author, judged, reason, attempt.principal, left=left)
    answer |= revocations.find(image, author) or {}
    _chronicle(runtime, "revocation", author, reason, answer)
    return answer


def restore(runtime: Runtime, receiver: UvmObject, kind: str, name: str, preview: bool = False) -> dict[str, Any]:
    """Trust an author again, and let its methods run where no other one has come in their place; answers method by method.

    `preview`: only say what would be done. Raises BadArguments for an author that is not revoked.
    """
    image, attempt = runtime.image, runtime.attempt
    check_revoking(attempt.rights, bool(attempt.frames))
    if type(preview) is not bool:
        raise BadArguments("preview is true or false")
    author = _author(image, kind, name)
    judged, left = revocations.portion(revocations.to_restore(image, author))
    if revocations.find(image, author) is None and not judged:
        raise BadArguments(f"the {author.kind} {author.name[:128]} is not revoked", "batos revoked lists who is")
    attempt.charge(_METHOD * len(judged))
    answer = _answer(runtime, author, judged, left, preview)
    if preview:
        return answer
    attempt.touch()
    attempt.judged += [verdict.method for verdict in judged if verdict.fate == "restored"]
    revocations.restore(image, author, judged, left=left)
    _chronicle(runtime, "restoration", author, "", answer)
    return answer


def revoked(runtime: Runtime, receiver: UvmObject) -> list[dict[str, Any]]:
    """Who is revoked: by whom, when, why, and how many methods of theirs there are."""
    check_looking(runtime)
    listed = []
    for author, record in islice(revocations.everyone(runtime.image), LISTED):
        runtime.attempt.charge(_METHOD)
        listed.append({"kind": author.kind, "name": author.name, **record, "methods": authors.count(runtime.image, author)})
    return sorted(listed, key=lambda row: (row["at"], row["kind"], row["name"]))


def check_looking(runtime: Runtime) -> None:
    """As for revoking, but whoever may send may look."""
    check_revoking(runtime.attempt.rights | {"policy"}, bool(runtime.attempt.frames))


AUTHORS: dict[str, Primitive] = {"revokeAuthor_": revoke, "restoreAuthor_": restore, "revokedAuthors": revoked}


# --- who is meant ------------------------------------------------------------------------------------------------------


def _author(image: Image, kind: Any, name: Any) -> Author:
    """The author of that kind and name; of an adapter, a name or the beginning of its digest will do. Raises BadArguments."""
    kinds: tuple[Kind, ...] = get_args(Kind)
    if kind not in kinds or type(name) is not str or not 1 <= len(name) <= 256:
        raise BadArguments(f"an author is one of {', '.join(kinds)} and its name, not {shown(kind)} {shown(name)}")
    meant = _adapter_digests(image, name) if kind == "adapter" else [name]
    if len(meant) > 1:
        raise BadArguments(f"{shown(name)} may be {len(meant)} adapters", "give more digits", digests=meant[:8])
    author = Author(kind, meant[0] if meant else name)
    there = bool(meant) if kind == "adapter" else kind == "persona" and name in image.names
    if not (there or authors.has_written(image, author) or revocations.find(image, author)):
        raise BadArguments(f"no {kind} {shown(name)} wrote a method of this image", "batos source TARGET SELECTOR shows who wrote a method")
    return author


def _adapter_digests(image: Image, word: str) -> list[str]:
    """The digest of the adapter that a digest, its beginning, or a name stands for; none where the image knows no such adapter.

    One that was removed from the image is known by its whole digest; as long as it is revoked, by its beginning as well.
    Raises BadArguments where several are meant.
    """
    word = word.rpartition("@")[2]
    if authors.has_written(image, Author("adapter", word)):
        return [word]
    try:
        return [str(model_registry.find(image, "adapter", word).own("digest"))]
    except NoSuchAdapter:
        revoked_digests = sorted(
            author.name for author, _ in revocations.everyone(image) if author.kind == "adapter" and author.name.startswith(word)
        )
        return revoked_digests if len(word) >= SHORTEST else []


# --- what is answered --------------------------------------------------------------------------------------------------


def _answer(runtime: Runtime, author: Author, judged: list[Judged], left: bool, preview: bool) -> dict[str, Any]:
    image = runtime.image
    written, cut = _written_by(image, (verdict.method for verdict in judged), runtime)
    listed = [_listed(image, verdict, written.get(id(verdict.method), [])) for verdict in judged[:LISTED]]
    counts: dict[str, int] = {}
    for verdict in judged:
        counts[verdict.fate] = counts.get(verdict.fate, 0) + 1
    return {
        "author": author.key,
        **(revocations.find(image, author) or {}),
        "methods": listed,
        "counts": counts,
        **({"more": len(judged) - LISTED} if len(judged) > LISTED else {}),
        **({"left": True, "of": authors.count(image, author)} if left else {}),
        **({"data_cut": True} if cut else {}),
        **({"preview": True} if preview else {}),
    }


def _listed(image: Image, judged: Judged, written: list[tuple[UvmObject, str]]) -> dict[str, Any]:
    method, home = judged.method, revocations.at_home(image, judged.home)
    slots = list(dict.fromkeys(written))
    return {
        "method": method,
        "selector": method.own("selector"),
        "digest": digest_of(method),
        "born": method.own("born", ""),
        "fate": judged.fate,
        **({"object": home} if home is not None else {}),
        **({"successor": judged.successor} if judged.successor is not None else {}),
        "writes": len(written),
        "data": [{"object": owner, "slot": slot} for owner, slot in slots[:DATA]],
    }


def _written_by(image: Image, methods: Iterable[UvmObject], runtime: Runtime) -> tuple[dict[int, list[tuple[UvmObject, str]]], bool]:
    """The slots that methods changed, by identity of the method, newest first, and whether there may be more."""
    slots_of: dict[int, list[tuple[UvmObject, str]]] = {id(method): [] for method in methods}
    versions: dict[int, UvmObject] = {}
    if not slots_of:
        return slots_of, False
    for looked, recorded in enumerate(entries.newest_first(image)):
        if looked == LOOKED:
            return slots_of, True
        runtime.attempt.charge(_LOOK)
        for owner, slot, _, before, method, *_ in recorded.entry.get("effects", ()):
            if slot == VERSION:
                versions[id(owner)] = loaded(before)  # earlier than this, the method was that one
            writer = versions.get(id(method), method)
            if id(writer) in slots_of:
                slots_of[id(writer)].append((owner, slot))
    return slots_of, False


def _chronicle(runtime: Runtime, kind: Literal["revocation", "restoration"], author: Author, reason: str, answer: dict[str, Any]) -> None:
    attempt = runtime.attempt
    facts = {"of": author.key, "reason": reason, "counts": answer["counts"]}
    chronicle.record(runtime.image, kind, author=attempt.principal, cause=attempt.message, facts=facts)
