"""The inference worker's loop: a ROUTER socket in front of one engine.

One event loop does everything; each request is a task in it. A request is checked, waits for admission, gets the engine
(started if need be) and its adapter, is written, and is answered; its deadline and its client may end it at any point.
A request that an engine died on is tried once more, alone, and then given up.

The queue is bounded by `inference.queue`; past it a client is answered Busy. Text (Delta) is sent as it is written. After
a second start of the same request no more Deltas are sent: what a client put together from them is then the beginning
of an answer that was lost, and Completed holds the one that counts.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import msgspec
import structlog
import zmq
import zmq.asyncio

from deploy.settings import Home, InferenceSettings
from inference_worker import measures, protocol
from inference_worker.admission import Admission, Key, Ticket
from inference_worker.arguments import WARM_ADAPTERS
from inference_worker.engine import Engine, Generated
from inference_worker.errors import BadRequest, Cancelled, DeadlineExceeded, EngineDied, InferenceFailure, Stopping, WorkerFault
from inference_worker.host import EngineHost, one_model
from inference_worker.protocol import AskHealth, Busy, Cancel, Completed, Delta, Failed, Generate, Health, Warm

log = structlog.get_logger(__name__)

PROBE_S = 5.0
"""How long the engine may take to answer a health check, seconds: a long prefill on a CPU is not death."""

DRAIN_S = 5.0
"""How long running requests may go on once the worker is asked to stop, seconds."""

_RETRY_AFTER_MS = 1000
_LARGEST_FRAME = 4_000_000
_UNREAD_ANSWERS = 10_000


class _Named(msgspec.Struct):
    id: str = ""


@dataclass(eq=False)
class _Job:
    """One request of one client while it is here. `ended_by` says why its task was cancelled."""

    client: bytes
    request: Generate | Warm | AskHealth
    arrived: float
    task: asyncio.Task[None] | None = None
    admitted: asyncio.Event = field(default_factory=asyncio.Event)
    ended_by: InferenceFailure | None = None

    @property
    def key(self) -> Key:
        return self.client, self.request.id

    def end(self, reason: InferenceFailure) -> None:
        if self.task is not None and self.ended_by is None:
            self.ended_by = reason
            # Soon, not now: a task that is cancelled before its first step never answers.
            asyncio.get_running_loop().call_soon(self.task.cancel)


class Worker:
    """Serves the protocol on one socket. `separate`: never run requests with and without adapter together (CPU)."""

    def __init__(self, home: Home, settings: InferenceSettings, make: Callable[[], Engine], separate: bool) -> None:
        self._settings = settings
        self._separate = separate
        self._home = home
        self._host = EngineHost(make, home, settings.max_lora_rank, max(WARM_ADAPTERS, settings.max_loras))
        self._admission = Admission(settings.max_streams, settings.max_loras)
        self._jobs: dict[Key, _Job] = {}
        self._stopping = False
        self._incarnation = secrets.token_hex(8)
        context = zmq.asyncio.Context()
        self._socket = context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 1000)
        self._socket.setsockopt(zmq.MAXMSGSIZE, _LARGEST_FRAME)
        self._socket.setsockopt(zmq.SNDHWM, _UNREAD_ANSWERS)
        # A client that is gone is an error that can be seen, not a reply that vanishes.
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)

    async def serve(self, endpoint: str, stop: asyncio.Event) -> None:
        """Bind and answer until `stop` is set; then refuse what comes, give what runs DRAIN_S, and end the engine."""
        self._socket.bind(endpoint)
        log.info("inference worker listens", endpoint=endpoint, start=self._settings.start)
        receiving = asyncio.create_task(self._receive())
        stopped = asyncio.create_task(stop.wait())
        try:
            if self._settings.start == "eager":
                self._start_eagerly()
            await asyncio.wait([receiving, stopped], return_when=asyncio.FIRST_COMPLETED)
            if receiving.done():
                receiving.result()
            await self._drain()
        finally:
            stopped.cancel()
            receiving.cancel()
            await asyncio.wait([receiving])
            await self._host.stop()
            self._socket.close()
            self._socket.context.term()

    # --- arriving ---------------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            client, *frames = await self._socket.recv_multipart()
            try:
                if len(frames) != 1:
                    raise BadRequest(f"a message is one frame, but this one has {len(frames)}; connect a DEALER socket and send one")
                request = protocol.decode_request(frames[0])
            except (msgspec.DecodeError, BadRequest) as error:
                self._fail(client, _id_of(frames[-1]) if frames else "", BadRequest(str(error)))
                continue
            self._arrived(client, request)
            # Messages that wait in the socket are received without a pause; the requests they began need their turn too.
            await asyncio.sleep(0)

    def _arrived(self, client: bytes, request: protocol.Request) -> None:
        if isinstance(request, Cancel):
            if job := self._jobs.get((client, request.id)):
                job.end(Cancelled("the client took the request back"))
            return
        job = _Job(client, request, asyncio.get_running_loop().time())
        if self._stopping and not isinstance(request, AskHealth):
            self._fail(client, request.id, Stopping("the worker is being stopped; ask again when it is back"))
        elif (earlier := self._jobs.get(job.key)) is not None:
            # The same request twice is a client that was not sure whether it had arrived; it gets the one answer.
            if earlier.request != request:
                self._fail(client, request.id, BadRequest(f"the id {request.id} is in use by another request; every request needs its own"))
        elif len(self._jobs) >= self._settings.queue * (2 if isinstance(request, AskHealth) else 1):
            measures.REQUESTS.labels("Busy").inc()
            self._send(client, Busy(id=request.id, retry_after_ms=_RETRY_AFTER_MS))
        else:
            self._jobs[job.key] = job
            job.task = asyncio.create_task(self._run(job))

    def _start_eagerly(self) -> None:
        digest = one_model(self._home)
        if digest is None:
            log.info("no single model in the home yet; the engine starts at the first request", models=str(self._home.models))
            return
        self._arrived(b"", Warm(id="eager", model=digest))

    # --- one request ------------------------------------------------------------------------------------------------

    async def _run(self, job: _Job) -> None:
        """A request from its arrival to its answer; every end of it is an answer."""
        outcome = "Completed"
        limit = self._limit(job.request)
        try:
            async with asyncio.timeout(limit):
                answer = await self._answer(job)
            self._send(job.client, answer)
        except TimeoutError:
            outcome = self._fail(job.client, job.request.id, DeadlineExceeded(f"no answer within {limit:.1f} s"))
        except asyncio.CancelledError:
            outcome = self._fail(job.client, job.request.id, job.ended_by or Stopping("the worker is being stopped"))
        except InferenceFailure as error:
            ended = self._stopping and isinstance(error, EngineDied)
            outcome = self._fail(job.client, job.request.id, Stopping(str(error)) if ended else error)
        except Exception as error:
            log.exception("a request failed for a reason of ours", id=job.request.id)
            outcome = self._fail(job.client, job.request.id, WorkerFault(f"{type(error).__name__}: {error}; the log has the rest"))
        finally:
            del self._jobs[job.key]
            self._ended(job)
        if isinstance(job.request, Generate):
            measures.REQUESTS.labels(outcome).inc()

    def _limit(self, request: Generate | Warm | AskHealth) -> float:
        if isinstance(request, Generate):
            return request.deadline_ms / 1000 if request.deadline_ms else self._settings.deadline_s
        return self._settings.start_timeout_s + self._settings.deadline_s

    async def _answer(self, job: _Job) -> protocol.Answer:
        request = job.request
        if isinstance(request, AskHealth):
            return await self._health(request.id)
        if isinstance(request, Warm):
            return await self._warm(job, request)
        try:
            return await self._generate(job, request, again=False)
        except EngineDied as error:
            if self._stopping:
                raise
            log.warning("request is tried again, alone", id=request.id, reason=str(error))
        return await self._generate(job, request, again=True)

    async def _warm(self, job: _Job, request: Warm) -> Health:
        model = await self._host.check_model(request.model)
        if self._host.state != "ready" or self._host.model != model.digest:
            await self._admitted(job, Ticket(job.key, (model.digest, False), streams=1))
            try:
                await self._host.engine(model)
            finally:
                self._ended(job)
        return await self._health(request.id)

    async def _generate(self, job: _Job, request: Generate, again: bool) -> Completed:
        model = await self._host.check_model(request.model)
        adapter = await self._host.check_adapter(request.adapter, model) if request.adapter else None
        group = (model.digest, job.key) if again else (model.digest, adapter is not None and self._separate)
        await self._admitted(job, Ticket(job.key, group, len(request.samplings), request.adapter))
        engine = None
        try:
            engine = await self._host.engine(model)
            if adapter is not None:
                await self._host.load(engine, adapter, self._admission.adapters)
            began = asyncio.get_running_loop().time()
            generated = await engine.generate(request, adapter, _silent if again else self._emitter(job, request))
        except EngineDied as error:
            if engine is not None:
                await self._host.lost(engine, str(error))
            raise
        finally:
            self._ended(job)
        self._host.served()
        return self._completed(job, request, generated, began)

    def _completed(self, job: _Job, request: Generate, generated: Generated, began: float) -> Completed:
        queued_s, engine_s = began - job.arrived, asyncio.get_running_loop().time() - began
        written = sum(output.tokens for output in generated.outputs)
        measures.QUEUED.observe(queued_s)
        measures.ENGINE.observe(engine_s)
        measures.TOKENS.labels("prompt").inc(generated.prompt_tokens)
        measures.TOKENS.labels("output").inc(written)
        log.info(
            "generated",
            id=request.id,
            adapter=request.adapter_name or (request.adapter or "")[:12],
            outputs=len(generated.outputs),
            prompt_tokens=generated.prompt_tokens,
            tokens=written,
            queued_s=round(queued_s, 3),
            engine_s=round(engine_s, 3),
        )
        return Completed(
            id=request.id, outputs=generated.outputs, prompt_tokens=generated.prompt_tokens, queued_s=queued_s, engine_s=engine_s
        )

    def _emitter(self, job: _Job, request: Generate) -> Callable[[int, str], None]:
        if not request.stream:
            return _silent
        return lambda index, text: self._send(job.client, Delta(id=request.id, index=index, text=text))

    # --- admission --------------------------------------------------------------------------------------------------

    async def _admitted(self, job: _Job, ticket: Ticket) -> None:
        job.admitted.clear()
        self._admission.arrived(ticket)
        self._admit()
        await job.admitted.wait()

    def _ended(self, job: _Job) -> None:
        self._admission.ended(job.key)
        self._admit()

    def _admit(self) -> None:
        for ticket in self._admission.admit():
            self._jobs[ticket.key].admitted.set()
        measures.WAITING.set(self._admission.waiting)
        measures.RUNNING.set(self._admission.running)

    # --- health and stopping ----------------------------------------------------------------------------------------

    async def _health(self, identifier: str) -> Health:
        answers, detail = False, self._host.detail
        if (engine := self._host.ready) is not None:
            try:
                async with asyncio.timeout(PROBE_S):
                    await engine.probe()
                answers = True
            except TimeoutError:
                detail = f"the engine did not answer within {PROBE_S:.0f} s"
            except EngineDied as error:
                detail = str(error)
                await self._host.lost(engine, detail)
        return Health(
            id=identifier,
            engine=self._host.state,
            answers=answers,
            model=self._host.model,
            adapters=self._host.adapters,
            waiting=self._admission.waiting,
            running=self._admission.running,
            engine_starts=self._host.starts,
            detail=detail,
            incarnation=self._incarnation,
        )

    async def _drain(self) -> None:
        self._stopping = True
        running = [job for job in self._jobs.values() if self._admission.is_running(job.key) and self._host.state == "ready"]
        log.info("inference worker stops", running=len(running), waiting=len(self._jobs) - len(running))
        for job in list(self._jobs.values()):
            if job not in running:
                job.end(Stopping("the worker is being stopped; ask again when it is back"))
        if tasks := [job.task for job in self._jobs.values() if job.task is not None]:
            await asyncio.wait(tasks, timeout=DRAIN_S)
        for job in list(self._jobs.values()):
            job.end(Stopping(f"the worker is being stopped, and the request did not end within {DRAIN_S:.0f} s; ask again when it is back"))
        if tasks := [job.task for job in self._jobs.values() if job.task is not None]:
            await asyncio.wait(tasks, timeout=DRAIN_S)

    # --- leaving ----------------------------------------------------------------------------------------------------

    def _fail(self, client: bytes, identifier: str, error: InferenceFailure) -> str:
        self._send(client, Failed(id=identifier, type=error.type, message=str(error)))
        return error.type

    def _send(self, client: bytes, message: msgspec.Struct) -> None:
        """Never blocks: a client that is gone, or has left thousands of answers unread, loses this one."""
        if not client:
            return
        # With NOBLOCK the future is done when it is returned.
        sending = cast("asyncio.Future[object]", self._socket.send_multipart([client, protocol.encode(message)], flags=zmq.NOBLOCK))
        if (error := sending.exception()) is None:
            return
        if isinstance(error, zmq.ZMQError) and error.errno == zmq.EHOSTUNREACH:
            self._gone(client)
        else:
            log.warning("an answer was not sent", client=client.hex(), op=type(message).__name__, reason=str(error))

    def _gone(self, client: bytes) -> None:
        for job in [job for job in self._jobs.values() if job.client == client]:
            job.end(Cancelled("the client is gone"))


def _silent(_index: int, _text: str) -> None:
    return


def _id_of(frame: bytes) -> str:
    try:
        return msgspec.msgpack.decode(frame, type=_Named).id
    except msgspec.DecodeError:
        return ""
