"""The bridge's door to the tools: what they send, as far as it is a request that they may make, and what they are answered.

Owned by the bridge's one thread. Each message is read and looked at here, once; what is to be done about it, the loop decides. `arrival`
is what the dispatcher is then told of it.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec
import structlog
import zmq
from msgspec import Struct

from deploy.settings import Configuration
from uvm import protocol
from uvm.bridge import heads, refusals, sockets
from uvm.bridge.events import MessageArrived
from uvm.bridge.inbox import Inbox
from uvm.bridge.metrics import Meters
from uvm.bridge.principals import Principal, Principals
from uvm.bridge.sockets import MORE, NOBLOCK, rest
from uvm.protocol import (
    Cancel,
    Changing,
    Contract,
    CreateMethod,
    Error,
    Export,
    GetFullState,
    GetStatus,
    Hello,
    Import,
    Inspect,
    Read,
    Release,
    Request,
    Send,
    Subscribe,
    Transaction,
    Upload,
    payload_digest,
)
from uvm.rights import Right

RECEIVED = 64
RECEIVED_BYTES = 1_000_000
"""Most messages, and bytes, that are received and not looked at."""

ROUND, BRIEF_ROUND = 32, 4
"""Most messages looked at before UVMs get their turn: a flood of them is no long silence for everybody else. Brief ones cost a quarter more
processor time a message."""

CHANGING_DEADLINE_S = 900.0
READING_DEADLINE_S = 60.0
"""Seconds a message may take that names no deadline, or cannot."""

NEEDS: Mapping[type, Right | None] = {
    Hello: None,
    GetStatus: None,
    Send: "send",
    Transaction: "send",
    Release: "send",
    Cancel: "send",
    Contract: "send",
    CreateMethod: "create",
    Upload: "create",
    Import: "create",
    Export: "read",
    Inspect: "read",
    Read: "read",
    GetFullState: "read",
    Subscribe: "read",
}
"""The right that a request needs; one that is not here is refused. GetStatus shows others to those alone who may administer."""


class Received(Struct, frozen=True, gc=False):
    """The frames of a tool's message, but for the connection's id. `size`: their bytes."""

    identity: bytes
    principal: Principal
    frames: list[bytes]
    size: int


class Address(Struct, frozen=True, gc=False):
    """Where an answer goes; a REQ socket wants its empty delimiter frame back."""

    identity: bytes
    delimited: bool


class _Head(Struct):
    op: str
    id: int
    type: str = ""


_head = msgspec.msgpack.Decoder(_Head)
_fields = msgspec.msgpack.Decoder(dict[str, msgspec.Raw])

Take = Callable[[Address, protocol.Request, bytes, Principal], None]
"""Called with a request, the frame that it came in, and whose it is."""


class Tools:
    """The ROUTER that tools connect to."""

    def __init__(
        self, context: "zmq.Context[zmq.Socket[bytes]]", configuration: Configuration, principals: Principals, meters: Meters
    ) -> None:
        self.socket = sockets.for_tools(context, configuration)
        self._max_frame = configuration.settings.bridge.max_frame_bytes
        self._principals = principals
        self._meters = meters
        self._log = structlog.get_logger("bridge")
        self._inbox: Inbox[Received] = Inbox()
        self._inbox_bytes = 0

    @property
    def waiting(self) -> int:
        """Messages that were received, and are to be looked at."""
        return len(self._inbox)

    def read(self, take: Take, brief: bool) -> None:
        """A turn of reading: receive what is there, and look at some of it."""
        self._receive()
        for _ in range(min(BRIEF_ROUND if brief else ROUND, len(self._inbox))):
            received = self._inbox.take()
            self._inbox_bytes -= received.size
            self._look_at(received, take)

    def _receive(self) -> None:
        while len(self._inbox) < RECEIVED and self._inbox_bytes < RECEIVED_BYTES:
            try:
                identity = self.socket.recv(NOBLOCK)
            except zmq.Again:
                return
            principal = self._principals.known(identity)
            if principal is None:
                frame = self.socket.recv(copy=False)
                principal = self._principals.of(identity, frame)
                first = frame.bytes
            else:
                first = self.socket.recv()
            frames = rest(self.socket, first)
            if principal is None:
                address = Address(identity, _delimited(frames))
                self.refuse(address, refusals.not_allowed(heads.identifier(frames[-1]), "this connection", "any"))
                continue
            size = sum(map(len, frames))
            self._inbox_bytes += size
            self._inbox.put(principal.name, identity, Received(identity, principal, frames, size))

    def _look_at(self, received: Received, take: Take) -> None:
        frames, principal = received.frames, received.principal
        address = Address(received.identity, _delimited(frames))
        if len(frames) != 1 + address.delimited:
            self.refuse(address, refusals.bad_request(0, f"{len(frames)} frames; one is allowed, after an empty one or alone"))
            return
        frame = frames[-1]
        if len(frame) > self._max_frame:
            self.refuse(address, refusals.too_large(heads.identifier(frame), len(frame), self._max_frame))
            return
        try:
            request = heads.head(frame)
        except msgspec.DecodeError as error:
            self.refuse(address, refusals.bad_request(heads.identifier(frame), str(error)))
            return
        self._meters.message(type(request).__name__)
        listed, right = needed(type(request))
        if not listed or (right is not None and right not in principal.rights):
            self.refuse(address, refusals.not_allowed(request.id, principal.name, right or "administer"))
            return
        take(address, request, frame, principal)

    def refuse(self, address: Address, error: Error) -> None:
        """Answer that a message is none."""
        self._log.warning("refused a tool's message", type=error.type, reason=error.message)
        self._meters.message("refused")
        self.answer(address, error)

    def answer(self, address: Address, answer: protocol.Answer) -> None:
        """Send the bridge's own answer."""
        self._meters.reply(type(answer).__name__ if not isinstance(answer, Error) else answer.type)
        self._send(address, protocol.encode(answer))

    def forward(self, address: Address, id: int, payload: bytes, waited_s: float) -> None:
        """Send a UVM's answer, under the `id` that this tool used."""
        try:
            head = _head.decode(payload)
            if id != head.id:
                payload = msgspec.msgpack.encode({**_fields.decode(payload), "id": id})
        except (msgspec.DecodeError, ValueError) as error:
            self._log.error("a UVM's answer cannot be read", reason=str(error), bytes=len(payload))
            self.answer(address, refusals.unreadable_answer(id))
            return
        self._meters.reply(head.type or head.op, waited_s)
        self._send(address, payload)

    def _send(self, address: Address, payload: bytes) -> None:
        try:
            self.socket.send(address.identity, MORE)
            if address.delimited:
                self.socket.send(b"", MORE)
            self.socket.send(payload, NOBLOCK)
        except zmq.ZMQError as error:
            # The tool went away, or does not read. If it comes back and asks again, the receipt answers.
            self._meters.reply("undeliverable")
            self._log.debug("an answer could not be delivered", reason=str(error))


