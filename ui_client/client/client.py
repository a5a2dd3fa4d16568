"""The client library: send messages to the objects of an image, look at them, follow what happens.

    with Client() as client:
        item = client.send("genesis_obj", "clone")
        client.send(item, "setSlot_value_", "price", 3.5)

`Client` may be used by any number of threads, `AsyncClient` by one event loop; both stand on `ui_client.client.channel`, whose
thread owns the connection. A client is one session: each message that may change the image has a number in it, is sent again
until it is answered, and is carried out once. What a call waits for is bounded by its deadline.

What the methods are, with their parameters, is in `ui_client.client.requests`, once for both.
"""

import asyncio
import functools
import inspect
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, get_args

from deploy.settings import Configuration
from ui_client.client import requests
from ui_client.client.conversation import Conversation
from ui_client.client.errors import BridgeBusy, BridgeUnreachable, ClientError, RemoteError
from ui_client.client.session import ClientSession
from ui_client.client.subscription import EventStream, Missed, stream
from uvm.protocol import Answer, Event, Example, Reference, Result, Step

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

TOPICS = ("state", "progress")

_T = TypeVar("_T")
_P = ParamSpec("_P")


def _waiting(request: Callable[Concatenate[ClientSession, _P], Conversation[_T]]) -> Callable[Concatenate["Client", _P], _T]:
    @functools.wraps(request)
    def method(client: "Client", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return client._carry_on(request(client, *args, **kwargs))

    return _shown_as(method, request)


def _awaiting(
    request: Callable[Concatenate[ClientSession, _P], Conversation[_T]],
) -> Callable[Concatenate["AsyncClient", _P], Coroutine[Any, Any, _T]]:
    @functools.wraps(request)
    async def method(client: "AsyncClient", /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        return await client._carry_on(request(client, *args, **kwargs))

    return _shown_as(method, request)


def _shown_as(method: _T, request: Callable[..., Any]) -> _T:
    """The method, which `help` is to show with what the caller gets."""
    signature = inspect.signature(request)
    vars(method)["__signature__"] = signature.replace(return_annotation=get_args(signature.return_annotation)[2])
    return method


class Client(ClientSession):
    """A synchronous client; see the module. Close it, or use it in a `with` statement.

    Every method raises RemoteError for what the image or the bridge refused, BridgeUnreachable and BridgeBusy. A target is a
    name, a reference, or its text (`@2a`).
    """

    send = _waiting(requests.send)
    preview = _waiting(requests.preview)
    accept = _waiting(requests.accept)
    create_method = _waiting(requests.create_method)
    contract = _waiting(requests.contract)
    transaction = _waiting(requests.transaction)
    preview_transaction = _waiting(requests.preview_transaction)
    read = _waiting(requests.read)
    inspect = _waiting(requests.inspect)
    full_state = _waiting(requests.full_state)
    export = _waiting(requests.export)
    export_blob = _waiting(requests.export_blob)
    import_objects = _waiting(requests.import_objects)
    newest_tid = _waiting(requests.newest_tid)
    status = _waiting(requests.status)
    release = _waiting(requests.release)

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

    def events(self, topics: Sequence[str] = TOPICS, stop: threading.Event | None = None, *, missed: bool = False) -> EventStream:
        """Follow what is published, from now on: the subscription is in force when this returns.

        Yields StateUpdate and Progress, and Missed where asked for with `missed`. To follow the state: first this, then
        `full_state`, then apply the updates with a larger tid; after a Missed of `state`, take the full state again.
        """
        subscribed = self._carry_on(requests.subscription(self))
        events = EventStream(subscribed.events, topics, self._patience, stop, missed, self._key)
        self._streams.add(events)
        return events

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
            bounded = next(conversation)
            while True:
                try:
                    answer = self._ask(bounded.request, self._deadline(bounded.deadline_s))
                except ClientError as error:
                    bounded = conversation.throw(error)
                else:
                    bounded = conversation.send(answer)
        except StopIteration as end:
            result: _T = end.value
            return result

    def _ask(self, request: Any, deadline_s: float) -> Answer:
        return self._channel.ask(request, deadline_s).result()


class AsyncClient(ClientSession):
    """The same for asyncio: every method is awaited, `events` is an asynchronous iterator. Use it in `async with`.

    A call that is cancelled is not taken back: its message may still be carried out.
    """

    send = _awaiting(requests.send)
    preview = _awaiting(requests.preview)
    accept = _awaiting(requests.accept)
    create_method = _awaiting(requests.create_method)
    contract = _awaiting(requests.contract)
    transaction = _awaiting(requests.transaction)
    preview_transaction = _awaiting(requests.preview_transaction)
    read = _awaiting(requests.read)
    inspect = _awaiting(requests.inspect)
    full_state = _awaiting(requests.full_state)
    export = _awaiting(requests.export)
    export_blob = _awaiting(requests.export_blob)
    import_objects = _awaiting(requests.import_objects)
    newest_tid = _awaiting(requests.newest_tid)
    status = _awaiting(requests.status)
    release = _awaiting(requests.release)

    async def events(self, topics: Sequence[str] = TOPICS, *, missed: bool = False) -> AsyncIterator[Event | Missed]:
        """As Client.events; the subscription comes into force when the iteration begins."""
        subscribed = await self._carry_on(requests.subscription(self))
        async for event in stream(subscribed.events, topics, self._patience, missed, self._key):
            yield event

    async def close(self) -> None:
        """As Client.close, but for the event iterators, which their owners close."""
        await asyncio.to_thread(self._channel.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()

    async def _carry_on(self, conversation: Conversation[_T]) -> _T:
        try:
            bounded = next(conversation)
            while True:
                try:
                    answer = await self._ask(bounded.request, self._deadline(bounded.deadline_s))
                except ClientError as error:
                    bounded = conversation.throw(error)
                else:
                    bounded = conversation.send(answer)
        except StopIteration as end:
            result: _T = end.value
            return result

    async def _ask(self, request: Any, deadline_s: float) -> Answer:
        return await asyncio.wrap_future(self._channel.ask(request, deadline_s))
