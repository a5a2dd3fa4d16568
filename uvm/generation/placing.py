"""How a method that the image wrote comes to answer: in its holder's slot, or as a correction of a shared one. Inside a transaction."""

from uvm.generation.proposals import PREFIX
from uvm.image import authors, library
from uvm.image.image import Image
from uvm.image.journal import Effect
from uvm.image.methods import SHAPE, correction, install, shared_with
from uvm.objects import ABSENT, VERSION, UvmObject


def written(image: Image, holder: UvmObject, made: UvmObject, key: str, by: str, corrects: bool) -> UvmObject:
    """Have a written method where it belongs; answers what is in the slot then.

    `corrects`: it takes the place of one that did not do what `by` expects of it, for all who share that one.
    """
    selector = made.own("selector")
    shared = shared_with(holder, selector) if corrects else None
    if shared is not None:
        correct(image, shared, made, by, f"{selector} did not do what {by or 'a tool'} expects of it")
        return shared
    install(holder, made)
    if not image.is_primordial(holder):
        library.publish(image, key.removeprefix(PREFIX), made)
    authors.enter(image, made, holder._p_oid)
    return made


def correct(image: Image, shared: UvmObject, made: UvmObject, by: str, why: str) -> None:
    """Have a shared method be like another one, for all who share it and for those to come."""
    library.turn(image, shared, correction(shared, made), by, why)
    library.publish(image, str(shared.own(SHAPE)), shared)


def effect(holder: UvmObject, selector: str, before: UvmObject | None, made: UvmObject) -> Effect:
    """What came to be in the slot, as the chronicle has it. Of a method that was corrected, what changed is which of its versions it is."""
    if made is before:
        return made, VERSION, made.own("replaced"), made.own(VERSION), None
    return holder, selector, ABSENT if before is None else before, made, None