def _delimited(frames: list[bytes]) -> bool:
    return len(frames) == 2 and not frames[0]


# --- what a request needs, and becomes. Pure ------------------------------------------------------------------------


@cache
def needed(kind: type) -> tuple[bool, Right | None]:
    """Whether such a request is listed, and the right that it needs."""
    return next(((True, right) for request, right in NEEDS.items() if issubclass(kind, request)), (False, None))


def arrival(request: Request, frame: bytes, address: Any, connection: bytes, principal: Principal) -> MessageArrived | Error:
    """What the dispatcher is told of a request that came as `frame` by the connection; an Error for one that contradicts itself."""
    changing = request if isinstance(request, Changing) else None
    if changing and bool(changing.session) != bool(changing.seq):
        return refusals.bad_request(changing.id, "session and seq belong together, and seq counts from 1")
    if changing and changing.floor and changing.floor >= changing.seq:
        reason = f"floor is {changing.floor}, and must be below seq, {changing.seq}: a message cannot say that its own answer has arrived"
        return refusals.bad_request(changing.id, reason)
    return MessageArrived(
        address=address,
        id=request.id,
        payload=frame,
        principal=principal.name,
        connection=connection,
        quota=principal.quota,
        session=getattr(request, "session", ""),
        seq=changing.seq if changing else 0,
        digest=payload_digest(changing) if changing and changing.session else b"",
        via=changing.via if changing else "",
        deadline_s=(changing.deadline_ms / 1000 or CHANGING_DEADLINE_S) if changing else READING_DEADLINE_S,
        repeatable=changing is None or bool(changing.session),
    )
