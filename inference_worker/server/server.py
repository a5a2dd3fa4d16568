"""The inference worker's loop: a ROUTER socket in front of the scheduler and one engine.

One event loop does everything; each request is a task in it, and its deadline and its client may end it at any point. Here is
who asks and what they are told; `service.py` is what answers.

The queue is bounded by `inference.queue`; past it a client is answered Busy. Text (Delta) is sent as it is written. A client
that leaves takes its requests with it.
"""

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, BinaryIO, cast

import msgspec
import structlog
import zmq
import zmq.asyncio

from deploy.data_type import settled
from deploy.settings import Home, InferenceSettings
from inference_worker import metrics as measures
from inference_worker import protocol
from inference_worker.engine.engine import Engine
from inference_worker.engine.host import one_model
from inference_worker.errors import (
    BadRequest,
    Cancelled,
    EngineDied,
    InferenceFailure,
    LibrariesFailed,
    RequestTimedOut,
    Stopping,
    WorkerFault,
)
from inference_worker.protocol import AskHealth, CancelRequest, Completed, Generate, RequestFailed, Warm, WorkerBusy
from inference_worker.server.backpressure import Pressure
from inference_worker.server.liveness import Presence
from inference_worker.server.pending_request import PendingRequest
from inference_worker.server.service import Serving
from inference_worker.tiers.events import Key

log = structlog.get_logger(__name__)

DRAIN_S = 5.0
"""How long running requests may go on once the worker is asked to stop, seconds."""

_LARGEST_FRAME = 4_000_000
_UNREAD_ANSWERS = 10_000
# The worker itself, where it asks for something; nobody is answered.
_NOBODY = b""


class _Named(msgspec.Struct):
    id: str = ""


