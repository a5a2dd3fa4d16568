"""What is said to a sender where one of the image's own methods fails.

A message that fails in policy names what was sent, not what the machinery sent to itself; which of the image's methods failed is in
`details`, with `remedy` saying how it is mended. Called by the runtime, and by the writers of methods.
"""

from uvm.errors import AttemptEnded, ImageError, MethodQuarantined, NotUnderstood
from uvm.image.image import Image
from uvm.objects import UvmObject
from uvm.runtime.behaviour import method_holder
from uvm.runtime.policy import HANDLER, MIND


def failed_in(error: BaseException) -> tuple[str, int]:
    """The innermost method that an error passed, and the line in it; no name where it passed none."""
    selector, line, trace = "", 0, error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith("<method "):
            selector, line = name[8:-1], trace.tb_lineno
        trace = trace.tb_next
    return selector, line


def culprit(error: BaseException) -> str:
    """The method that an error is blamed on: the one that is out of use, which it never came to, else the innermost that it passed."""
    if isinstance(error, MethodQuarantined):
        return str(error.details["selector"])
    return failed_in(error)[0] or HANDLER


def mending(image: Image, holder: UvmObject, selector: str) -> str:
    """How a policy method is looked at and replaced."""
    name = next(iter(image.names_of(holder)), str(image.reference(holder)))
    return f"batos source {name} {selector} shows it; batos method {name} {selector} FILE --policy replaces it, for holders of that right"


def blame(image: Image, receiver: UvmObject, selector: str, error: ImageError | AttemptEnded, failed: str) -> None:
    """Make an error that ended the handling of a missed message say what was sent, and which method of the image's own failed on it."""
    mind = method_holder(receiver, MIND)
    missed = f"{receiver!r} does not understand {selector}"
    if mind is None and isinstance(error, NotUnderstood):
        message = missed
        remedy = "nothing that it inherits from has methods written: offer it (batos method), or ask one that inherits from pLLM_obj"
        details = {"selector": selector, "failed": failed, "cause": error.message}
    else:
        holder = method_holder(receiver, failed) or mind or receiver
        message = f"{missed}, and the image's own {failed} failed on it: {error.message}"
        remedy = mending(image, holder, failed)
        details = {"selector": selector, "failed": failed, "of": str(image.reference(holder))}
    error.message, error.remedy = message, remedy
    error.args = (message,)
    error.details.update(details)
