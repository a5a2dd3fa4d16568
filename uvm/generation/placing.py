"""How a method that the image wrote comes to answer: in its holder's slot, or as a correction of a shared one. Inside a transaction."""

from uvm.generation.proposals import PREFIX
from uvm.image import authors, library
from uvm.image.image import Image
from uvm.image.journal import Effect
from uvm.image.methods import SHAPE, correction, install, shared_with
from uvm.objects import ABSENT, VERSION, UvmObject


def written(image: Image, holder: UvmObject, method: UvmObject, key: str, by: str, corrects: bool) -> UvmObject:
    """Have a written method where it belongs; answers what is in the slot then.

    `corrects`: it takes the place of one that did not do what `by` expects of it, for all who share that one.
    """
    selector = method.own("selector")
    shared = shared_with(holder, selector) if corrects else None
    if shared is not None:
        correct(image, shared, method, by, f"{selector} did not do what {by or 'a tool'} expects of it")
        return shared
    install(holder, method)
    if not image.is_primordial(holder):
        library.publish(image, key.removeprefix(PREFIX), method)
    authors.enter(image, method, holder._p_oid)
    return method


def correct(image: Image, shared: UvmObject, method: UvmObject, by: str, why: str) -> None:
    """Have a shared method be like another one, for all who share it and for those to come."""
    library.turn(image, shared, correction(shared, method), by, why)
    library.publish(image, str(shared.own(SHAPE)), shared)


def effect(holder: UvmObject, selector: str, before: UvmObject | None, method: UvmObject) -> Effect:
    """What came to be in the slot, as the chronicle has it. Of a method that was corrected, what changed is which of its versions it is."""
    if method is before:
        return method, VERSION, method.own("replaced"), method.own(VERSION), None
    return holder, selector, ABSENT if before is None else before, method, None
