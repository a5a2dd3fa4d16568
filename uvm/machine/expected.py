"""What is expected of a method: by a message, before it is sent, and for good, by the examples that the method keeps.

Called by the batch within its transaction, in the UVM's main thread. An example on a message that nothing understands goes to those who
write the method. One on a message whose method exists is a test of that method: unless what the method keeps shows that it holds, the
attempt ends (`Untested`), the method is tried on it, and the message runs again from its start; then the test is in the delivery's notes.
Where nothing understands a message and its receiver answers it all the same, by a `doesNotUnderstand_` of its own, the answering is tested
(`answered_unwritten`): nobody keeps the examples then.
"""

import hashlib
from typing import NamedTuple, Protocol

from msgspec import UNSET

from uvm.errors import AttemptEnded, BadArguments, ExampleFailed, NotAllowed, QuotaExceeded
from uvm.generation.misses import records
from uvm.generation.request import MethodRequest
from uvm.image import contract
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.image.methods import generated, quarantined
from uvm.machine.bookkeeping import Bookkeeping
from uvm.machine.delivery import Answered, Delivery
from uvm.objects import ABSENT, UvmObject
from uvm.protocol import Contract, Example, encode_value
from uvm.runtime.attempt import Attempt
from uvm.runtime.authority import check_removed_examples
from uvm.runtime.behaviour import method_holder
from uvm.runtime.policy import HANDLER
from uvm.runtime.runtime import Runtime
from uvm.trial.expectations import ExampleRun, difference
from uvm.values.crossing import Room, answerable, from_wire, to_wire
from uvm.values.examples import Clause, agree
from uvm.values.slot_values import Scale


class Untested(AttemptEnded):
    """The method that is there has to be tried on the message's examples first."""

    def __init__(self, request: MethodRequest) -> None:
        super().__init__(f"{request.selector} is not tested")
        self.request = request


class Unwritten(NamedTuple):
    """A send that goes to those who write the method: what it expects, and the records of what the attempt had done before it."""

    clauses: list[Clause]
    overlay: dict[bytes, bytes]


class Expecting(Protocol):
    """A send, or what else says what is expected of a method."""

    @property
    def selector(self) -> str: ...

    @property
    def examples(self) -> list[Example]: ...


def expect(
    image: Image, attempt: Attempt, delivery: Delivery, receiver: UvmObject, send: Expecting, *, keeping: bool = False
) -> Unwritten | None:
    """See to what a send expects of its method. `attempt.step` is the send's number; `keeping`: it is for the examples to be kept.

    Answers what goes to those who write the method, if that is to be.

    Raises Untested, BadExample, Contradiction, ExampleFailed; with `keeping` NotAllowed and QuotaExceeded too.
    """
    contract.check(receiver, send.examples, image.visible)
    clauses = [contract.clause(receiver, example) for example in send.examples]
    current = receiver.lookup(send.selector)
    if current is not ABSENT and not is_method(current):
        _compare(image, receiver, send, current, clauses)
        return None
    kept_clauses = contract.clauses_of(current) if current is not ABSENT else []
    agree(send.selector, [*clauses, *kept_clauses])
    if current is ABSENT or quarantined(current):
        return _write(image, attempt, receiver, [*clauses, *kept_clauses])
    new = [clause for clause in clauses if not any(kept_clause.covers(clause) for kept_clause in kept_clauses)]
    here = attempt.step, current._p_oid, current.own("digest", "")
    if here in delivery.failed:
        attempt.anew = current
        return _write(image, attempt, receiver, [*clauses, *kept_clauses])
    if new and here not in delivery.tested and not (attempt.step in delivery.waited and _has(kept_clauses, new)):
        raise Untested(_test(image, attempt, delivery, receiver, send.selector, current, new, keeping))
    return None


def answered_unwritten(
    image: Image, attempt: Attempt, delivery: Delivery, receiver: UvmObject, selector: str, unwritten: Unwritten
) -> None:
    """A send was answered whose method was to be written: what answered it is tested on what it expects. Raises Untested."""
    holder = method_holder(receiver, HANDLER) or receiver
    handler = holder.own(HANDLER)
    if (attempt.step, handler._p_oid, handler.own("digest", "")) in delivery.tested:
        return
    raise Untested(
        MethodRequest(
            key=_key(image, receiver, selector, handler, unwritten.clauses),
            receiver=image.reference(receiver).oid,
            selector=selector,
            asked_at=delivery.now,
            clauses=unwritten.clauses,
            overlay=unwritten.overlay,
            rights=attempt.rights,
            limits=attempt.limits,
            principal=delivery.principal,
            step=attempt.step,
            tested=handler._p_oid,
            version=handler.own("digest", ""),
            answers=str(image.reference(holder)),
        )
    )


