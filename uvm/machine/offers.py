"""A method that a tool offers: it becomes a request, like one that is missing; once that has ended, what came of it is the answer.

Called by the batch within its transaction, in the UVM's main thread.
"""

from uvm.errors import ImageError
from uvm.generation.request import MethodRequest, offered
from uvm.image import contract
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.image.methods import explanation
from uvm.machine.bookkeeping import Bookkeeping
from uvm.machine.delivery import Answered, Delivery
from uvm.objects import ABSENT, UvmObject
from uvm.protocol import CreateMethod, encode_value
from uvm.runtime.attempt import Attempt
from uvm.runtime.authority import check_offer
from uvm.values.crossing import NoRoom, Room, to_wire
from uvm.values.examples import agree


def carry_out(
    image: Image, books: Bookkeeping, delivery: Delivery, attempt: Attempt, request: CreateMethod, room: Room
) -> MethodRequest | Answered:
    """Carry out a CreateMethod. Raises what the method was refused for."""
    target = image.target(request.target)
    check_offer(image, target, request.selector, delivery.rights, request.policy)
    contract.check(target, request.examples, image.visible)
    replaced = target.own(request.selector)
    clauses = [contract.clause(target, example) for example in request.examples]
    if is_method(replaced):
        alone = request.here or request.policy
        clauses += contract.binding(replaced, image.reference(target).oid) if alone else contract.clauses_of(replaced)
    key = f"offer:{delivery.token}:{delivery.digest.hex()}"
    message = image.shard("messages", key).own(key)
    if message is ABSENT or message.own("stage") not in ("installed", "refused"):
        agree(request.selector, clauses)
        return offered(
            request, key, image.reference(target).oid, delivery.now, delivery.rights, delivery.limits, delivery.principal, clauses
        )
    if message.own("stage") == "refused":
        raise _refusal(message)
    method = target.own(request.selector)
    if not is_method(method):
        raise ImageError(f"{request.selector} was installed and has been removed since")
    attempt.touch()
    try:
        explained = to_wire(explanation(target, method), image.reference, room)
    except NoRoom:  # it is installed all the same; explain_ and Read have the rest
        explained = {}
    result = encode_value({"selector": request.selector, "method": image.reference(method), **explained})
    if delivery.exactly_once:
        books.keep(delivery, result)
    return Answered(result, changed=delivery.exactly_once)


def _refusal(message: UvmObject) -> ImageError:
    """The error that a refused message was ended with."""
    refusal = message.own("refusal")
    kind = next((kind for kind in ImageError.__subclasses__() if kind.__name__ == refusal["type"]), ImageError)
    return kind(refusal["message"], refusal["remedy"], **refusal["details"])
