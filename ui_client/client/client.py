"""The client library: send messages to the objects of an image, look at them, follow what happens.

    with Client() as client:
        item = client.send("genesis_obj", "clone")
        client.send(item, "setSlot_value_", "price", 3.5)

`Client` may be used by any number of threads, `AsyncClient` by one event loop; both stand on `ui_client.client.channel`, whose
thread owns the connection. A client is one session: each message that may change the image has a number in it, is sent again
until it is answered, and is carried out once. What a call waits for is bounded by its deadline.
"""

import asyncio
import threading
import uuid
import weakref
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar

import msgspec

from deploy import settings
from deploy.keys import ClientKey, read_client_key
from deploy.settings import Configuration, is_tcp
from ui_client.client.channel import Channel
from ui_client.client.errors import BridgeBusy, BridgeUnreachable, ClientError, RemoteError
from ui_client.client.outbox import Outbox
from ui_client.client.subscription import EventStream, Missed, stream
from ui_client.client.transport import Conversation, ExportedObjects, Tell, exporting, exporting_blob, importing
from uvm.protocol import (
    Answer,
    Bundle,
    Changing,
    Contract,
    CreateMethod,
    Event,
    Example,
    GetFullState,
    GetStatus,
    Inspect,
    ObjectState,
    Part,
    Read,
    Reference,
    Release,
    Reply,
    Result,
    Send,
    State,
    Step,
    Subscribe,
    Subscribed,
    Transaction,
)

__all__ = [
    "AsyncClient",
    "BridgeBusy",
    "BridgeUnreachable",
    "Client",
    "ClientError",
    "EventStream",
    "Example",
    "Missed",
    "Reference",
    "RemoteError",
    "Result",
    "Step",
]

LOOK_S = 30.0
"""Seconds that looking, asking for the status and releasing may take."""

TOPICS = ("state", "progress")

Target = Reference | str
Sending = Step | tuple[Any, ...]
Examples = Iterable[Example | Mapping[str, Any]]
_T = TypeVar("_T")


def _silent(done: int, whole: int) -> None:
    """Nobody asked for progress."""


class _Base:
    """What both clients are made of: a connection, a session, and how long things may take."""

    def __init__(
        self,
        endpoint: str | None = None,
        configuration: Configuration | None = None,
        *,
        session: str = "",
        name: str = "",
        connect_timeout: float = 5.0,
    ) -> None:
        """Connect to `endpoint`, or to the bridge of `configuration` (by default the one in force).

        Over TCP the key of `bridge.key` is used. `connect_timeout`: seconds until a bridge that was never heard counts as unreachable.
        `session` must be new for each client.
        Raises deploy.settings.SettingsError.
        """
        self._configuration = configuration
        self.session = session or uuid.uuid4().hex
        self._patience = connect_timeout
        self._endpoint = endpoint or self.configuration.bridge_endpoint
        self._key = self._key_for(self._endpoint)
        self._channel = Channel(self._endpoint, Outbox(self.session, name, connect_timeout), self._key)

    @property
    def configuration(self) -> Configuration:
        """The configuration that this client was given, or the one in force."""
        if self._configuration is None:
            self._configuration = settings.load()
        return self._configuration

    def _key_for(self, endpoint: str) -> ClientKey | None:
        path = self.configuration.settings.bridge.key if is_tcp(endpoint) else ""
        return read_client_key(Path(path)) if path else None

    def _patience_for(self, request: Any) -> float:
        return self._deadline(None) if isinstance(request, Changing) else LOOK_S

    def _deadline(self, deadline: float | None) -> float:
        if deadline is not None and deadline <= 0:
            raise ValueError(f"a deadline is a positive number of seconds, not {deadline}")
        return deadline or self.configuration.settings.uvm.generation_deadline_s


