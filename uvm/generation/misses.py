"""Requests for methods out of misses: of a message in service, and of one that a draft sent in its trial. Inside a transaction."""

import time

from ZODB.serialize import ObjectWriter

from deploy.settings import UvmSettings
from uvm.errors import AttemptEnded, ImageError
from uvm.generation.proposals import PREFIX
from uvm.generation.request import MethodRequest, expected_error
from uvm.image import contract
from uvm.image.image import Image
from uvm.image.message_object import SHOWN, is_method, shape
from uvm.objects import UvmObject
from uvm.runtime.attempt import Attempt, Miss
from uvm.runtime.runtime import Runtime
from uvm.trial.protocol import Need
from uvm.values.crossing import from_wire, to_wire
from uvm.values.slot_values import Scale

_UNSAVED = b"\0" * 8


def method_request(image: Image, attempt: Attempt, miss: Miss, asked_at: float, principal: str = "") -> MethodRequest:
    """The request that a missed message makes. Called before the attempt is rolled back.

    Raises BadValue where the attempt has put something into a slot that none can hold, QuotaExceeded where it takes too much to remember.
    """
    message, receiver = miss.reified, miss.receiver
    scale = Scale(attempt.limits.bytes)
    args = [to_wire(scale.copy(value), image.reference) for value in message.own("arguments")]
    kwargs = {name: to_wire(scale.copy(value), image.reference) for name, value in message.own("keywords").items()}
    clauses = list(attempt.clauses) if message.own("examples") else []
    present = receiver.lookup(message.own("selector"))
    if not clauses and is_method(present):  # it is out of use: what it kept binds the one that comes in its place
        clauses = contract.clauses_of(present)
    replaced = attempt.anew if message.own("examples") else None
    home = receiver.holder(message.own("selector")) if replaced is not None else None
    prefix = PREFIX if attempt.preview else ""
    return MethodRequest(
        key=prefix + shape(receiver, message.own("selector"), len(args), list(kwargs)),
        receiver=image.reference(receiver).oid,
        selector=message.own("selector"),
        asked_at=asked_at,
        parents=[parent._p_oid for parent in receiver.parents() if parent._p_oid is not None],
        args=args,
        kwargs=kwargs,
        positional=len(args),
        clauses=clauses,
        raises=expected_error(clauses, args, kwargs),
        send=attempt.sent,
        caller=_committed(message.own("caller")),
        overlay=records(image, attempt, receiver, scale),
        reified={name: message.own(name) for name in SHOWN},
        covenant=message.own("covenant", ""),
        plan=miss.plan,
        principal=principal,
        rights=attempt.rights if miss.policy else attempt.rights - {"policy"},
        limits=attempt.limits,
        step=attempt.step,
        preview=attempt.preview,
        risk=attempt.risk,
        replaces=replaced._p_oid if replaced is not None else b"",
        version=replaced.own("digest", "") if replaced is not None else "",
        home=home._p_oid if home is not None else b"",
    )


def _committed(caller: object) -> bytes:
    """The oid of the object whose method sent a message; empty where none did, or it exists in the attempt alone."""
    stored = isinstance(caller, UvmObject) and caller._p_jar is not None and caller._p_serial != _UNSAVED
    return caller._p_oid if stored and isinstance(caller, UvmObject) else b""


def probe(image: Image, runtime: Runtime, settings: UvmSettings, need: Need) -> MethodRequest | str:
    """The request for a needed method, or why there is none: the message is run once, changes nothing, and its miss is kept.

    Inside a transaction that is aborted afterwards.
    """
    attempt = Attempt(ticks=settings.ticks, seconds=settings.message_limit_s, writable=False)
    try:
        receiver = image.at(need.receiver)
        args = tuple(from_wire(value, image.at) for value in need.args)
        kwargs = {name: from_wire(value, image.at) for name, value in need.kwargs.items()}
        runtime.run(attempt, receiver, need.selector, args, kwargs)
    except Miss as miss:
        return method_request(image, attempt, miss, time.time())
    except (ImageError, AttemptEnded) as error:
        return f"{need.selector}: {error.message}"
    finally:
        attempt.forget_changes()
    return f"{need.selector} is understood by now"


def records(image: Image, attempt: Attempt, receiver: UvmObject, scale: Scale) -> dict[bytes, bytes]:
    """Records of what the attempt changed or made, as they would be stored: the trial sees them instead of the database's.

    None of it has passed the gate, which stands at the end of a message; so it is weighed here.
    """
    pending = [owner for owner, *_ in attempt.before.values()] + list(attempt.created.values())
    if receiver._p_jar is None or receiver._p_serial == _UNSAVED:
        pending.append(receiver)
    records: dict[bytes, bytes] = {}
    while pending:
        owner = pending.pop()
        oid = image.reference(owner).oid
        if oid not in records:
            for value in owner._slots.values():
                scale.copy(value)
            writer = ObjectWriter(owner)
            records[oid] = writer.serialize(owner)
            pending.extend(new for new in writer if isinstance(new, UvmObject))
    return records
