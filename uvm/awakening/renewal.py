"""What an image must have of the kernel's own, and bringing one that an earlier version made up to date.

Everything is told from the image itself, so renewing is the same for every older version, and does nothing the second time. A new
primitive needs no more than its entry in a table of `uvm.runtime.primitives`, a new kernel table its name in `uvm.image.image`: the next
awakening adds them, in its one transaction.
"""

from collections.abc import Iterator

from uvm.image import tables
from uvm.image.image import KERNEL_ROOTS, Image
from uvm.image.methods import install, primitive
from uvm.objects import UvmObject
from uvm.runtime.primitives import GENESIS, MESSAGES, PLLM, TRAITS

_SHOWN = {"objects": "[<object>, …]"}
"""Primitives that stand where data stood; what a prompt shows of them."""


def kernel_slots(image: Image) -> Iterator[tuple[UvmObject, str]]:
    """Each primitive's holder and selector. Raises NoSuchObject or KeyError where a holder is gone."""
    yield from ((image.named("traits_obj"), selector) for selector in TRAITS)
    yield from ((image.named("pLLM_obj"), selector) for selector in PLLM)
    yield from ((image.named("genesis_obj"), selector) for selector in GENESIS)
    yield from ((image.root["message_traits"], selector) for selector in MESSAGES)


def has_primitive(holder: UvmObject, selector: str) -> bool:
    """Whether the slot holds the kernel's own method."""
    value = holder.own(selector)
    return type(value) is UvmObject and value.own("primitive") == selector


def renew(image: Image) -> list[str]:
    """Add what the image lacks, in the current transaction; returns the names of that. Nothing is written when nothing is lacking."""
    added: list[str] = []
    for name in KERNEL_ROOTS:
        if name not in image.root:
            image.root[name] = tables.new(name)
            added.append(name)
    for holder, selector in kernel_slots(image):
        if not has_primitive(holder, selector):
            install(holder, primitive(selector, _SHOWN.get(selector, "")))
            added.append(selector)
    return added
