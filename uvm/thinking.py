"""The UVM's side of the inference worker: questions out, answers in, nothing lost when the worker is replaced.

Owned by the UVM's main thread: `receive` when the socket is readable, `tick` now and then. A question is sent again when the worker's
incarnation changes, since a new worker knows nothing of what the old one was asked.
"""

import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
import zmq

from inference_worker.protocol import AskHealth, Busy, Cancel, Completed, Delta, Failed, Generate, Health, decode_answer, encode

HEALTH_EVERY_S: Final = 1.0

log = structlog.get_logger()

Done = Callable[[Completed | Failed], None]
Told = Callable[[Delta], None]


class _Question:
    __slots__ = ("again_at", "deadline", "done", "generate", "incarnation", "told")

    def __init__(self, generate: Generate, deadline: float, done: Done, told: Told | None) -> None:
        self.generate = generate
        self.deadline = deadline
        self.done = done
        self.told = told
        self.again_at = 0.0
        self.incarnation: str | None = None


class Thinker:
    """Questions to the inference worker that wait for their answer."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.SNDHWM, 10_000)
        self.socket.connect(endpoint)
        self._questions: dict[str, _Question] = {}
        self._incarnation = ""
        self._health_at = 0.0
        self._number = 0
        self.engine = ""

    def __len__(self) -> int:
        return len(self._questions)

    def close(self) -> None:
        """Close the socket; what was asked is cancelled by the worker's deadlines."""
        self.socket.close()

    def identifier(self, prefix: str) -> str:
        """A request id that this process has not used."""
        self._number += 1
        return f"{prefix}-{self._number}"

    def ask(self, generate: Generate, seconds: float, done: Done, told: Told | None = None) -> None:
        """Send a question. `done` is called once, from `receive` or `tick`, at the latest after `seconds`."""
        question = _Question(generate, time.monotonic() + seconds, done, told)
        self._questions[generate.id] = question
        self._send(question)

    def cancel(self, identifier: str) -> None:
        """Forget a question, and tell the worker."""
        if self._questions.pop(identifier, None) is not None:
            self._put(encode(Cancel(identifier)))

    def receive(self) -> None:
        """Take what the worker has said."""
        while True:
            try:
                frame = self.socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._heard(decode_answer(frame))
            except msgspec.DecodeError as error:
                log.error("the inference worker sent a bad frame", error=str(error))

    def tick(self, now: float) -> None:
        """Deadlines, retries after Busy, and the question after the worker's health while something waits."""
        for identifier, question in list(self._questions.items()):
            if now > question.deadline:
                self.cancel(identifier)
                question.done(Failed(identifier, "DeadlineExceeded", "the inference worker did not answer in time"))
            elif question.again_at and now > question.again_at:
                question.again_at = 0.0
                self._send(question)
        if self._questions and now > self._health_at:
            self._health_at = now + HEALTH_EVERY_S
            self._put(encode(AskHealth(self.identifier("health"))))

    def _heard(self, answer: Delta | Completed | Failed | Busy | Health) -> None:
        if isinstance(answer, Health):
            self._met(answer)
            return
        question = self._questions.get(answer.id)
        if question is None:
            return
        if isinstance(answer, Delta):
            if question.told is not None:
                question.told(answer)
        elif isinstance(answer, Busy):
            question.again_at = time.monotonic() + answer.retry_after_ms / 1000
        elif isinstance(answer, Failed) and answer.type == "Stopping":
            question.again_at = time.monotonic() + HEALTH_EVERY_S
        else:
            del self._questions[answer.id]
            question.done(answer)

    def _met(self, health: Health) -> None:
        self.engine = health.engine
        if health.incarnation != self._incarnation:
            self._incarnation = health.incarnation
            for question in self._questions.values():
                if question.incarnation not in (None, health.incarnation):
                    self._send(question)
        for question in self._questions.values():
            question.incarnation = health.incarnation

    def _send(self, question: _Question) -> None:
        question.incarnation = self._incarnation or None
        self._put(encode(question.generate))

    def _put(self, frame: bytes) -> None:
        try:
            self.socket.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            log.warning("the inference worker takes nothing; asking again with the next tick")
