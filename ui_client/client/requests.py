"""Every request that a client has a method for, said once: what it is called with, and what comes back.

Each is a conversation, of which `ui_client.client.client` makes a method of `Client` and one of `AsyncClient`. A target is a name, a
reference, or its text (`@2a`).
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from ui_client.client.conversation import Conversation, ask, ask_for, ask_result
from ui_client.client.session import ClientSession
from ui_client.client.transport import ExportedObjects, Tell, exporting, exporting_blob, importing
from uvm.protocol import (
    Bundle,
    Contract,
    CreateMethod,
    Example,
    GetFullState,
    GetStatus,
    Inspect,
    ObjectState,
    Part,
    Read,
    Reference,
    Release,
    Send,
    State,
    Step,
    Subscribe,
    Subscribed,
    Transaction,
)

Target = Reference | str
Sending = Step | tuple[Any, ...]
Examples = Iterable[Example | Mapping[str, Any]]


def send(
    _client: ClientSession,
    target: Target,
    selector: str,
    /,
    *args: Any,
    deadline: float | None = None,
    examples: Examples = (),
    via: str = "",
    risk: float | None = None,
    keywords: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Conversation[Any]:
    """Send a message and return its result. `deadline` in seconds (default: the longest a missing method may take).

    `examples` say what its method should do: one that is not written yet is written so, one that is there is tested, and written
    again if the image wrote it. `risk`: how likely a method that is written for this may be wrong (default: `uvm.risk`). `via` names the
    UVM that is to run it. `keywords` are more keyword arguments of the message, for those whose names are parameters here.
    """
    return ask_result(_send(target, selector, args, {**(keywords or {}), **kwargs}, examples, via, risk), deadline)


def preview(
    _client: ClientSession,
    target: Target,
    selector: str,
    /,
    *args: Any,
    deadline: float | None = None,
    examples: Examples = (),
    risk: float | None = None,
    keywords: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Conversation[dict[str, Any]]:
    """What a message would do, as a map {result, slots, made}; nothing is changed.

    Where its method is missing it is written, tried, and shown in `method`; `accept` is the digest under which `accept` installs it.
    """
    request = _send(target, selector, args, {**(keywords or {}), **kwargs}, examples, "", risk)
    return ask_for(dict[str, Any], msgspec.structs.replace(request, preview=True), deadline)


def accept(
    _client: ClientSession,
    digest: str,
    target: Target,
    selector: str,
    /,
    *args: Any,
    deadline: float | None = None,
    keywords: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Conversation[Any]:
    """Send a message for which a preview has shown a method under this digest: the method is installed, and the message runs."""
    request = _send(target, selector, args, {**(keywords or {}), **kwargs}, (), "")
    return ask_result(msgspec.structs.replace(request, accept=digest), deadline)


def create_method(
    _client: ClientSession,
    target: Target,
    selector: str,
    source: str,
    *,
    examples: Examples = (),
    policy: bool = False,
    here: bool = False,
    deadline: float | None = None,
    via: str = "",
) -> Conversation[Any]:
    """Offer the source of a method, which is audited and tried before it is installed; returns what the image says of it.

    `policy`: it may change primordial objects, in messages of senders who may. `here`: it is for the target alone; else, where the
    target's method is shared with objects of the same shape, that one is corrected for all of them.
    """
    request = CreateMethod(
        id=0,
        target=_target(target),
        selector=selector,
        source=source,
        examples=_examples(examples),
        policy=policy,
        here=here,
        via=via,
    )
    return ask_result(request, deadline)


def contract(
    _client: ClientSession,
    target: Target,
    selector: str,
    *,
    add: Examples = (),
    remove: Iterable[int] = (),
    deadline: float | None = None,
) -> Conversation[dict[str, Any]]:
    """The examples that a method keeps, as a map {selector, method, examples}, after some were added or, by number, removed.

    Those that are added are tested first; a generated method that does not satisfy them is written again.
    """
    request = Contract(id=0, target=_target(target), selector=selector, examples=_examples(add), remove=list(remove))
    return ask_for(dict[str, Any], request, deadline)


def transaction(
    _client: ClientSession, sends: Iterable[Sending], *, deadline: float | None = None, via: str = ""
) -> Conversation[list[Any]]:
    """Several sends of which all have their effect or none; their results, in order. A send is a Step, or a tuple of target, selector
    and arguments.

    `Result(n)` as a target or in arguments is the result of the n-th send, from 0.
    """
    return ask_for(list[Any], _transaction(sends, via), deadline)


def preview_transaction(
    _client: ClientSession, sends: Iterable[Sending], *, deadline: float | None = None, via: str = ""
) -> Conversation[dict[str, Any]]:
    """What several sends would do, as a map {results, slots, made}; nothing is changed, and no missing method is written."""
    return ask_for(dict[str, Any], msgspec.structs.replace(_transaction(sends, via), preview=True), deadline)


def read(_client: ClientSession, target: Target, *path: str | int, tid: bytes = b"") -> Conversation[Any]:
    """The value of a slot, however large, as of one transaction; `path` is the slot, then keys within its value."""
    request = Read(0, _target(target), list(path), tid=tid)
    part = yield from ask(Part, request)
    value: Any = part.value
    while part.next > 0:
        request = msgspec.structs.replace(request, offset=part.next, tid=part.tid)
        part = yield from ask(Part, request)
        if part.kind == "map":
            value.update(part.value)
        else:
            value += part.value
    return value


def inspect(_client: ClientSession, target: Target) -> Conversation[ObjectState]:
    """One object: names, slots, parents, methods, and what it inherits. `read` has the slots that are too large, named in `large`."""
    return ask_for(ObjectState, Inspect(0, _target(target)))


def full_state(_client: ClientSession, page: int = 200) -> Conversation[State]:
    """All objects that can be reached from the names, as of one transaction, `tid`."""
    state = yield from ask(State, GetFullState(0, limit=page))
    objects = state.objects
    while state.after:
        state = yield from ask(State, GetFullState(0, after=state.after, tid=state.tid, limit=page))
        objects += state.objects
    return State(0, state.tid, objects, state.after)


def export(_client: ClientSession, *targets: Target, tell: Tell = lambda done, whole: None) -> Conversation[ExportedObjects]:
    """Objects with all that they reach, exactly, as of one transaction; without targets, all that have names (docs/export.md)."""
    return exporting([_target(target) for target in targets], tell)


def export_blob(_client: ClientSession, exported: ExportedObjects, digest: str, file: BinaryIO) -> Conversation[None]:
    """Write a file that exported objects have, by its digest."""
    return exporting_blob(exported, digest, file)


def import_objects(
    client: ClientSession,
    bundle: Bundle,
    blobs: Mapping[str, Path] | None = None,
    *,
    rename: Mapping[str, str] | None = None,
    replace: bool = False,
    preview: bool = False,
    tell: Tell = lambda done, whole: None,
) -> Conversation[dict[str, Any]]:
    """Take in exported objects, all or none; what the image says of it. `blobs`: files that they have, by digest.

    `rename`: exported name → another one. `replace`: an object of an exported name becomes what was exported. `preview`: say what would
    be done, and do nothing.
    """
    return importing(bundle, blobs or {}, rename or {}, replace, preview, client.session, tell)


def subscription(_client: ClientSession) -> Conversation[Subscribed]:
    """Where events are published, and the newest transaction."""
    return ask(Subscribed, Subscribe(0))


def newest_tid(_client: ClientSession) -> Conversation[bytes]:
    """The newest transaction that the bridge has published; empty when it has not published any."""
    return (yield from ask(Subscribed, Subscribe(0))).tid


def status(_client: ClientSession) -> Conversation[dict[str, Any]]:
    """The bridge's queue, UVMs and counters; see docs/protocol.md."""
    return ask_for(dict[str, Any], GetStatus(0))


