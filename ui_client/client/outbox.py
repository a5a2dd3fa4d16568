"""What a client has asked and not been answered: numbers, resending, deadlines. No socket, no clock, no thread.

`Outbox` is driven by `ui_client.client.channel`, under its lock; `now` is monotonic seconds. Messages that may change the image
get consecutive sequence numbers in one session. A request without an answer is sent again every `RESEND_S`, and on every new
connection, with its number, so that it is carried out once; Busy is waited out, doubling with jitter; a deadline that passed, or a
bridge that says nothing for too long, ends it with an error. A number that ended in any way counts for the floor: its receipt is not
needed any more.
"""

import random
from collections.abc import Callable

import msgspec
from msgspec import Struct

from ui_client.client.errors import BridgeBusy, BridgeUnreachable, ClientError, RemoteError
from uvm import protocol
from uvm.protocol import Answer, Busy, Changing, Error, Hello, Request, Welcome

RESEND_S = 2.0
"""Seconds between two sendings of a message that is not answered."""

SLACK_S = 2.0
"""Seconds after a deadline in which the bridge's own answer, which knows more, is waited for."""

PATIENCE_S = 30.0
"""Seconds of silence after which a bridge that was heard before counts as unreachable: it may be restarting."""

LONGEST_BACK_OFF_S = 5.0


class RequestSettled(Struct, frozen=True):
    """A request is over: with an answer, or with an error."""

    id: int
    outcome: Answer | ClientError


class _Pending(Struct, eq=False):
    id: int
    request: Request
    asked_at: float
    deadline: float
    send_at: float
    sent: bool = False
    refused: int = 0


class Outbox:
    """One client's requests under way. `first_patience_s` is the patience with a bridge that was never heard.

    `jitter` gives a number from 0 to 1.
    """

    def __init__(self, session: str, name: str = "", first_patience_s: float = 5.0, jitter: Callable[[], float] = random.random) -> None:
        self.session = session
        self._name = name
        self._first_patience = first_patience_s
        self._jitter = jitter
        self._pending: dict[int, _Pending] = {}
        self._last_id = 0
        self._last_seq = 0
        self._ended: set[int] = set()
        self._hello_at = 0.0
        self._heard: float | None = None
        self.floor = 0
        self.resent = 0
        """How many requests were sent again, for whatever reason."""
        self.welcome: Welcome | None = None

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, request: Request, now: float, deadline_s: float) -> int:
        """Take a request, whose `id`, `session` and `seq` are filled in here; returns its id.

        Raises RemoteError BadValue when it holds a value that cannot cross the bridge, BadRequest when it is out of bounds.
        """
        request = _copied(request)
        self._last_id += 1
        if isinstance(request, Changing):
            self._last_seq += 1
            request = msgspec.structs.replace(request, session=self.session, seq=self._last_seq)
        request = msgspec.structs.replace(request, id=self._last_id)
        self._pending[self._last_id] = _Pending(self._last_id, request, now, now + deadline_s, now)
        return self._last_id

    def due(self, now: float) -> list[bytes]:
        """The frames to send now, in order."""
        frames: list[bytes] = []
        if self._pending and now >= self._hello_at:
            # Answered at once, whatever the message itself waits for: so silence means that nobody is there.
            frames.append(protocol.encode(Hello(0, [protocol.VERSION], self._name)))
            self._hello_at = now + RESEND_S
        for pending in self._pending.values():
            if now >= pending.send_at:
                frames.append(self._frame(pending, now))
                self.resent += pending.sent
                pending.send_at, pending.sent = now + RESEND_S, True
        return frames

    def reconnected(self) -> None:
        """Another bridge may listen than the one that was asked: everything is due again, also what that one was too busy for."""
        self._hello_at = 0.0
        for pending in self._pending.values():
            pending.send_at = 0.0

    def received(self, frame: bytes, now: float) -> list[RequestSettled]:
        """What an arrived frame ends. An answer to what is not pending any more ends nothing.

        Raises msgspec.DecodeError when it is no answer at all.
        """
        answer = protocol.decode_answer(frame)
        self._heard = now
        if answer.id == 0:
            return self._greeted(answer)
        pending = self._pending.get(answer.id)
        if pending is None:
            return []
        if isinstance(answer, Busy):
            pending.refused += 1
            wait = min(LONGEST_BACK_OFF_S, answer.retry_after_ms / 1000 * 2 ** min(pending.refused - 1, 10))
            pending.send_at = now + wait * (1 + self._jitter())
            return []
        error = RemoteError(answer.type, answer.message, answer.remedy, answer.details) if isinstance(answer, Error) else None
        return [self._end(pending, error or answer)]

    def expired(self, now: float) -> list[RequestSettled]:
        """What ends because time went by."""
        patience = self._first_patience if self._heard is None else PATIENCE_S
        ended: list[RequestSettled] = []
        for pending in list(self._pending.values()):
            silent = now - max(pending.asked_at, pending.asked_at if self._heard is None else self._heard)
            if now >= pending.deadline + SLACK_S or silent >= patience:
                ended.append(self._end(pending, self._why(pending, silent)))
        return ended

    def abandon(self) -> list[RequestSettled]:
        """The client is closed: everything ends."""
        return [self._end(pending, ClientError("the client was closed")) for pending in list(self._pending.values())]

    def _why(self, pending: _Pending, silent: float) -> ClientError:
        # Hello is answered at once by whoever is there.
        if silent > RESEND_S + SLACK_S or self._heard is None:
            return BridgeUnreachable(f"the bridge has said nothing for {silent:.1f} s; is the service up?")
        waited = pending.deadline - pending.asked_at
        if pending.refused:
            return BridgeBusy(f"the bridge refused the message {pending.refused} times in {waited:.1f} s; its queue is full")
        details = {"outcome": "unknown"} if isinstance(pending.request, Changing) else {}
        return RemoteError("DeadlineExceeded", f"no answer within {waited:.1f} s", "look at the object, or give it more time", details)

    def _greeted(self, answer: Answer) -> list[RequestSettled]:
        if isinstance(answer, Welcome):
            self.welcome = answer
        if not isinstance(answer, Error) or answer.type != "VersionMismatch":
            return []
        error = RemoteError(answer.type, answer.message, answer.remedy, answer.details)
        return [self._end(pending, error) for pending in list(self._pending.values())]

    def _frame(self, pending: _Pending, now: float) -> bytes:
        request = pending.request
        if isinstance(request, Changing):
            left_ms = max(1, int((pending.deadline - now) * 1000))
            request = msgspec.structs.replace(request, floor=self.floor, deadline_ms=min(left_ms, 86_400_000))
        return protocol.encode(request)

    def _end(self, pending: _Pending, outcome: Answer | ClientError) -> RequestSettled:
        del self._pending[pending.id]
        if isinstance(pending.request, Changing):
            self._ended.add(pending.request.seq)
            self._raise_floor()
        return RequestSettled(pending.id, outcome)

    def _raise_floor(self) -> None:
        while self.floor + 1 in self._ended:
            self.floor += 1
            self._ended.remove(self.floor)


def _copied(request: Request) -> Request:
    """The request as it will arrive, so that the caller may change its values while it is under way."""
    try:
        frame = protocol.encode(request)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise RemoteError("BadValue", f"the message cannot be carried: {error}", "send MessagePack's types and references") from error
    try:
        return protocol.decode_request(frame)
    except msgspec.DecodeError as error:
        raise RemoteError("BadRequest", str(error), "see docs/protocol.md") from error
