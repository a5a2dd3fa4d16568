"""What a draft may say of the image: names of the receiver's slots and messages, and of what the objects have that it can reach.

Inside a transaction. The model guesses names that it does not see, and a grammar that has none but those that are there takes the nearest.
"""

import keyword
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from msgspec import Struct

from uvm.errors import ImageError
from uvm.generation.request import MethodRequest
from uvm.image.image import Image
from uvm.image.message_object import SHOWN_SLOTS, data_slots, is_method
from uvm.image.methods import runs
from uvm.language.grammar import candidate_slots
from uvm.objects import ABSENT, UvmObject
from uvm.protocol import Reference

EVERYBODYS: Final = ("clone", "slotNames")
"""What a draft may send to any object, as long as it means what the kernel means by it."""

REACHED: Final = 64
"""About as many objects, and as many values of a slot, are looked at for their names."""


class Vocabulary(Struct, frozen=True):
    """Names. `slots` and `selectors` of the receiver; `new`: what it has not, and the selector speaks of; `fields`: of other objects."""

    slots: list[str]
    selectors: list[str]
    new: list[str]
    fields: list[str]


def vocabulary(image: Image, request: MethodRequest) -> Vocabulary:
    """The names for a message."""
    shown = _sayable(pair[0] for pair in request.reified["slots"])
    spoken = [name for name in candidate_slots(request.selector) if name not in shown]
    try:
        receiver = image.at(Reference(request.receiver))
    except ImageError:
        return Vocabulary(shown, list(EVERYBODYS), spoken, [])
    values = {name: receiver.lookup(name) for name in spoken if name != request.selector}
    methods = [name for name, value in values.items() if is_method(value)]
    inherited = [name for name, value in values.items() if value is not ABSENT and name not in methods]
    return Vocabulary(
        slots=[*shown, *inherited],
        selectors=list(dict.fromkeys([*_sayable(_selectors(receiver, request)), *methods])),
        new=[name for name in spoken if values.get(name, ABSENT) is ABSENT],
        fields=_sayable(dict.fromkeys(name for reached in _reached(image, receiver, request) for name in _names(image, reached))),
    )


def _sayable(names: Iterable[str]) -> list[str]:
    return [name for name in names if not keyword.iskeyword(name)]


def _selectors(receiver: UvmObject, request: MethodRequest) -> list[str]:
    """What a draft may send to `self` besides reading slots: the methods of the receiver's own kind, and a few of every object's."""
    slots = data_slots(receiver)
    own = [name for name in receiver.names() if name not in slots and name != request.selector and runs(receiver.own(name))]
    # Where the receiver or its family calls something else so, a draft that sends it would get that.
    everybodys = [name for name in EVERYBODYS if name not in own and is_method(receiver.lookup(name))]
    return [*own, *everybodys, *slots[SHOWN_SLOTS:]]


def _reached(image: Image, receiver: UvmObject, request: MethodRequest) -> Iterable[UvmObject]:
    """The objects in the receiver's data, in the arguments, and in these objects' own, the nearest first, each once. Those that the image
    was born with are none of them."""
    found: dict[int, UvmObject] = {id(receiver): receiver}
    held = [*_data(receiver), *request.args, *request.kwargs.values()]
    for _ in range(2):
        near: list[UvmObject] = []
        for reference in _objects(held):
            try:
                reached = image.at(reference) if isinstance(reference, Reference) else reference
            except ImageError:
                continue
            if id(reached) in found or is_method(reached) or image.is_primordial(reached):
                continue
            found[id(reached)] = reached
            near.append(reached)
            if len(found) > REACHED:
                break
        held = [value for reached in near for value in _data(reached)]
    return list(found.values())[1:]


def _data(owner: UvmObject) -> list[Any]:
    return [owner.own(name) for name in data_slots(owner)]


def _objects(values: Iterable[Any]) -> Iterator[UvmObject | Reference]:
    for value in islice(values, REACHED):
        if isinstance(value, UvmObject | Reference):
            yield value
        elif isinstance(value, list | tuple):
            yield from _objects(value)
        elif isinstance(value, dict):
            yield from _objects(value.values())


def _names(image: Image, owner: UvmObject) -> Iterator[str]:
    """What an object has and inherits, but for what every object does."""
    for holder in owner.chain():
        if not image.is_primordial(holder):
            yield from holder.names()
