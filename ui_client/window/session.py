"""The window's talk with the image: background threads that ask the client and hand back events of `window_model`.

Each thread has a client of its own, because messages of one session wait for each other: one thread listens to published
events, one asks for the bridge's status, one for the snapshot, the face and single objects, and two send the person's
messages, which may wait for a method to be written. `post` is called on these threads; the window
passes a function that hands over to its main thread. Queues are bounded: what does not fit is refused at once.
"""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import structlog

from ui_client.choices import OfferedChoice, offered
from ui_client.client.errors import ClientError, RemoteError
from ui_client.window.model import (
    AskedBack,
    AskFace,
    AskSnapshot,
    AskStatus,
    Event,
    FaceFailed,
    FaceSeen,
    Gap,
    Inspected,
    Instruction,
    Linked,
    Refusal,
    Replied,
    Sending,
    Snapshot,
    Unlinked,
)
from uvm.protocol import Example, ObjectState, Progress, Reference, State, StateUpdate

ASK_DEADLINE_S = 5.0
"""How long the bridge may take to answer a question of the window."""
_LOOP = "autotelic_obj"
_QUEUE = 64
_SENDERS = 2
_AGAIN_S = 1.0

_log = structlog.get_logger()


class Talker(Protocol):
    """What the window needs of `ui_client.Client`."""

    def send(
        self,
        target: Reference | str,
        selector: str,
        /,
        *args: Any,
        deadline: float | None = None,
        examples: Sequence[Example] = (),
        risk: float | None = None,
    ) -> Any: ...

    def inspect(self, target: Reference | str) -> ObjectState: ...

    def full_state(self) -> State: ...

    def events(self, topics: Sequence[str] = ..., stop: threading.Event | None = ..., *, missed: bool = ...) -> Iterator[Any]: ...

    def status(self) -> dict[str, Any]: ...

    def close(self) -> None: ...


Task = Callable[[Talker], Event | None]


