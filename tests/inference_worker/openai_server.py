"""A server of OpenAI's protocol that does what a test says, also what no sound server does."""

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from aiohttp import web

T = TypeVar("T")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class ReceivedRequest:
    """A request that arrived. `body`: None without one."""

    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class OpenAiServer:
    """Lists `models`; completions are answered by `answers`, in order, the last one again and again; `handlers` answer paths by hand."""

    answers: list[Handler] = field(default_factory=lambda: [spoken("ok")])
    models: list[dict[str, Any]] = field(default_factory=lambda: [{"id": "served"}])
    handlers: dict[str, Handler] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    requests: list[ReceivedRequest] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0
    runner: web.AppRunner | None = None
    connections: set[asyncio.Transport] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Listen: on any port the first time, and on the same again."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self.runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", self.port, ssl_context=self.tls, reuse_address=True)
        await site.start()
        self.port = self.runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening, and cut what is under way, as a process that is killed does."""
        if self.runner is not None:
            for transport in self.connections:
                transport.abort()
            self.connections.clear()
            await self.runner.cleanup()
            self.runner = None

    def bodies(self, path: str) -> list[Any]:
        """What arrived there."""
        return [entry.body for entry in self.requests if entry.path == path]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:
            self.connections.add(request.transport)
        text = await request.text()
        self.requests.append(ReceivedRequest(request.path, dict(request.headers), json.loads(text) if text else None))
        try:
            if (handler := self.handlers.get(request.path)) is not None:
                return await handler(request)
            if request.path == "/v1/models":
                return web.json_response({"object": "list", "data": self.models})
            if request.path in ("/v1/completions", "/v1/chat/completions"):
                return await (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)
            if request.path == "/health":
                return web.Response()
            return web.json_response({"detail": "Not Found"}, status=404)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise


def event(text: str, logprobs: list[float] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """An event as vLLM sends it."""
    probabilities = {"token_logprobs": logprobs} if logprobs is not None else None
    return {"choices": [{"index": 0, "text": text, "logprobs": probabilities, "finish_reason": finish}], **more}


def spoken(*words: str, finish: str = "stop", logprob: float = -0.5) -> Handler:
    """A whole answer, an event for each word."""
    events = [event(word, [logprob], finish if number == len(words) else None) for number, word in enumerate(words, 1)]
    return streamed(*events, {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": len(words)}})


def streamed(*events: Any, done: bool = True, cut: bool = False, hold: bool = False, kind: str = "text/event-stream") -> Handler:
    """A stream of events (texts as they are). `cut`: the connection breaks after them; `hold`: nothing more comes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        for entry in events:
            await response.write(entry.encode() if isinstance(entry, str) else f"data: {json.dumps(entry)}\n\n".encode())
        if hold:
            await asyncio.Event().wait()
        if cut:
            assert request.transport is not None
            request.transport.abort()
            return response
        if done:
            await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response

    return answer


def refused(status: int, message: str = "no", **headers: str) -> Handler:
    """An answer that is an error."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": message, "type": "Error", "code": status}}, status=status, headers=headers)

    return answer


class ThreadedServer:
    """The same in a thread of its own, for tests that hold a worker's client in theirs."""

    def __init__(self, server: OpenAiServer, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self._loop = loop

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of `coroutine` in the server's thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)


@contextmanager
def in_a_thread(server: OpenAiServer) -> Iterator[ThreadedServer]:
    """Open it in a thread, on a port that stays its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    threaded = ThreadedServer(server, loop)
    try:
        threaded.do(server.open())
        yield threaded
    finally:
        threaded.do(server.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
