"""The examples that a method keeps: shown, added once they are tested, taken away.

Called by the batch within its transaction, in the UVM's main thread.
"""

from uvm.errors import BadArguments
from uvm.image import contract
from uvm.image.image import Image
from uvm.image.message_object import is_method
from uvm.machine.bookkeeping import Bookkeeping
from uvm.machine.delivery import Answered, Delivery
from uvm.machine.expected import expect
from uvm.protocol import Contract, encode_value
from uvm.runtime.attempt import Attempt
from uvm.runtime.authority import check_removed_examples
from uvm.runtime.runtime import Runtime
from uvm.values.crossing import Room, answerable, from_wire


def carry_out(
    image: Image, runtime: Runtime, books: Bookkeeping, delivery: Delivery, attempt: Attempt, request: Contract, room: Room
) -> Answered:
    """Carry out a Contract. Ends the attempt where its examples are to be tried, or a method to be written for them."""
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