def release(client: ClientSession, references: Iterable[Target]) -> Conversation[Any]:
    """Let go of objects; those that nothing else reaches may vanish."""
    return ask_result(Release(0, [_target(reference) for reference in references], client.session))


def _send(
    target: Target,
    selector: str,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    examples: Examples,
    via: str,
    risk: float | None = None,
) -> Send:
    if risk is not None and not 0 < risk <= 1:
        raise ValueError(f"a risk is above 0 and at most 1, not {risk}")
    expected, accepted_risk = _examples(examples), msgspec.UNSET if risk is None else risk
    return Send(
        id=0, target=_target(target), selector=selector, args=list(args), kwargs=kwargs, examples=expected, via=via, risk=accepted_risk
    )


def _transaction(sends: Iterable[Sending], via: str) -> Transaction:
    steps = [
        send if isinstance(send, Step) else Step(_target(send[0]) if isinstance(send[0], str) else send[0], send[1], list(send[2:]))
        for send in sends
    ]
    return Transaction(id=0, sends=steps, via=via)


def _target(target: Target) -> Target:
    """`@2a` is a reference, everything else a name."""
    return Reference.parse(target) if isinstance(target, str) and target.startswith("@") else target


def _examples(examples: Examples) -> list[Example]:
    return [example if isinstance(example, Example) else msgspec.convert(dict(example), Example) for example in examples]