class Session:
    """The threads, from `start` to `stop`."""

    def __init__(self, connect: Callable[[], Talker], post: Callable[[Event], None]) -> None:
        self._connect = connect
        self._post = post
        self._ended = threading.Event()
        self._questions: queue.Queue[Task | None] = queue.Queue(_QUEUE)
        self._pulses: queue.Queue[Task | None] = queue.Queue(_QUEUE)
        self._messages: queue.Queue[Task | None] = queue.Queue(_QUEUE)
        self._threads = [
            threading.Thread(target=self._listen, name="events", daemon=True),
            threading.Thread(target=self._serve, args=(self._pulses,), name="pulse", daemon=True),
            threading.Thread(target=self._serve, args=(self._questions,), name="questions", daemon=True),
            *(threading.Thread(target=self._serve, args=(self._messages,), name=f"sender-{n}", daemon=True) for n in range(_SENDERS)),
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ask the threads to end. They are daemons: one that waits for the image does not hold up the window's end."""
        self._ended.set()
        for waiting, count in ((self._pulses, 1), (self._questions, 1), (self._messages, _SENDERS)):
            for _ in range(count):
                try:
                    waiting.put_nowait(None)
                except queue.Full:
                    break

    def carry_out(self, instruction: Instruction) -> None:
        """Ask what the model wants to know."""
        match instruction:
            case AskStatus():
                self._ask(_status, self._pulses)
            case AskSnapshot():
                self._ask(_snapshot)
            case AskFace():
                self._ask(_face)

    def inspect(self, target: Reference) -> None:
        """Look at one object; answered by Inspected or Refusal."""
        self._ask(lambda client: _guarded(f"inspect {target}", lambda: _inspected(client, target)))

    def send(self, target: Reference | str, selector: str, args: Sequence[Any], text: str, choice: OfferedChoice | None = None) -> None:
        """Send a message of the person; answered by Replied or Refusal. `choice`: what it was decided to mean, which is taken as it is."""

        def sending(client: Talker) -> Event:
            self._post(Sending(text))
            try:
                if choice is None:
                    return Replied(text, client.send(target, selector, *args))
                return Replied(text, client.send(target, selector, *args, examples=[choice.example], risk=1.0))
            except RemoteError as error:
                choices = offered(error.details)
                return Refusal(text, _reason(error), AskedBack(target, selector, tuple(args), choices) if choices else None)
            except ClientError as error:
                return Refusal(text, str(error))

        try:
            self._messages.put_nowait(sending)
        except queue.Full:
            self._post(Refusal(text, f"{_QUEUE} messages already wait for their replies; try again when some have come"))

    def _ask(self, question: Task, waiting: "queue.Queue[Task | None] | None" = None) -> None:
        try:
            (waiting or self._questions).put_nowait(question)
        except queue.Full:
            self._post(Unlinked(f"{_QUEUE} questions are unanswered"))

    def _serve(self, waiting: "queue.Queue[Task | None]") -> None:
        client = self._connect()
        try:
            while not self._ended.is_set():
                task = waiting.get()
                if task is None:
                    break
                try:
                    event = task(client)
                except Exception as error:  # noqa: BLE001  # reported and shown; one bad answer must not end the window
                    _log.exception("the window could not handle an answer")
                    event = Unlinked(f"{type(error).__name__}: {error}")
                if event is not None and not self._ended.is_set():
                    self._post(event)
        finally:
            client.close()

    def _listen(self) -> None:
        client = self._connect()
        try:
            while not self._ended.is_set():
                try:
                    for event in client.events(("state", "progress"), stop=self._ended, missed=True):
                        self._post(event if isinstance(event, StateUpdate | Progress) else Gap())
                except ClientError as error:
                    self._post(Unlinked(str(error)))
                self._ended.wait(_AGAIN_S)
        finally:
            client.close()


def _status(client: Talker) -> Event:
    try:
        status = client.status()
    except ClientError as error:
        return Unlinked(str(error))
    return Linked(len(status.get("uvms", ())))


def _snapshot(client: Talker) -> Event:
    try:
        state = client.full_state()
    except ClientError as error:
        return Unlinked(str(error))
    return Snapshot(state.tid, state.objects)


def _face(client: Talker) -> Event:
    # Asked first whether it understands: opening a window must not be what makes the model write a method.
    try:
        if not client.send("genesis_obj", "mirror_", "respondsTo_", "display_yourself", deadline=ASK_DEADLINE_S):
            return FaceSeen(None, understood=False)
        return FaceSeen(client.send("genesis_obj", "display_yourself", deadline=ASK_DEADLINE_S))
    except RemoteError as error:
        return FaceFailed(f"{error.type}: {error.message}")
    except ClientError as error:
        return FaceFailed(str(error))


def _inspected(client: Talker, target: Reference) -> Event:
    state = client.inspect(target)
    return Inspected(state, _entropy(client, state) if _LOOP in state.names else ())


def _entropy(client: Talker, loop: ObjectState) -> tuple[float, ...]:
    """The metric's rows of the last two hours (docs/entropy.md), as they are stored: whatever is not one is left out."""
    state = loop
    for slot in ("series", "minutes"):
        reference = state.slots.get(slot)
        if not isinstance(reference, Reference):
            return ()
        state = client.inspect(reference)
    rows = state.slots.get("rows")
    newest = [row[-1] for row in rows if isinstance(row, list) and row] if isinstance(rows, list) else []
    return tuple(float(value) for value in newest if isinstance(value, int | float))


def _reason(error: RemoteError) -> str:
    return f"{error.type}: {error.message}" + (f" — {error.remedy}" if error.remedy else "")


def _guarded(message: str, ask: Callable[[], Event]) -> Event:
    try:
        return ask()
    except RemoteError as error:
        return Refusal(message, _reason(error))
    except ClientError as error:
        return Refusal(message, str(error))
