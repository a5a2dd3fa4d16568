"""What a tool's request needs, and what the dispatcher is told of it. Pure; called by the bridge's loop for each request."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from uvm.bridge import refusals
from uvm.bridge.events import MessageArrived
from uvm.bridge.principals import Principal
from uvm.protocol import (
    Cancel,
    Changing,
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