class Client(_Base):
    """A synchronous client; see the module. Close it, or use it in a `with` statement.

    Every method raises RemoteError for what the image or the bridge refused, BridgeUnreachable and BridgeBusy. A target is a
    name, a reference, or its text (`@2a`).
    """

    def __init__(
        self,
        endpoint: str | None = None,
        configuration: Configuration | None = None,
        *,
        session: str = "",
        name: str = "",
        connect_timeout: float = 5.0,
    ) -> None:
        super().__init__(endpoint, configuration, session=session, name=name, connect_timeout=connect_timeout)
        self._streams: weakref.WeakSet[EventStream] = weakref.WeakSet()

    def send(
        self,
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
    ) -> Any:
        """Send a message and return its result. `deadline` in seconds (default: the longest a missing method may take).

        `examples` say what its method should do: one that is not written yet is written so, one that is there is tested, and written
        again if the image wrote it. `risk`: how likely a method that is written for this may be wrong (default: `uvm.risk`). `via` names
        the UVM that is to run it. `keywords` are more keyword arguments of the message, for those whose names are parameters here.
        """
        request = _send(target, selector, args, {**(keywords or {}), **kwargs}, examples, via, risk)
        return _expect(Reply, self._ask(request, self._deadline(deadline))).result

    def preview(
        self,
        target: Target,
        selector: str,
        /,
        *args: Any,
        deadline: float | None = None,
        examples: Examples = (),
        risk: float | None = None,
        keywords: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """What a message would do, as a map {result, slots, made}; nothing is changed.

        Where its method is missing it is written, tried, and shown in `method`; `accept` is the digest under which `accept` installs it.
        """
        request = _send(target, selector, args, {**(keywords or {}), **kwargs}, examples, "", risk)
        return _told(self._ask(msgspec.structs.replace(request, preview=True), self._deadline(deadline)))

    def accept(
        self,
        shown: str,
        target: Target,
        selector: str,
        /,
        *args: Any,
        deadline: float | None = None,
        keywords: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Send a message for which a preview has shown a method under this digest: the method is installed, and the message runs."""
        request = _send(target, selector, args, {**(keywords or {}), **kwargs}, (), "")
        return _expect(Reply, self._ask(msgspec.structs.replace(request, accept=shown), self._deadline(deadline))).result

    def create_method(
        self,
        target: Target,
        selector: str,
        source: str,
        *,
        examples: Examples = (),
        policy: bool = False,
        here: bool = False,
        deadline: float | None = None,
        via: str = "",
    ) -> Any:
        """Offer the source of a method, which is audited and tried before it is installed; returns what the image says of it.

        `policy`: it may change primordial objects, in messages of senders who may. `here`: it is for the target alone; else, where the
        target's method is shared with objects of the same shape, that one is corrected for all of them.
        """
        request = _create_method(target, selector, source, examples, policy, here, via)
        return _expect(Reply, self._ask(request, self._deadline(deadline))).result

    def contract(
        self,
        target: Target,
        selector: str,
        *,
        add: Examples = (),
        remove: Iterable[int] = (),
        deadline: float | None = None,
    ) -> dict[str, Any]:
        """The examples that a method keeps, as a map {selector, method, examples}, after some were added or, by number, removed.

        Those that are added are tested first; a generated method that does not satisfy them is written again.
        """
        return _told(self._ask(_contract(target, selector, add, remove), self._deadline(deadline)))

    def transaction(self, sends: Iterable[Sending], *, deadline: float | None = None, via: str = "") -> list[Any]:
        """Several sends of which all have their effect or none; their results, in order. A send is a Step, or a tuple of target, selector
        and arguments.

        `Result(n)` as a target or in arguments is the result of the n-th send, from 0.
        """
        return _results(self._ask(_transaction(sends, via), self._deadline(deadline)))

    def read(self, target: Target, *path: str | int, tid: bytes = b"") -> Any:
        """The value of a slot, however large, as of one transaction; `path` is the slot, then keys within its value."""
        parts = _Parts(target, path, tid)
        while parts.more:
            parts.add(_expect(Part, self._ask(parts.next(), LOOK_S)))
        return parts.value

    def inspect(self, target: Target) -> ObjectState:
        """One object: names, slots, parents, methods, and what it inherits. `read` has the slots that are too large, named in `large`."""
        return _object(self._ask(Inspect(0, _target(target)), LOOK_S))

    def full_state(self, page: int = 200) -> State:
        """All objects that can be reached from the names, as of one transaction, `tid`."""
        pages = _Pages(page)
        while pages.more:
            pages.add(_expect(State, self._ask(pages.next(), LOOK_S)))
        return pages.whole()

    def export(self, *targets: Target, tell: Tell = _silent) -> ExportedObjects:
        """Objects with all that they reach, exactly, as of one transaction; without targets, all that have names (docs/export.md)."""
        return self._carry_on(exporting([_target(target) for target in targets], tell))

    def export_blob(self, exported: ExportedObjects, digest: str, file: BinaryIO) -> None:
        """Write a file that exported objects have, by its digest."""
        self._carry_on(exporting_blob(exported, digest, file))

    def import_objects(
        self,
        bundle: Bundle,
        blobs: Mapping[str, Path] | None = None,
        *,
        rename: Mapping[str, str] | None = None,
        replace: bool = False,
        preview: bool = False,
        tell: Tell = _silent,
    ) -> dict[str, Any]:
        """Take in exported objects, all or none; what the image says of it. `blobs`: files that they have, by digest.

        `rename`: exported name → another one. `replace`: an object of an exported name becomes what was exported. `preview`: say what would
        be done, and do nothing.
        """
        return self._carry_on(importing(bundle, blobs or {}, rename or {}, replace, preview, self.session, tell))

    def events(self, topics: Sequence[str] = TOPICS, stop: threading.Event | None = None, *, missed: bool = False) -> EventStream:
        """Follow what is published, from now on: the subscription is in force when this returns.

        Yields StateUpdate and Progress, and Missed where asked for with `missed`. To follow the state: first this, then
        `full_state`, then apply the updates with a larger tid; after a Missed of `state`, take the full state again.
        """
        subscribed = _expect(Subscribed, self._ask(Subscribe(0), LOOK_S))
        events = EventStream(subscribed.events, topics, self._patience, stop, missed, self._key)
        self._streams.add(events)
        return events

    def newest_tid(self) -> bytes:
        """The newest transaction that the bridge has published; empty when it has not published any."""
        return _expect(Subscribed, self._ask(Subscribe(0), LOOK_S)).tid

    def status(self) -> dict[str, Any]:
        """The bridge's queue, UVMs and counters; see docs/protocol.md."""
        return _told(self._ask(GetStatus(0), LOOK_S))

    def release(self, references: Iterable[Target]) -> Any:
        """Let go of objects; those that nothing else reaches may vanish."""
        return _expect(Reply, self._ask(_release(references, self.session), LOOK_S)).result

    def close(self) -> None:
        """End the session and its event streams; calls under way end in a ClientError. May be called again."""
        for events in list(self._streams):
            events.close()
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _carry_on(self, conversation: Conversation[_T]) -> _T:
        try:
            request = next(conversation)
            while True:
                try:
                    answer = self._ask(request, self._patience_for(request))
                except ClientError as error:
                    request = conversation.throw(error)
                else:
                    request = conversation.send(answer)
        except StopIteration as end:
            result: _T = end.value
            return result

    def _ask(self, request: Any, deadline_s: float) -> Answer:
        return self._channel.ask(request, deadline_s).result()


class AsyncClient(_Base):
    """The same for asyncio: every method is awaited, `events` is an asynchronous iterator. Use it in `async with`.

    A call that is cancelled is not taken back: its message may still be carried out.
    """

    async def send(
        self,
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
    ) -> Any:
        """As Client.send."""
        request = _send(target, selector, args, {**(keywords or {}), **kwargs}, examples, via, risk)
        return _expect(Reply, await self._ask(request, self._deadline(deadline))).result

    async def preview(
        self,
        target: Target,
        selector: str,
        /,
        *args: Any,
        deadline: float | None = None,
        examples: Examples = (),
        risk: float | None = None,
        keywords: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """As Client.preview."""
        request = _send(target, selector, args, {**(keywords or {}), **kwargs}, examples, "", risk)
        return _told(await self._ask(msgspec.structs.replace(request, preview=True), self._deadline(deadline)))

    async def accept(
        self,
        shown: str,
        target: Target,
        selector: str,
        /,
        *args: Any,
        deadline: float | None = None,
        keywords: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """As Client.accept."""
        request = _send(target, selector, args, {**(keywords or {}), **kwargs}, (), "")
        return _expect(Reply, await self._ask(msgspec.structs.replace(request, accept=shown), self._deadline(deadline))).result

    async def create_method(
        self,
        target: Target,
        selector: str,
        source: str,
        *,
        examples: Examples = (),
        policy: bool = False,
        here: bool = False,
        deadline: float | None = None,
        via: str = "",
    ) -> Any:
        """As Client.create_method."""
        request = _create_method(target, selector, source, examples, policy, here, via)
        return _expect(Reply, await self._ask(request, self._deadline(deadline))).result

    async def contract(
        self,
        target: Target,
        selector: str,
        *,
        add: Examples = (),
        remove: Iterable[int] = (),
        deadline: float | None = None,
    ) -> dict[str, Any]:
        """As Client.contract."""
        return _told(await self._ask(_contract(target, selector, add, remove), self._deadline(deadline)))

    async def transaction(self, sends: Iterable[Sending], *, deadline: float | None = None, via: str = "") -> list[Any]:
        """As Client.transaction."""
        return _results(await self._ask(_transaction(sends, via), self._deadline(deadline)))

    async def read(self, target: Target, *path: str | int, tid: bytes = b"") -> Any:
        """As Client.read."""
        parts = _Parts(target, path, tid)
        while parts.more:
            parts.add(_expect(Part, await self._ask(parts.next(), LOOK_S)))
        return parts.value

    async def inspect(self, target: Target) -> ObjectState:
        """As Client.inspect."""
        return _object(await self._ask(Inspect(0, _target(target)), LOOK_S))

    async def full_state(self, page: int = 200) -> State:
        """As Client.full_state."""
        pages = _Pages(page)
        while pages.more:
            pages.add(_expect(State, await self._ask(pages.next(), LOOK_S)))
        return pages.whole()

    async def export(self, *targets: Target, tell: Tell = _silent) -> ExportedObjects:
        """As Client.export."""
        return await self._carry_on(exporting([_target(target) for target in targets], tell))

    async def export_blob(self, exported: ExportedObjects, digest: str, file: BinaryIO) -> None:
        """As Client.export_blob."""
        await self._carry_on(exporting_blob(exported, digest, file))

    async def import_objects(
        self,
        bundle: Bundle,
        blobs: Mapping[str, Path] | None = None,
        *,
        rename: Mapping[str, str] | None = None,
        replace: bool = False,
        preview: bool = False,
        tell: Tell = _silent,
    ) -> dict[str, Any]:
        """As Client.import_objects."""
        return await self._carry_on(importing(bundle, blobs or {}, rename or {}, replace, preview, self.session, tell))

    async def events(self, topics: Sequence[str] = TOPICS, *, missed: bool = False) -> AsyncIterator[Event | Missed]:
        """As Client.events; the subscription comes into force when the iteration begins."""
        subscribed = _expect(Subscribed, await self._ask(Subscribe(0), LOOK_S))
        async for event in stream(subscribed.events, topics, self._patience, missed, self._key):
            yield event

    async def newest_tid(self) -> bytes:
        """As Client.newest_tid."""
        return _expect(Subscribed, await self._ask(Subscribe(0), LOOK_S)).tid

    async def status(self) -> dict[str, Any]:
        """As Client.status."""
        return _told(await self._ask(GetStatus(0), LOOK_S))

    async def release(self, references: Iterable[Target]) -> Any:
        """As Client.release."""
        return _expect(Reply, await self._ask(_release(references, self.session), LOOK_S)).result

    async def close(self) -> None:
        """As Client.close, but for the event iterators, which their owners close."""
        await asyncio.to_thread(self._channel.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def _carry_on(self, conversation: Conversation[_T]) -> _T:
        try:
            request = next(conversation)
            while True:
                try:
                    answer = await self._ask(request, self._patience_for(request))
                except ClientError as error:
                    request = conversation.throw(error)
                else:
                    request = conversation.send(answer)
        except StopIteration as end:
            result: _T = end.value
            return result

    async def _ask(self, request: Any, deadline_s: float) -> Answer:
        return await asyncio.wrap_future(self._channel.ask(request, deadline_s))


class _Pages:
    """Collects the pages of one snapshot."""

    def __init__(self, page: int) -> None:
        self._page = page
        self._state = State(0, b"", [], b"")
        self.more = True

    def next(self) -> GetFullState:
        return GetFullState(0, after=self._state.after, tid=self._state.tid, limit=self._page)

    def add(self, page: State) -> None:
        self._state = State(0, page.tid, [*self._state.objects, *page.objects], page.after)
        self.more = bool(page.after)

    def whole(self) -> State:
        return self._state


class _Parts:
    """Collects the parts of one value."""

    def __init__(self, target: Target, path: Sequence[str | int], tid: bytes) -> None:
        self._read = Read(0, _target(target), list(path), tid=tid)
        self.value: Any = None
        self.more = True

    def next(self) -> Read:
        return self._read

    def add(self, part: Part) -> None:
        if self._read.offset == 0:
            self.value = part.value
        elif part.kind == "map":
            self.value.update(part.value)
        else:
            self.value += part.value
        self._read = msgspec.structs.replace(self._read, offset=part.next, tid=part.tid)
        self.more = part.next > 0


def _transaction(sends: Iterable[Sending], via: str) -> Transaction:
    steps = [
        send if isinstance(send, Step) else Step(_target(send[0]) if isinstance(send[0], str) else send[0], send[1], list(send[2:]))
        for send in sends
    ]
    return Transaction(id=0, sends=steps, via=via)


def _results(answer: Answer) -> list[Any]:
    return msgspec.convert(_expect(Reply, answer).result, list[Any])


def _target(target: Target) -> Target:
    """`@2a` is a reference, everything else a name."""
    return Reference.parse(target) if isinstance(target, str) and target.startswith("@") else target


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
    expected, taken = _examples(examples), msgspec.UNSET if risk is None else risk
    return Send(id=0, target=_target(target), selector=selector, args=list(args), kwargs=kwargs, examples=expected, via=via, risk=taken)


def _create_method(target: Target, selector: str, source: str, examples: Examples, policy: bool, here: bool, via: str) -> CreateMethod:
    expected = _examples(examples)
    return CreateMethod(
        id=0, target=_target(target), selector=selector, source=source, examples=expected, policy=policy, here=here, via=via
    )


def _contract(target: Target, selector: str, add: Examples, remove: Iterable[int]) -> Contract:
    return Contract(id=0, target=_target(target), selector=selector, examples=_examples(add), remove=list(remove))


def _told(answer: Answer) -> dict[str, Any]:
    return msgspec.convert(_expect(Reply, answer).result, dict[str, Any])


def _examples(examples: Examples) -> list[Example]:
    return [example if isinstance(example, Example) else msgspec.convert(dict(example), Example) for example in examples]


def _release(references: Iterable[Target], session: str) -> Release:
    return Release(0, [_target(reference) for reference in references], session)


def _expect(kind: type[_T], answer: Answer) -> _T:
    if not isinstance(answer, kind):
        raise RemoteError("InternalError", f"the bridge answered with {type(answer).__name__}; {kind.__name__} was expected")
    return answer


def _object(answer: Answer) -> ObjectState:
    return msgspec.convert(_expect(Reply, answer).result, ObjectState)
