"""Who may change what: the rules, and nothing else. Each function returns, or raises NotAllowed with the reason and the way out.

Three kinds of objects. The kernel's own (with `is*`) are changed by the kernel alone. The primordial ones (those that the image was born
with, under names that cannot be taken away) are changed by the right `policy`. All others by whoever may send.

`policy` says whether what runs now has that right: the sender has it, and so has every method on the stack (`methods.may_change_policy`).
"""

from collections.abc import Callable
from typing import Final

from uvm.errors import NotAllowed, ParentCycle
from uvm.image import revocations
from uvm.image.authors import Author
from uvm.image.image import Image
from uvm.image.message_object import MIRROR, is_method
from uvm.image.methods import may_change_policy
from uvm.objects import ABSENT, ANCESTORS, KIND, UvmObject
from uvm.rights import Right
from uvm.runtime.policy import LASTING

_SENT: Final = frozenset(
    {"selector", "arguments", "keywords", "receiver", "caller", "mind", "positional", "slots", "call", "signature", "examples", "covenant"}
)
"""Slots of a message object that say what was sent."""


def check_change(image: Image, owner: UvmObject, policy: bool) -> None:
    """An object is about to be changed: a slot, its parents, or its names."""
    kind = owner.own(KIND)
    if kind is not ABSENT:
        raise NotAllowed(f"{owner!r} is a {kind} of the image and is changed by the kernel alone")
    if not policy and image.is_primordial(owner):
        raise NotAllowed(
            f"{owner!r} is primordial, and changed by the right `policy` alone: of the sender, and of each method on the way",
            "change an object of your own, or send it directly with that right; a method gets it with CreateMethod's `policy`",
        )


def check_look(target: UvmObject, selector: str) -> None:
    """A method sends to an object of the kernel's: what becomes of a message while its method is written is for tools alone.

    A method that saw it could tell its trial, which comes before the end, from service.
    """
    if target.own(KIND) == "message" and target.own("stage") is not ABSENT and selector not in _SENT:
        raise NotAllowed(
            f"{selector} of {target!r} is shown to tools, not to methods: a method may look at what was sent, not at what became of it",
            f"in a message object a method reads {', '.join(sorted(_SENT))}",
        )


def check_data(image: Image, owner: UvmObject, slot: str) -> None:
    """A data slot is about to be set. It may hide what its owner inherits, as in Self; it takes the place of no method that was written.

    Where a clone of a primordial object has a primitive of its own, as every clone of genesis_obj has `objects`, it is a word like others.
    """
    own = owner.own(slot)
    if is_method(own) and own.own("primitive") is ABSENT:
        raise NotAllowed(
            f"{slot} is a method of {owner!r} and cannot be assigned as data",
            f"remove it first with removeSlot_('{slot}'), or offer a new method",
        )
    check_hiding(image, owner, slot)


def check_hiding(image: Image, owner: UvmObject, slot: str) -> None:
    """Data is about to stand in a slot. Primordial objects are what all others inherit from: no right puts data before a primitive or a
    policy method of theirs.
    """
    # Whichever of them has it: what stands on one of them stands before another one's for most objects.
    if image.is_primordial(owner) and any(_lasts(primordial.own(slot), slot) for primordial in image.primordial()):
        raise NotAllowed(f"{slot} keeps the image alive, and no data stands before it on {owner!r}", "use another name, or another object")


def check_weights(image: Image, value: object) -> None:
    """A value is about to be put into a slot: an adapter that is revoked serves nobody."""
    if type(value) is UvmObject and value.own(KIND) == "adapter":
        revocations.check(image, Author("adapter", str(value.own("digest"))))


def check_revoking(rights: frozenset[Right], inside: bool) -> None:
    """A tool revokes or restores an author. A method that saw what runs and what does not could tell its trial from service."""
    if inside:
        raise NotAllowed("authors are revoked and restored by tools, not by methods", "send it directly")
    if "policy" not in rights:
        raise NotAllowed("revoking an author, or restoring one, needs the right `policy`")


