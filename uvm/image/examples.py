"""Whether examples can be tried on a receiver. Pure, but for the objects that it looks at."""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET

from uvm.errors import BadExample, ImageError
from uvm.image.message_object import data_slots, is_method
from uvm.objects import ABSENT, UvmObject
from uvm.protocol import Example, Reference
from uvm.values.crossing import from_wire
from uvm.values.slot_values import checked


def check(receiver: UvmObject, examples: Sequence[Example], visible: Callable[[Reference], UvmObject]) -> None:
    """Raises BadExample for the first example that names a slot which the receiver has not, or a value that no slot could hold."""

    def resolve(value: Any) -> Any:
        if isinstance(value, Reference):
            return visible(value)
        raise BadExample(f"example {number} holds {value!r}", "an example is tried by itself: it has no results of other sends")

    for number, example in enumerate(examples, 1):
        slots, changed = example.slots or {}, example.changed or {}
        for name in {**slots, **changed}:
            current = receiver.lookup(name)
            if current is ABSENT or is_method(current) or name.endswith("*"):
                raise BadExample(
                    f"example {number} names the slot {name!r}, which {receiver!r} does not have"
                    + ("" if current is ABSENT else ": it is a method"),
                    f"its slots are {', '.join(data_slots(receiver)[:24]) or 'none'}; setSlot_value_ gives it another one",
                )
        try:
            for value in (example.args, example.kwargs, slots, changed, None if example.result is UNSET else example.result):
                checked(from_wire(value, resolve))
        except BadExample:
            raise
        except ImageError as error:
            raise BadExample(f"example {number} holds what cannot be tried: {error.message}", error.remedy) from error
