"""The UVM's side of the inference workers: questions out, answers in, nothing lost when a worker is replaced, or gone.

Owned by the UVM's main thread: `receive` when a socket is readable, `tick` now and then. `balancer` decides which worker is asked.
A question is sent again when its worker's incarnation changes, since a new worker knows nothing of what the old one was asked, and
goes to another worker when its own falls silent or has no room for it. While all are silent it waits, until its deadline.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
import structlog
import zmq

from inference_worker.protocol import (
    Answer,
    AskHealth,
    CancelRequest,
    Completed,
    Delta,
    Generate,
    Health,
    RequestFailed,
    WorkerBusy,
    decode_answer,
    encode,
)
from uvm.inference.balancer import STALE_S, Worker, choose
from uvm.inference.waits import why_nothing_yet

HEALTH_EVERY_S: Final = 1.0
ELSEWHERE: Final = frozenset({"UnknownModel", "BadAdapter", "EngineStartFailed", "EndpointFailed"})
"""Failures that another worker need not have: its files and its engine are its own."""

log = structlog.get_logger()

Done = Callable[[Completed | RequestFailed], None]
Told = Callable[[Delta], None]


class _Question:
    """`worker`: the number of the one that was asked. `again_at`: when it is asked once more, since nobody had room for it; or 0.

    `sent_at`: when it was asked last. `failed`: workers that cannot answer it. `busy`: workers that had no room, until when.
    `taken_back`: a worker was told to forget it.
    """

    __slots__ = ("again_at", "busy", "deadline", "done", "failed", "generate", "incarnation", "sent_at", "taken_back", "told", "worker")

    def __init__(self, generate: Generate, deadline: float, done: Done, told: Told | None) -> None:
        self.generate = generate
        self.deadline = deadline
        self.done = done
        self.told = told
        self.again_at = 0.0
        self.incarnation: str | None = None
        self.worker = 0
        self.sent_at = 0.0
        self.failed: set[int] = set()
        self.busy: dict[int, float] = {}
        self.taken_back = False

    def without(self, now: float) -> set[int]:
        """The workers that are no choice for it now."""
        return self.failed | {number for number, until in self.busy.items() if now < until}


class InferenceClient:
    """Questions to the inference workers that wait for their answer."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoints: Sequence[str]) -> None:
        self.sockets = [_connected(context, endpoint) for endpoint in endpoints]
        self._workers = [Worker(endpoint) for endpoint in endpoints]
        self._questions: dict[str, _Question] = {}
        self._health_at = 0.0
        self._number = 0

    def __len__(self) -> int:
        return len(self._questions)

    def close(self) -> None:
        """Close the sockets; what was asked is cancelled by the workers' deadlines."""
        for socket in self.sockets:
            socket.close()

    def identifier(self, prefix: str) -> str:
        """A request id that this process has not used."""
        self._number += 1
        return f"{prefix}-{self._number}"

    def ask(self, generate: Generate, seconds: float, done: Done, told: Told | None = None) -> None:
        """Send a question. `done` is called once, from `receive` or `tick`, at the latest after `seconds`."""
        now = time.monotonic()
        question = _Question(generate, now + seconds, done, told)
        self._questions[generate.id] = question
        chosen = choose(generate, self._workers, now)
        self._send(question, 0 if chosen is None else chosen)

    def cancel(self, identifier: str) -> None:
        """Forget a question, and tell the worker."""
        question = self._questions.pop(identifier, None)
        if question is not None:
            self._done_with(question)
            self._put(question.worker, encode(CancelRequest(identifier)))

    def crowded(self, own: int) -> bool:
        """Whether anybody wants a model but so many of this process's own questions, as far as the workers have said."""
        now = time.monotonic()
        fresh = [worker.health for worker in self._workers if worker.health is not None and now - worker.heard_at <= STALE_S]
        return len(self._questions) > own or sum(health.waiting + health.running for health in fresh) > own

    def waits_for(self, identifier: str, now: float) -> str:
        """Why nothing has come of a question yet, in words for who waits; empty where there is nothing to say."""
        question = self._questions.get(identifier)
        return why_nothing_yet(self._workers[question.worker], now, now - question.sent_at) if question is not None else ""

    def receive(self) -> None:
        """Take what the workers have said."""
        for number, socket in enumerate(self.sockets):
            while True:
                try:
                    frame = socket.recv(zmq.NOBLOCK)
                except zmq.Again:
                    break
                try:
                    self._heard(number, decode_answer(frame))
                except msgspec.DecodeError as error:
                    log.error("an inference worker sent a bad frame", worker=self._workers[number].endpoint, error=str(error))

    def tick(self, now: float) -> None:
        """Deadlines, retries after Busy, questions of silent workers, and the question after the workers' health while something waits."""
        for identifier, question in list(self._questions.items()):
            if now > question.deadline:
                self.cancel(identifier)
                question.done(RequestFailed(identifier, "DeadlineExceeded", "the inference worker did not answer in time"))
            elif question.again_at and now > question.again_at:
                question.again_at = 0.0
                chosen = choose(question.generate, self._workers, now, question.without(now))
                self._send(question, question.worker if chosen is None else chosen)
            elif self._workers[question.worker].silent(now):
                self._move(question, now, taken_back=True)
        if self._questions and now > self._health_at:
            self._health_at = now + HEALTH_EVERY_S
            for number, worker in enumerate(self._workers):
                if worker.asked_at is None:
                    self._workers[number] = msgspec.structs.replace(worker, asked_at=now)
                self._put(number, encode(AskHealth(self.identifier("health"))))

    # --- what is heard -----------------------------------------------------------------------------------------------

    def _heard(self, number: int, answer: Answer) -> None:
        if isinstance(answer, Health):
            self._met(number, answer)
            return
        if self._workers[number].asked_at is not None:  # whatever it says, it is alive; an engine that is busy is slow to say how it is
            self._workers[number] = msgspec.structs.replace(self._workers[number], asked_at=None)
        question = self._questions.get(answer.id)
        if question is None:
            return
        if isinstance(answer, Completed) or (isinstance(answer, RequestFailed) and number == question.worker):
            self._answered(number, question, answer)
        elif number != question.worker:
            return
        elif isinstance(answer, Delta):
            if question.told is not None:
                question.told(answer)
        elif isinstance(answer, WorkerBusy):
            self._put_off(question, answer.retry_after_ms / 1000)

    def _answered(self, number: int, question: _Question, answer: Completed | RequestFailed) -> None:
        """The worker is done with it; one that was left because it was silent may still answer, but not fail."""
        if isinstance(answer, RequestFailed):
            # A question that comes back to a worker may meet there the word that it was to be forgotten.
            if answer.type == "Stopping" or (answer.type == "Cancelled" and question.taken_back):
                self._put_off(question, HEALTH_EVERY_S)
                return
            if answer.type in ELSEWHERE:
                question.failed.add(number)
                if self._move(question, time.monotonic()):
                    return
        del self._questions[answer.id]
        self._done_with(question)
        if number != question.worker:
            self._put(question.worker, encode(CancelRequest(answer.id)))
        question.done(answer)

    def _put_off(self, question: _Question, seconds: float) -> None:
        """The worker has no room: the next best one is asked, and while there is none, the best one later."""
        now = time.monotonic()
        question.busy[question.worker] = now + max(seconds, 0.01)
        if not self._move(question, now):
            question.again_at = min(until for number, until in question.busy.items() if until > now and number not in question.failed)

    def _met(self, number: int, health: Health) -> None:
        now = time.monotonic()
        self._workers[number] = msgspec.structs.replace(self._workers[number], health=health, heard_at=now, asked_at=None, sent=0)
        for question in [one for one in self._questions.values() if one.worker == number]:
            if question.incarnation not in (None, health.incarnation):
                self._send(question, number)
            question.incarnation = health.incarnation

    # --- what is said ------------------------------------------------------------------------------------------------

    def _move(self, question: _Question, now: float, taken_back: bool = False) -> bool:
        """Ask another worker; whether there is one. `taken_back`: the one that has the question is told to forget it."""
        chosen = choose(question.generate, self._workers, now, question.without(now) | {question.worker})
        if chosen is None:
            return False
        log.info("asking another inference worker", question=question.generate.id, worker=self._workers[chosen].endpoint)
        self._done_with(question)
        if taken_back:
            question.taken_back = True
            self._put(question.worker, encode(CancelRequest(question.generate.id)))
        self._send(question, chosen)
        return True

    def _send(self, question: _Question, number: int) -> None:
        worker, generate, now = self._workers[number], question.generate, time.monotonic()
        question.worker, question.again_at, question.sent_at = number, 0.0, now
        question.incarnation = worker.health.incarnation if worker.health is not None else None
        self._workers[number] = msgspec.structs.replace(worker, sent=worker.sent + len(generate.samplings))
        left_ms = max(1, int((question.deadline - now) * 1000))
        if generate.deadline_ms > left_ms:  # asked again: the worker counts from when it hears of it
            generate = msgspec.structs.replace(generate, deadline_ms=left_ms)
        self._put(number, encode(generate))

    def _done_with(self, question: _Question) -> None:
        """What the worker's last health could not count is not there any more."""
        worker = self._workers[question.worker]
        if question.sent_at > worker.heard_at:
            self._workers[question.worker] = msgspec.structs.replace(worker, sent=max(0, worker.sent - len(question.generate.samplings)))

    def _put(self, number: int, frame: bytes) -> None:
        try:
            self.sockets[number].send(frame, zmq.NOBLOCK)
        except zmq.Again:
            log.warning("the inference worker takes nothing; asking again with the next tick", worker=self._workers[number].endpoint)


def _connected(context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.SNDHWM, 10_000)
    socket.connect(endpoint)
    return socket
