"""A Universal Virtual Machine's loop: poll, take what arrived, run a batch in one transaction, answer after the commit.

One thread. An answer of the model and a trial that ended are events of the same loop.
"""

import collections
import os
import select
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import structlog
import zmq
from prometheus_client import Counter, Gauge, Histogram

from deploy.process import Stop
from deploy.reconnection import Reconnections, quickly
from deploy.settings import Configuration
from inference_worker.protocol import Completed
from inference_worker.protocol import RequestFailed as ThoughtFailed
from uvm.bridge import heads, refusals
from uvm.bridge import protocol as wire
from uvm.errors import DeadlineExceeded, ImageError, TooDeep
from uvm.generation.request import MethodRequest
from uvm.generation.thoughts import Thoughts
from uvm.generation.writers import Writers
from uvm.image.blobs import materializer
from uvm.image.changes import updates
from uvm.image.image import Image
from uvm.image.transactor import ImageAway, Transactor
from uvm.inference.balancer import endpoints
from uvm.inference.client import InferenceClient
from uvm.machine.batch import Batch, BatchUndecided
from uvm.machine.delivery import Answered, Delivery, Failed, Outcome, Thinking, fault
from uvm.machine.import_tests import ImportTests
from uvm.machine.stopwatch import Stopwatch
from uvm.machine.watchdog import Watchdog
from uvm.protocol import TOPIC_STATE, Change, encode
from uvm.rights import Spent
from uvm.runtime.primitives import PRIMITIVES
from uvm.runtime.runtime import Runtime
from uvm.transporter.contracts import ImportTest, ImportVerdict
from uvm.trial.client import TrialServer
from uvm.trial.protocol import NeededThought

_HELD = 100_000
"""Deliveries that this process holds at most; the bridge's window keeps it far below."""

log = structlog.get_logger()

RAN = Counter("batos_uvm_messages_total", "Messages run, by outcome.", ["outcome"])
BATCHES = Histogram("batos_uvm_batch_messages", "Messages in one transaction.", buckets=(1, 2, 4, 8, 16, 32, 64))
SECONDS = Histogram("batos_uvm_batch_seconds", "Seconds from the start of a batch to its commit.")
PARKED = Gauge("batos_uvm_parked", "Messages that wait for a method or a thought.")
CONFLICTS = Gauge("batos_uvm_conflicts", "Batches that lost a conflict, since the start.")
METHODS = Gauge("batos_uvm_methods", "Missing methods that this process ended, by how.", ["end"])


