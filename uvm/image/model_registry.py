"""Which models and adapters the image has, whether somebody uses them or not.

Layout: the kernel's tables `models` and `adapters`, key digest → blob-proxy (`uvm.image.blobs`), and key `name:` and a name → digest, so
that of ten thousand adapters one is found by its name at once. What is in them stays in the image, and its files in the home. Who uses
what is in the slots `model` and `adapter` of the personas. Called within a transaction.
"""

from collections.abc import Iterator
from typing import Any, Final, Literal

from uvm.errors import BadArguments, DamagedRecord, ImageError, NoSuchAdapter, NoSuchModel
from uvm.image import views
from uvm.image.image import Image
from uvm.objects import ABSENT, UvmObject

Kind = Literal["model", "adapter"]
KINDS: Final[tuple[Kind, ...]] = ("model", "adapter")

JUDGEMENT: Final = "decision.json"
"""The file of an adapter with the numbers that weigh its drafts (`uvm.image.judgement`)."""
_SHORTEST: Final = 6
"""Digits of a digest's beginning that may stand for it."""
_NAME: Final = "name:"
_TABLES: Final = {"model": "models", "adapter": "adapters"}


def enter(image: Image, kind: Kind, proxy: UvmObject) -> None:
    """Keep a model or an adapter, under its digest, and its name where that is free."""
    image.enter(_TABLES[kind], proxy.own("digest"), proxy)
    name = views.slot(proxy, "name", str, "")
    if named(image, kind, name) is None:
        image.enter(_TABLES[kind], _NAME + name, proxy.own("digest"))


def take(proxy: UvmObject) -> None:
    """Somebody begins to use it, or it is removed: of two transactions that do either at once, one conflicts and looks again."""
    proxy.put("taken", views.slot(proxy, "taken", int, 0) + 1)


def remove(image: Image, kind: Kind, proxy: UvmObject) -> None:
    """Keep it no longer. The object stays for whoever refers to it, a journal, and lets go of its files."""
    digest = proxy.own("digest")
    image.shard(_TABLES[kind], digest).drop(digest)
    name = _NAME + views.slot(proxy, "name", str, "")
    if image.shard(_TABLES[kind], name).own(name) == digest:
        image.shard(_TABLES[kind], name).drop(name)
    take(proxy)
    proxy.put("blobs", {})
    proxy.put("digests", {})
    proxy.put("state", "removed")


def at(image: Image, kind: Kind, digest: str) -> UvmObject | None:
    """The model or adapter of that digest."""
    proxy = image.shard(_TABLES[kind], digest).own(digest)
    return proxy if type(proxy) is UvmObject else None


def named(image: Image, kind: Kind, name: str) -> UvmObject | None:
    """The model or adapter of that name."""
    digest = image.shard(_TABLES[kind], _NAME + name).own(_NAME + name)
    return at(image, kind, digest) if type(digest) is str else None


def digests(image: Image, kind: Kind) -> list[str]:
    """All digests, sorted; no model or adapter is loaded for it."""
    return sorted(key for leaf in image.shards(_TABLES[kind]) for key in leaf.names() if not key.startswith(_NAME))


def proxies(image: Image, kind: Kind) -> Iterator[UvmObject]:
    """All models or adapters."""
    for digest in digests(image, kind):
        if (proxy := at(image, kind, digest)) is not None:
            yield proxy


def find(image: Image, kind: Kind, word: str) -> UvmObject:
    """The model or adapter of this digest, beginning of a digest, or name.

    Raises NoSuchModel, NoSuchAdapter, or BadArguments where it may be several.
    """
    if type(word) is not str or not word:
        raise BadArguments(f"{kind}s are named by a digest, its beginning, or a name")
    proxy = at(image, kind, word) or named(image, kind, word)
    if proxy is not None:
        return proxy
    meant = [digest for digest in digests(image, kind) if digest.startswith(word)] if len(word) >= _SHORTEST else []
    if len(meant) > 1:
        raise BadArguments(f"{word[:128]!r} may be {len(meant)} {kind}s", "give more digits", digests=meant[:8])
    proxy = at(image, kind, meant[0]) if meant else None
    if proxy is None:
        error = NoSuchModel if kind == "model" else NoSuchAdapter
        command = "batos model list" if kind == "model" else "batos adapters list"
        raise error(f"the image has no {kind} {word[:128]!r}", f"{command} shows those that it has; import brings others in")
    return proxy


def bytes_kept(image: Image) -> int:
    """The bytes of all models' and adapters' files."""
    return sum(views.slot(proxy, "bytes", int, 0) for kind in KINDS for proxy in proxies(image, kind))


def users(image: Image, kind: Kind) -> dict[bytes, list[str]]:
    """Who has a model or an adapter in a slot of its own: oid of the proxy → names of the objects. Looks at all objects that have names."""
    names: dict[bytes, list[str]] = {}
    for name, value in _slots(image, kind):
        if type(value) is UvmObject and isinstance(value._p_oid, bytes):
            names.setdefault(value._p_oid, []).append(name)
    return names


def row(proxy: UvmObject, kind: Kind, used_by: list[str]) -> dict[str, Any]:
    """What is known of a model or an adapter, as plain values; of a damaged one, that it is."""
    digest = proxy.own("digest")
    try:
        weights = views.weights(proxy, kind)
    except ImageError as error:
        return {"digest": digest if type(digest) is str else "", "name": "", "damaged": error.message, "used_by": used_by}
    facts = {"digest": weights.digest, "name": weights.name, "bytes": weights.bytes, "imported": weights.imported, "used_by": used_by}
    if kind == "model":
        return facts
    return {**facts, "base": weights.base, "rank": weights.rank, "state": weights.state, "judgement": JUDGEMENT in weights.blobs}


def voice(persona: UvmObject) -> tuple[str, views.Weights | None]:
    """The digest of the model that an object has or inherits (empty: none), and its adapter. Raises BadValue where one is damaged."""
    model, adapter = persona.lookup("model"), persona.lookup("adapter")
    thinks = views.weights(model, "model").digest if isinstance(model, UvmObject) else ""
    return thinks, views.weights(adapter, "adapter") if isinstance(adapter, UvmObject) else None


def silenced(image: Image) -> dict[str, views.Weights]:
    """Named objects with an adapter of their own that does not serve the model that they have now: name → adapter."""
    unfit = {}
    for name, value in _slots(image, "adapter"):
        if value is ABSENT:
            continue
        try:
            thinks, speaks = voice(image.named(name))
        except ImageError:
            continue
        if speaks is not None and not speaks.serves(thinks):
            unfit[name] = speaks
    return unfit


def gather(image: Image) -> list[str]:
    """Enter what named objects use and the tables have not: images of earlier versions have no tables. Returns the digests."""
    entered = []
    for kind in KINDS:
        for _, proxy in _slots(image, kind):
            try:
                weights = views.weights(proxy, kind) if type(proxy) is UvmObject else None
            except ImageError:
                continue
            if weights is not None and weights.state != "removed" and at(image, kind, weights.digest) is None:
                enter(image, kind, proxy)
                entered.append(weights.digest)
    return entered


def _slots(image: Image, name: str) -> Iterator[tuple[str, Any]]:
    """Name and own slot of each object that has a name, and a record that can be loaded."""
    for known_as, owner in image.names.items():
        try:
            yield known_as, owner.own(name)
        except DamagedRecord:
            continue