def revise_contract(
    image: Image, runtime: Runtime, books: Bookkeeping, delivery: Delivery, attempt: Attempt, request: Contract, room: Room
) -> Answered:
    """Carry out a Contract: the examples that a method keeps are shown, added once they are tested, or taken away.

    Ends the attempt where its examples are to be tried, or a method to be written for them.
    """
    target = image.target(request.target)
    attempt.sent = attempt.writable = False
    if request.examples:
        expect(image, attempt, delivery, target, request, keeping=True)
        if attempt.clauses:  # there is no method, or it does not hold: the first example shows how it is called
            first = request.examples[0]
            args, kwargs = (from_wire(part, image.visible) for part in (first.args, first.kwargs))
            runtime.run(attempt, target, request.selector, tuple(args), kwargs)
    method = target.lookup(request.selector)
    if not is_method(method):
        raise BadArguments(f"{request.selector} is no method of {target!r}, and keeps no examples", "batos inspect lists the methods")
    if request.remove:
        holder = target.holder(request.selector) or target
        check_removed_examples(image, holder, delivery.rights)
        attempt.touch()
        contract.remove(method, request.remove, image.visible)
    answer = {"selector": request.selector, "method": method, "examples": contract.described(method)}
    result = encode_value(answerable(answer, image.reference, room))
    if request.remove:
        books.keep(delivery, result)
    return Answered(result, changed=bool(request.remove))


def _write(image: Image, attempt: Attempt, receiver: UvmObject, clauses: list[Clause]) -> Unwritten:
    attempt.clauses = clauses
    attempt.examples = contract.prompted(receiver, clauses)
    return Unwritten(clauses, records(image, attempt, receiver, Scale(attempt.limits.bytes)))


def _key(image: Image, receiver: UvmObject, selector: str, method: UvmObject, clauses: list[Clause]) -> str:
    """What a test is known by: the same for two messages that wait for the same one."""
    tested = encode_value([selector, *([clause.situation, clause.expectation] for clause in clauses)])
    return f"test:{image.reference(receiver).oid.hex()}:{method._p_oid.hex()}:{hashlib.blake2b(tested, digest_size=16).hexdigest()}"


def _has(kept_clauses: list[Clause], clauses: list[Clause]) -> bool:
    return all(any(clause.same(kept_clause) for kept_clause in kept_clauses) for clause in clauses)


def _compare(image: Image, receiver: UvmObject, send: Expecting, slot_value: object, clauses: list[Clause]) -> None:
    """A data slot does nothing but hold its value."""
    for number, clause in enumerate(clauses, 1):
        value = (clause.example.slots or {}).get(send.selector, UNSET)
        run = ExampleRun(result=to_wire(slot_value, image.reference) if value is UNSET else value)
        unlike = difference(clause.example, image.reference(receiver), send.selector, run)
        if unlike:
            raise ExampleFailed(
                f"{send.selector} of {receiver!r} is a value and not what is expected of it: example {number}: {unlike}",
                f"mend the example, or set the slot with setSlot_value_('{send.selector}', …); nothing was run",
                reasons=[unlike],
            )


def _test(
    image: Image,
    attempt: Attempt,
    delivery: Delivery,
    receiver: UvmObject,
    selector: str,
    method: UvmObject,
    new: list[Clause],
    keeping: bool,
) -> MethodRequest:
    """The request that the method be tried."""
    holder = receiver.holder(selector) or receiver
    mine = "policy" in attempt.rights or not image.is_primordial(holder)
    room = contract.room(method, new)
    if keeping and not mine:
        raise NotAllowed(
            f"{selector} is a method of {holder!r}, which is primordial: what it keeps is changed with the right `policy` alone"
        )
    if keeping and not room:
        raise QuotaExceeded(
            f"{selector} keeps as many examples as it may: {contract.KEPT}, and about {contract.BYTES:,} bytes",
            f"take one away first: batos examples TARGET {selector} --remove N",
        )
    return MethodRequest(
        key=_key(image, receiver, selector, method, new),
        receiver=image.reference(receiver).oid,
        selector=selector,
        asked_at=delivery.now,
        clauses=new,
        overlay=records(image, attempt, receiver, Scale(attempt.limits.bytes)),
        rights=attempt.rights,
        limits=attempt.limits,
        principal=delivery.principal,
        step=attempt.step,
        tested=method._p_oid,
        version=method.own("digest", ""),
        rewritable=mine and generated(method),
        keeps=mine and not attempt.preview and method.own("primitive") is ABSENT,
        home=image.reference(holder).oid,
    )