class Machine:
    """The loop and what it owns."""

    def __init__(self, configuration: Configuration, name: str, image: Image, trials: TrialServer, stop: Stop, confined: bool) -> None:
        self._configuration = configuration
        self._settings = configuration.settings
        self._name = name
        self._incarnation = uuid.uuid4().hex[:12]
        self._image = image
        self._trials = trials
        self._stop = stop
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._bridge = self._context.socket(zmq.DEALER)
        self._bridge.setsockopt(zmq.ROUTING_ID, wire.routing_id(name, self._incarnation))
        self._bridge.setsockopt(zmq.LINGER, 2000)
        self._bridge.setsockopt(zmq.SNDHWM, _HELD)
        quickly(self._bridge)
        self._reconnections = Reconnections(self._bridge)
        self._bridge.connect(configuration.uvms_endpoint)
        self._inference = InferenceClient(self._context, endpoints(configuration))
        self._runtime = Runtime(image, PRIMITIVES)
        self._transactor = Transactor(image, name, self._alive, self._publish_changes)
        self._batch = Batch(image, self._runtime, self._settings.uvm, name, self._alive, configuration.settings.bridge.max_frame_bytes)
        self._writers = Writers(
            configuration=configuration,
            image=image,
            runtime=self._runtime,
            transactor=self._transactor,
            inference=self._inference,
            trials=trials,
            publish=self._publish,
            used=self._used,
            owner=f"{name}/{self._incarnation}",
            confined=confined,
        )
        self._import_tests = ImportTests(configuration.settings, self._transactor, trials, self._used)
        self._thoughts = Thoughts(image, self._transactor, self._inference, materializer(image, configuration.home))
        self._watchdog = Watchdog(self._settings.bridge.dead_after_s)
        self._ready: collections.deque[Delivery] = collections.deque()
        self._parked: dict[int, Delivery] = {}
        self._alive_at = 0.0
        self._tick_at = 0.0
        self._poller = zmq.Poller()
        self._poller.register(self._bridge, zmq.POLLIN)
        self._poller.register(self._reconnections.socket, zmq.POLLIN)
        for socket in self._inference.sockets:
            self._poller.register(socket, zmq.POLLIN)
        self._poller.register(stop.fileno(), zmq.POLLIN)
        self._poller.register(trials.fileno(), zmq.POLLIN)

    def serve(self) -> None:
        """Run until a stop is requested. Raises ImageAway when the ZEO server stays away."""
        self._say(wire.Ready(self._name, self._incarnation, os.getpid()))
        while not self._stop.requested:
            self._poll()
            self._run_ready()
            self._tick(time.monotonic())
        self._drain()

    def close(self) -> None:
        """Close the sockets."""
        self._watchdog.stop()
        self._writers.close()
        self._import_tests.close()
        self._inference.close()
        self._reconnections.close()
        self._bridge.close()
        self._context.term()

    # --- events ------------------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        trials = {trial.fileno(): (trial, owner) for owner in (self._writers, self._import_tests) for trial in owner.trials()}
        for descriptor, (trial, _) in trials.items():
            self._poller.register(descriptor, zmq.POLLIN | (zmq.POLLOUT if trial.events() & select.POLLOUT else 0))
        wait = 0 if self._ready else 50 if self._writers or self._parked else 200
        try:
            events = dict(self._poller.poll(wait))
        finally:
            for descriptor in trials:
                self._poller.unregister(descriptor)
        if self._reconnections.socket in events and self._reconnections.again():
            self._alive_at = 0.0  # a new bridge answers the first word with Lost, and has this UVM a moment later
            self._alive()
        if self._bridge in events:
            self._take()
        if any(socket in events for socket in self._inference.sockets):
            self._steadily(self._inference.receive)
        for descriptor, (trial, owner) in trials.items():
            if descriptor in events:
                self._steadily(partial(owner.readable, trial))
        if self._trials.fileno() in events and not self._trials.alive():
            # A confined process can start no other one: the supervisor starts this one anew.
            log.error("the trial server is gone; ending, to be started anew")
            self._stop.request()

    def _take(self) -> None:
        watch = Stopwatch()
        while len(self._ready) < _HELD:
            try:
                frame = self._bridge.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = wire.decode_to_uvm(frame)
            except msgspec.DecodeError as error:
                log.error("the bridge sent a bad frame", error=str(error))
                continue
            if isinstance(message, wire.Deliver):
                self._accept(message, watch)
            elif isinstance(message, wire.Drop):
                self._drop(message.delivery)
            elif isinstance(message, wire.Recall):
                self._give_back()
            else:
                log.warning("the bridge does not know this UVM; introducing it again")
                self._ready.clear()
                self._parked.clear()
                self._say(wire.Ready(self._name, self._incarnation, os.getpid()))

    def _accept(self, deliver: wire.Deliver, watch: Stopwatch) -> None:
        try:
            delivery = Delivery(
                deliver.delivery,
                deliver.payload,
                deliver.principal,
                deliver.alone,
                deliver.arrived_ms_ago / 1000,
                self._settings.uvm.generation_deadline_s,
                deliver.rights,
                deliver.limits,
            )
        except (ImageError, msgspec.DecodeError) as error:
            self._say(wire.Done(deliver.delivery, encode(refusals.bad_request(heads.identifier(deliver.payload), str(error)))))
            watch.lap()
            return
        # What it took to read it is its sender's as well.
        delivery.cpu_s = watch.lap()
        self._ready.append(delivery)

    def _give_back(self) -> None:
        """The bridge has better places for what has not begun here."""
        back = [delivery.number for delivery in self._ready if not delivery.restarts]
        self._ready = collections.deque(delivery for delivery in self._ready if delivery.restarts)
        self._say(wire.Returned(back))

    def _drop(self, number: int) -> None:
        delivery = self._parked.get(number) or next((delivery for delivery in self._ready if delivery.number == number), None)
        if delivery is not None:
            delivery.deadline = 0.0

    def _steadily(self, step: Callable[[], object]) -> None:
        """Run a step of the loop that serves no single message. A fault of it is logged; the loop goes on."""
        try:
            step()
        except ImageAway:
            raise
        except Exception:  # what it read in the image may be anything
            log.exception("a fault in the loop; it goes on")

    # --- running -------------------------------------------------------------------------------------------------------

    def _run_ready(self) -> None:
        if not self._ready:
            return
        deliveries = [self._ready.popleft()]
        while self._ready and not deliveries[0].alone and not self._ready[0].alone and len(deliveries) < self._settings.uvm.batch:
            deliveries.append(self._ready.popleft())
        started = time.monotonic()
        while True:
            try:
                results = self._batch.run(deliveries)
                break
            except BatchUndecided:
                self._transactor.wait_for_image()
        BATCHES.observe(len(deliveries))
        SECONDS.observe(time.monotonic() - started)
        CONFLICTS.set(self._batch.conflicts)
        for kind, times in collections.Counter(_named(outcome) for _, outcome, _ in results).items():
            RAN.labels(kind).inc(times)
        for delivery, outcome, tid in results:
            try:
                self._settle(delivery, outcome, tid)
            except ImageAway:
                raise
            except Exception as error:  # whatever stands in the image, it fails one message, and ends no process
                log.exception("a fault while a message was settled", delivery=delivery.number)
                self._fail(delivery, fault(error))
            if isinstance(outcome, Answered):
                if outcome.accepted is not None:
                    self._writers.learner.accepted(*outcome.accepted)
                for message, author in outcome.taken_back:
                    self._writers.learner.rejected(message, [author])
                if outcome.changes:
                    self._publish_changes(tid, outcome.changes)
        if len(results) < len(deliveries):
            ended = {delivery.number for delivery, _, _ in results}
            self._ready.extendleft(delivery for delivery in reversed(deliveries) if delivery.number not in ended)

    def _settle(self, delivery: Delivery, outcome: Outcome, tid: bytes) -> None:
        if isinstance(outcome, Answered):
            self._done(delivery, outcome.answer(delivery.request, tid, self._name), outcome.stored, outcome.bytes_held)
            return
        if isinstance(outcome, Failed):
            self._done(delivery, outcome.answer(delivery.request, tid, self._name))
            return
        delivery.restarts += 1
        if delivery.restarts > self._settings.uvm.restarts:
            self._fail(delivery, TooDeep(f"the message was set aside {self._settings.uvm.restarts} times", "do it in several messages"))
            return
        self._parked[delivery.number] = delivery
        self._say(wire.Parked([delivery.number]))
        if isinstance(outcome, MethodRequest):
            delivery.generations += outcome.offered is None and not outcome.tested
            request = msgspec.structs.replace(outcome, session=delivery.session, seq=delivery.seq)
            self._writers.request(request, lambda error: self._resume(delivery, delivery.ended(request, error)))
        elif isinstance(outcome, ImportTest):
            self._import_tests.request(outcome, delivery, lambda answer: self._tested(delivery, answer))
        else:
            self._think(delivery, outcome)

    def _tested(self, delivery: Delivery, answer: ImportVerdict | NeededThought | ImageError | DeadlineExceeded) -> None:
        """What came of an import's test."""
        if isinstance(answer, NeededThought):
            self._think(delivery, Thinking(answer, answer.persona.oid))
        elif isinstance(answer, ImportVerdict):
            delivery.verdict = answer
            self._resume(delivery, None)
        else:
            self._resume(delivery, answer)

    def _think(self, delivery: Delivery, thinking: Thinking) -> None:
        def done(answer: Completed | ThoughtFailed) -> None:
            if isinstance(answer, Completed):
                delivery.thoughts[thinking.key] = answer.outputs[0].text
                self._resume(delivery, None)
            else:
                self._resume(
                    delivery,
                    ImageError(f"the model did not answer: {answer.type}: {answer.message}", "batos status shows the inference worker"),
                )

        question = self._inference.identifier(f"{self._name}-{self._incarnation}-thought")
        seconds = max(0.1, delivery.deadline - time.monotonic())
        try:
            self._thoughts.ask(thinking, thinking.persona, question=question, session=delivery.session, seconds=seconds, done=done)
        except ImageError as error:
            self._resume(delivery, error)

    def _resume(self, delivery: Delivery, error: ImageError | DeadlineExceeded | None) -> None:
        if self._parked.pop(delivery.number, None) is None:
            return
        if error is not None:
            self._fail(delivery, error)
        else:
            self._say(wire.Resumed([delivery.number]))
            self._ready.append(delivery)

    def _fail(self, delivery: Delivery, error: Any) -> None:
        self._parked.pop(delivery.number, None)
        self._done(delivery, Failed(error).answer(delivery.request, b"", self._name))

    def _done(self, delivery: Delivery, answer: bytes, stored: int = 0, bytes_held: int | None = None) -> None:
        spent = Spent(cpu_s=delivery.cpu_s, bytes=stored, generations=delivery.generations, stored=bytes_held)
        self._say(wire.Done(delivery.number, answer, spent))

    # --- time ------------------------------------------------------------------------------------------------------------

    def _tick(self, now: float) -> None:
        self._alive()
        if now < self._tick_at:
            return
        self._tick_at = now + 0.05
        self._steadily(lambda: self._inference.tick(now))
        self._steadily(lambda: self._writers.tick(now))
        self._steadily(lambda: self._import_tests.tick(now))
        for delivery in [delivery for delivery in self._parked.values() if now > delivery.deadline]:
            waited = now - delivery.arrived
            self._fail(
                delivery,
                DeadlineExceeded(
                    f"waited {waited:.1f} s for a method or a thought that is not there yet", "send it again: what is being written goes on"
                ),
            )
        PARKED.set(len(self._parked))
        METHODS.labels("installed").set(self._writers.installed)
        METHODS.labels("refused").set(self._writers.refused)

    def _alive(self) -> None:
        """A step of the loop, or a message of a batch, begins."""
        now = time.monotonic()
        if now >= self._alive_at:
            self._alive_at = now + wire.ALIVE_EVERY_S
            self._watchdog.put_off()
            self._say(wire.Alive(len(self._ready) + len(self._parked)))

    def _drain(self) -> None:
        """Run what is ready, and leave the rest to others."""
        until = time.monotonic() + 2.0
        while self._ready and time.monotonic() < until:
            self._run_ready()
        self._say(wire.Leaving())

    def _publish_changes(self, tid: bytes, changes: list[Change]) -> None:
        for update in updates(tid, self._name, changes):
            self._publish(TOPIC_STATE, update)

    def _used(self, principal: str, cpu_s: float) -> None:
        self._say(wire.Used(principal, Spent(cpu_s=cpu_s)))

    def _publish(self, topic: bytes, payload: bytes) -> None:
        self._say(wire.Publish(topic, payload))

    def _say(self, message: Any) -> None:
        try:
            self._bridge.send(wire.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            log.error("the bridge takes nothing; a word to it is lost", word=type(message).__name__)


def _named(outcome: Outcome) -> str:
    """What the metrics call an outcome."""
    if isinstance(outcome, MethodRequest):
        return "tested" if outcome.tested else "missing" if outcome.offered is None else "offered"
    if isinstance(outcome, ImportTest):
        return "tested"
    return type(outcome).__name__.lower()