def check_removal(image: Image, owner: UvmObject, slot: str) -> None:
    """An own slot is about to be removed: what a primordial object is made of stays."""
    if image.is_primordial(owner) and _lasts(owner.own(slot), slot):
        raise NotAllowed(f"{slot} of {owner!r} keeps the image alive and stays", "a policy method is replaced with CreateMethod")


def check_parent_removal(image: Image, owner: UvmObject, parent: UvmObject) -> None:
    """A parent is about to be removed: primordial objects keep those that they were born with."""
    if image.is_primordial(owner) and image.is_primordial(parent):
        raise NotAllowed(f"{owner!r} was born with the parent {parent!r} and keeps it")


def check_new_parent(owner: UvmObject, parent: UvmObject, charge: Callable[[int], None]) -> list[UvmObject]:
    """An object is about to delegate to another one; the ancestors that it gets. Raises ParentCycle as well."""
    if KIND in parent._slots:
        raise NotAllowed(f"{parent!r} is a {parent.own(KIND)} of the image, and nothing delegates to it", "send to it instead")
    ancestors = list(parent.chain())
    charge(40 * len(ancestors))
    if len(ancestors) + sum(1 for _ in owner.chain()) > ANCESTORS + 1:
        raise NotAllowed(
            f"{owner!r} would delegate to more than {ANCESTORS} objects",
            "keep chains of parents short: put what several parents have in common into one of them",
        )
    if owner in ancestors:
        raise ParentCycle(f"{parent!r} already delegates to {owner!r}; a cycle is refused")
    return ancestors


def check_name_loss(image: Image, name: str) -> None:
    """An object is about to lose a name: the primordial ones stay."""
    if name in image.root["primordial"]:
        raise NotAllowed(f"{name!r} is one of the primordial names")


def check_return(method: UvmObject, rights: frozenset[Right]) -> None:
    """A method is about to be put back into a slot where it stood: that is offering it once more."""
    if "create" not in rights:
        raise NotAllowed("putting a method back needs the right `create`")
    if may_change_policy(method) and "policy" not in rights:
        raise NotAllowed("a method that may change primordial objects is put back with the right `policy`")


def check_offer(image: Image, target: UvmObject, selector: str, rights: frozenset[Right], policy: bool) -> None:
    """A tool offers a method for an object; `policy`: one that may change primordial objects."""
    if "create" not in rights:
        raise NotAllowed("offering a method needs the right `create`")
    if policy and "policy" not in rights:
        raise NotAllowed("a method that may change primordial objects is offered with the right `policy`", "offer it without")
    check_install(image, target, selector, "policy" in rights)


def check_removed_examples(image: Image, holder: UvmObject, rights: frozenset[Right]) -> None:
    """Examples that a method of `holder` keeps are about to be taken away: it has to satisfy less then."""
    if "create" not in rights:
        raise NotAllowed("taking examples of a method away needs the right `create`")
    check_change(image, holder, "policy" in rights)


def check_install(image: Image, holder: UvmObject, selector: str, policy: bool) -> None:
    """A method is about to be put on an object."""
    check_change(image, holder, policy)
    if selector == MIRROR:
        raise NotAllowed(f"{MIRROR} is the one word that means the same on every object", "choose another name")
    if holder.own(selector) is not ABSENT and not is_method(holder.own(selector)):
        raise NotAllowed(
            f"{selector} of {holder!r} holds a value, which a method would take the place of",
            f"remove it first with removeSlot_('{selector}'), or choose another name",
        )
    replaced = holder.lookup(selector)
    if is_method(replaced) and replaced.own("primitive") is not ABSENT and image.is_primordial(holder):
        raise NotAllowed(
            f"{selector} is a primitive of the kernel, and nothing may stand before it on {holder!r}",
            "offer it to an object of your own, which may answer for itself",
        )


def _lasts(value: object, slot: str) -> bool:
    """Whether a slot's value is a method that primordial objects cannot do without."""
    return isinstance(value, UvmObject) and is_method(value) and (value.own("primitive") is not ABSENT or slot in LASTING)