class InferenceServer:
    """Serves the protocol on one socket. `make` returns an engine, not started; `trace` gets a line per finished request."""

    def __init__(self, home: Home, settings: InferenceSettings, make: Callable[[], Engine], trace: BinaryIO | None = None) -> None:
        # Slots and budgets are counted in the type that the engine computes in.
        self._settings = settings = settled(settings)
        self._home = home
        self._incarnation = secrets.token_hex(8)
        self._serving = Serving(home, settings, make, self._incarnation, self._rebuild, trace)
        self._pressure = Pressure(settings.queue)
        self._pending: dict[Key, PendingRequest] = {}
        self._stopping = False
        self._useless = asyncio.Event()
        context = zmq.asyncio.Context()
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _LARGEST_FRAME)
        self._socket.setsockopt(zmq.SNDHWM, _UNREAD_ANSWERS)
        # A client that is gone is an error that can be seen, not a reply that vanishes.
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._presence = Presence(self._socket)

    async def serve(self, endpoint: str, stop: asyncio.Event) -> None:
        """Bind and answer until `stop` is set; then refuse what comes, give what runs DRAIN_S, and end the engine.

        Raises LibrariesFailed, after the same, once a client wanted an engine that this process cannot have: the next one may.
        """
        tasks: list[asyncio.Task[None]] = []
        ends: list[asyncio.Task[Any]] = [asyncio.create_task(end.wait()) for end in (stop, self._useless)]
        try:
            self._socket.bind(endpoint)
            await self._serving.open()
            loops = (self._receive(), self._watch(), self._serving.tick(), self._serving.look())
            tasks += [asyncio.create_task(loop) for loop in loops]
            log.info("inference worker listens", endpoint=endpoint, start=self._settings.start)
            if self._settings.start == "eager":
                self._start_eagerly()
            await asyncio.wait([*tasks, *ends], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
            await self._drain()
            if self._useless.is_set() and not stop.is_set():
                raise LibrariesFailed(self._serving.useless)
        finally:
            for task in [*ends, *tasks]:
                task.cancel()
            await asyncio.wait([*ends, *tasks])
            await self._serving.close()
            self._presence.close()
            self._socket.close()
            self._socket.context.term()

    # --- arriving and leaving -----------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            frames = await self._socket.recv_multipart(copy=False)
            client, parts = frames[0].bytes, frames[1:]
            self._end_requests_of_departed()
            self._presence.connected(client, frames[0])
            try:
                if len(parts) != 1:
                    raise BadRequest(f"a message is one frame, but this one has {len(parts)}; connect a DEALER socket and send one")
                request = protocol.decode_request(parts[0].bytes)
            except (msgspec.DecodeError, BadRequest) as error:
                self._fail(client, _id_of(parts[-1].bytes) if parts else "", BadRequest(str(error)))
                continue
            self._arrived(client, request)
            # Messages that wait in the socket are received without a pause; the requests they began need their turn too.
            await asyncio.sleep(0)

    async def _watch(self) -> None:
        while True:
            await self._presence.change()
            self._end_requests_of_departed()

    def _end_requests_of_departed(self) -> None:
        for client in self._presence.left():
            self._end_requests_of(client)

    def _end_requests_of(self, client: bytes) -> None:
        for pending in [pending for pending in self._pending.values() if pending.client == client]:
            pending.end(Cancelled("the client is gone"))

    def _arrived(self, client: bytes, request: protocol.Request) -> None:
        if isinstance(request, CancelRequest):
            if pending := self._pending.get((client, request.id)):
                pending.end(Cancelled("the client took the request back"))
            return
        pending = PendingRequest(client, request, asyncio.get_running_loop().time(), lambda message: self._send(client, message))
        if self._stopping and not isinstance(request, AskHealth):
            self._fail(client, request.id, Stopping("the worker is being stopped; ask again when it is back"))
        elif (earlier := self._pending.get(pending.key)) is not None:
            # The same request twice is a client that was not sure whether it had arrived; it gets the one answer. What it has
            # asked again for has less time left, and the first one can have come late: a socket keeps it while no worker is there.
            if _without_deadline(earlier.request) != _without_deadline(request):
                self._fail(client, request.id, BadRequest(f"the id {request.id} is in use by another request; every request needs its own"))
        elif self._pressure.is_full(len(self._pending), request):
            measures.REQUESTS.labels("Busy").inc()
            self._send(client, WorkerBusy(id=request.id, retry_after_ms=self._pressure.retry_after_ms(len(self._pending))))
        else:
            self._pending[pending.key] = pending
            pending.task = asyncio.create_task(self._run(pending))

    def _start_eagerly(self) -> None:
        digest = one_model(self._home)
        if digest is None:
            log.info("no single model in the home yet; the engine starts at the first request", models=str(self._home.models))
            return
        self._arrived(_NOBODY, Warm(id="eager", model=digest))

    def _rebuild(self, model: str) -> None:
        """An engine that was of use died: another is wanted before the next request comes."""
        if not self._stopping:
            self._arrived(_NOBODY, Warm(id="rebuild", model=model))

    # --- one request ------------------------------------------------------------------------------------------------

    async def _run(self, pending: PendingRequest) -> None:
        """A request from its arrival to its answer; every end of it is an answer."""
        outcome = Completed.__name__
        limit = self._limit(pending.request)
        try:
            async with asyncio.timeout(limit):
                answer = await self._serving.answer(pending)
            self._send(pending.client, answer)
        except TimeoutError:
            outcome = self._fail(pending.client, pending.request.id, RequestTimedOut(f"no answer within {limit:.1f} s"))
        except asyncio.CancelledError:
            outcome = self._fail(pending.client, pending.request.id, pending.ended_by or Stopping("the worker is being stopped"))
        except InferenceFailure as error:
            ended = self._stopping and isinstance(error, EngineDied)
            outcome = self._fail(pending.client, pending.request.id, Stopping(str(error)) if ended else error)
            # Not before somebody wants one: a start that is eager would fail in every process, one after the other.
            if self._serving.useless and pending.client != _NOBODY:
                self._useless.set()
        except Exception as error:
            log.exception("a request failed for a reason of ours", id=pending.request.id)
            outcome = self._fail(pending.client, pending.request.id, WorkerFault(f"{type(error).__name__}: {error}; the log has the rest"))
        finally:
            del self._pending[pending.key]
        if isinstance(pending.request, Generate):
            self._pressure.answered(asyncio.get_running_loop().time(), len(self._pending))
            measures.REQUESTS.labels(outcome).inc()

    def _limit(self, request: protocol.Request) -> float:
        if isinstance(request, Generate):
            return request.deadline_ms / 1000 if request.deadline_ms else self._settings.deadline_s
        return self._settings.start_timeout_s + self._settings.deadline_s

    # --- stopping ---------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        self._stopping = True
        running = [pending for pending in self._pending.values() if pending.is_running and self._serving.is_ready]
        log.info("inference worker stops", running=len(running), waiting=len(self._pending) - len(running))
        for pending in list(self._pending.values()):
            if pending not in running:
                pending.end(Stopping("the worker is being stopped; ask again when it is back"))
        await self._all_answered()
        for pending in list(self._pending.values()):
            pending.end(
                Stopping(f"the worker is being stopped, and the request did not end within {DRAIN_S:.0f} s; ask again when it is back")
            )
        await self._all_answered()

    async def _all_answered(self) -> None:
        if tasks := [pending.task for pending in self._pending.values() if pending.task is not None]:
            await asyncio.wait(tasks, timeout=DRAIN_S)

    # --- answering --------------------------------------------------------------------------------------------------

    def _fail(self, client: bytes, identifier: str, error: InferenceFailure) -> str:
        self._send(client, RequestFailed(id=identifier, type=error.type, message=str(error)))
        return error.type

    def _send(self, client: bytes, message: msgspec.Struct) -> None:
        """Never blocks: a client that is gone, or has left thousands of answers unread, loses this one."""
        if client == _NOBODY:
            return
        # With NOBLOCK the future is done when it is returned.
        sending = cast("asyncio.Future[object]", self._socket.send_multipart([client, protocol.encode(message)], flags=zmq.NOBLOCK))
        if (error := sending.exception()) is None:
            return
        if isinstance(error, zmq.ZMQError) and error.errno == zmq.EHOSTUNREACH:
            self._end_requests_of(client)
        else:
            log.warning("an answer was not sent", client=client.hex(), op=type(message).__struct_config__.tag, reason=str(error))


def _without_deadline(request: protocol.Request) -> protocol.Request:
    return msgspec.structs.replace(request, deadline_ms=0) if isinstance(request, Generate) else request


def _id_of(frame: bytes) -> str:
    try:
        return msgspec.msgpack.decode(frame, type=_Named).id
    except msgspec.DecodeError:
        return ""
