"""A method that is wanted: what was sent to whom, taken out of an attempt that has ended. Wire values and records only."""

from typing import Any

import msgspec
from ZODB.serialize import ObjectWriter

from uvm.image.image import Image
from uvm.image.message_object import SHOWN, shape
from uvm.language.syntax import parse
from uvm.objects import UvmObject
from uvm.protocol import CreateMethod
from uvm.rights import ALL, Limits, Right
from uvm.runtime.attempt import Attempt, Miss
from uvm.values.crossing import to_wire
from uvm.values.slot_values import Scale

_UNSAVED = b"\0" * 8


class Want(msgspec.Struct, kw_only=True):
    """A message whose method is to be written, or offered by a tool.

    `receiver`: its oid; `parents`: the oids of its parents; `overlay`: records of what the attempt had changed or made. `reified`: the
    slots of the message object in plain values. `plan`: what `reflectOn_` asked for. `asked_at`: arrival, seconds since the epoch.
    `offered`: the source that a tool offers in place of drafts. `depth`: how many messages wait for this one, in a chain.
    `rights`: those it was sent with, without `policy` where a method on the way had it not; `limits`: those of its sender, `principal`.
    `policy`: the method shall have it.
    """

    key: str
    receiver: bytes
    selector: str
    asked_at: float
    parents: list[bytes] = []
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    positional: int = 0
    examples: list[Any] = []
    overlay: dict[bytes, bytes] = {}
    reified: dict[str, Any] = {}
    plan: Any = None
    depth: int = 0
    offered: str | None = None
    author: str = ""
    principal: str = ""
    session: str = ""
    seq: int = 0
    rights: frozenset[Right] = frozenset()
    limits: Limits = Limits()
    policy: bool = False


def missing(image: Image, attempt: Attempt, miss: Miss, asked_at: float, principal: str = "") -> Want:
    """What a missed message wants. Called before the attempt is rolled back.

    Raises BadValue where the attempt has put something into a slot that none can hold, QuotaExceeded where it takes too much to remember.
    """
    message, receiver = miss.reified, miss.receiver
    scale = Scale(attempt.limits.bytes)
    args = [to_wire(scale.copy(value), image.reference) for value in message.own("arguments")]
    kwargs = {name: to_wire(scale.copy(value), image.reference) for name, value in message.own("keywords").items()}
    return Want(
        key=shape(receiver, message.own("selector"), len(args), list(kwargs)),
        receiver=image.reference(receiver).oid,
        selector=message.own("selector"),
        asked_at=asked_at,
        parents=[parent._p_oid for parent in receiver.parents() if parent._p_oid is not None],
        args=args,
        kwargs=kwargs,
        positional=len(args),
        examples=attempt.examples if message.own("examples") else [],
        overlay=_records(image, attempt, receiver, scale),
        reified={name: message.own(name) for name in SHOWN},
        plan=miss.plan,
        principal=principal,
        rights=attempt.rights if miss.policy else attempt.rights - {"policy"},
        limits=attempt.limits,
    )


def offered(
    request: CreateMethod,
    key: str,
    receiver: bytes,
    asked_at: float,
    rights: frozenset[Right] = ALL,
    limits: Limits | None = None,
    principal: str = "",
) -> Want:
    """What a tool's offer wants: audit, trial and installation on the object that it names."""
    first = request.examples[0] if request.examples else None
    method = parse(request.source, request.selector).method
    # Where the source is no function, the audit says so; the count then does not matter.
    required = len(method.args.args) - 1 - len(method.args.defaults) if method is not None else 0
    return Want(
        key=key,
        receiver=receiver,
        selector=request.selector,
        asked_at=asked_at,
        args=list(first.args) if first is not None else [],
        kwargs=dict(first.kwargs) if first is not None else {},
        positional=max(0, required),
        examples=list(request.examples),
        reified={"call": request.selector, "signature": "", "positional": [], "slots": [], "examples": []},
        offered=request.source,
        author="tool",
        principal=principal,
        session=request.session,
        seq=request.seq,
        rights=rights,
        limits=limits or Limits(),
        policy=request.policy,
    )


def _records(image: Image, attempt: Attempt, receiver: UvmObject, scale: Scale) -> dict[bytes, bytes]:
    """Records of what the attempt changed or made, as they would be stored: the trial sees them instead of the database's.

    None of it has passed the gate, which stands at the end of a message; so it is weighed here.
    """
    pending = [owner for owner, *_ in attempt.before.values()] + list(attempt.created.values())
    if receiver._p_jar is None or receiver._p_serial == _UNSAVED:
        pending.append(receiver)
    records: dict[bytes, bytes] = {}
    while pending:
        one = pending.pop()
        oid = image.reference(one).oid
        if oid not in records:
            for value in one._slots.values():
                scale.copy(value)
            writer = ObjectWriter(one)
            records[oid] = writer.serialize(one)
            pending.extend(new for new in writer if isinstance(new, UvmObject))
    return records
