"""An object's behaviour, whatever its data slots are called.

An own data slot hides what an object inherits, as in Self. What the kernel itself sends, and what a mirror carries out, is found past
data: in the nearest object that has a method of the name. Pure; called inside a transaction.
"""

from uvm.image.message_object import is_method
from uvm.image.methods import REVOKED
from uvm.objects import ABSENT, UvmObject


def method_holder(receiver: UvmObject, selector: str) -> UvmObject | None:
    """The nearest object, from the receiver on, that has a method of that name; None where there is none.

    One that is out of use because its author is revoked is as none: the message that comes to it is not understood.
    """
    return next(
        (ancestor for ancestor in receiver.chain() if is_method(value := ancestor.own(selector)) and REVOKED not in value._slots), None
    )


def primitive_of(receiver: UvmObject, selector: str) -> str | None:
    """The primitive by which the receiver answers to a selector of the kernel's, whatever stands before it; None where there is none."""
    return next((name for ancestor in receiver.chain() if (name := _primitive(ancestor.own(selector))) is not None), None)


def _primitive(value: object) -> str | None:
    if not isinstance(value, UvmObject) or not is_method(value):
        return None
    name = value.own("primitive")
    return None if name is ABSENT else str(name)
