"""Previews: what a message would do, shown and taken back; and the message that accepts a method which was written for one.

Called by the batch, in the UVM's main thread, within the attempt at the message: what happens here to the image is the attempt's, and goes
with it. References to objects that a previewed attempt made name nothing outside of the answer.
"""

from typing import Any

from uvm.errors import ExampleFailed, ImageError, NotUnderstood, PreviewGone
from uvm.generation import claims, placing, proposals
from uvm.history import chronicle
from uvm.image import contract
from uvm.image.image import Image
from uvm.image.journal import Effect
from uvm.image.message_object import is_method, shape
from uvm.image.methods import is_shared, quarantined, runs, written_for
from uvm.image.stored import Accounts, charged
from uvm.image.tally import count
from uvm.machine.delivery import Delivery
from uvm.objects import ABSENT, UvmObject
from uvm.protocol import Send
from uvm.runtime import gate
from uvm.runtime.attempt import Attempt, Miss
from uvm.runtime.authority import check_install


def key_of(receiver: UvmObject, request: Send) -> str:
    """What a method is kept under that is written for a preview of this message."""
    return proposals.PREFIX + shape(receiver, request.selector, len(request.args), list(request.kwargs))


def written(image: Image, request: Send) -> UvmObject | None:
    """What was written for a preview of this message, whose method is missing or does not do what is expected of it, if anything was."""
    receiver = image.target(request.target)
    proposal = proposals.find(image, key_of(receiver, request))
    if proposal is None or proposals.why_not(image, proposal):
        return None
    expected = [contract.clause(receiver, example) for example in request.examples]
    tried = contract.clauses_of(proposal.own("method"))
    if not all(any(clause.same(tried_clause) for tried_clause in tried) for clause in expected):
        return None
    current = receiver.lookup(request.selector)
    if current is ABSENT:
        return proposal
    failed = is_method(current) and bool(expected) and (bool(quarantined(current)) or current is proposal.own("replaces"))
    return proposal if failed else None


def put_in_place(image: Image, proposal: UvmObject, delivery: Delivery, key: str) -> Effect:
    """Have a written method where it belongs, for as long as the attempt's effects last. Raises NotAllowed."""
    holder, method = proposal.own("holder"), proposal.own("method")
    selector, before = method.own("selector"), proposal.own("replaces")
    check_install(image, holder, selector, "policy" in delivery.rights)
    if is_shared(method):
        holder.put(selector, method)
        installed = method
    else:
        installed = placing.written(image, holder, method, key, delivery.principal, before is not None)
    apart(image)
    return placing.effect(holder, selector, before, installed)


def apart(image: Image) -> None:
    """Have what the kernel did until now kept apart from what the message itself changes, which the gate looks at."""
    image.manager.savepoint(optimistic=True)


def accept(image: Image, accounts: Accounts, delivery: Delivery, cause: str, request: Send) -> tuple[tuple[bytes, str] | None, Effect]:
    """Install what a preview of this message has shown: for which message and by whom it was written, and the effect.

    Raises PreviewGone, PreviewOutdated, NotAllowed, QuotaExceeded.
    """
    receiver = image.target(request.target)
    key = key_of(receiver, request)
    try:
        proposal = proposals.accepted(image, key, str(request.accept))
    except PreviewGone as error:
        if runs(receiver.lookup(request.selector)):
            error.remedy = "its method is there by now, accepted or written otherwise: send the message without accept"
        raise
    holder, method, message = (proposal.own(name) for name in ("holder", "method", "message"))
    installed = put_in_place(image, proposal, delivery, key)
    method_in_place = holder.own(request.selector)
    proposals.forget(image, key)
    claims.enter(image, key.removeprefix(proposals.PREFIX), message, method_in_place, holder)
    count(image, "methods")
    chronicle.record(
        image,
        "install" if proposal.own("replaces") is None else "correction",
        author=method.own("author"),
        cause=message,
        object=holder,
        slot=request.selector,
        method=method_in_place,
        effects=[installed],
        facts={"digest": method_in_place.own("digest"), "asked_by": delivery.principal, "message": cause},
    )
    grown = [(target, gate.weight(target) - charged(target)) for target in (message, *([] if is_shared(method) else [method_in_place]))]
    accounts.charge(delivery.principal, delivery.limits.stored, grown)
    apart(image)
    return written_for(method), installed


def effect(image: Image, attempt: Attempt) -> dict[str, Any]:
    """What a previewed attempt changed and made, as slot values: part of the answer."""
    effects = [effect for effect in attempt.effects() if not attempt.is_new(effect[0])]
    return {"slots": [_slot(image, effect) for effect in effects], "made": [_made(newborn) for newborn in attempt.created.values()]}


def method_shown(proposal: UvmObject | None) -> dict[str, Any]:
    """The method that was written for a preview, if one was, and the digest under which it is accepted: part of the answer."""
    if proposal is None:
        return {}
    method = proposal.own("method")
    return {"method": {key: method.own(key) for key in ("selector", "source", "author", "digest")}, "accept": proposal.own("digest")}


def writes(request: object, miss: Miss) -> bool:
    """Whether a preview of this message has the missing method written: its own alone."""
    return isinstance(request, Send) and miss.reified.own("selector") == request.selector


def one_method_alone(request: object, attempt: Attempt, miss: Miss) -> ImageError:
    """Why a preview of a message that sends what nobody understands, or several sends of which one is not understood, shows nothing."""
    needed = miss.reified.own("selector")
    if isinstance(request, Send):
        return NotUnderstood(
            f"{request.selector} sends {needed}, which nobody understands; a preview writes the method of its own message alone",
            f"preview {needed} first, or send it",
        )
    if attempt.anew is not None and miss.receiver.lookup(needed) is attempt.anew:
        return ExampleFailed(
            f"send {attempt.step}: {needed} does not do what is expected of it, and a preview of a Transaction writes no method",
            f"preview {needed} alone with these examples, and accept what is shown",
        )
    return NotUnderstood(
        f"send {attempt.step} comes to {needed}, which nobody understands; a preview of a Transaction writes no method",
        f"preview {needed} alone and accept what is shown, or send it",
    )


def _slot(image: Image, effect: Effect) -> dict[str, Any]:
    owner, slot, before, after, _ = effect
    values = {name: value for name, value in (("before", before), ("after", after)) if value is not ABSENT}
    return {"object": owner, "names": image.names_of(owner), "slot": slot, **values}


def _made(target: UvmObject) -> dict[str, Any]:
    data = {name: target.own(name) for name in target.names() if not is_method(target.own(name))}
    return {"object": target, "parents": target.parents(), "slots": data}
