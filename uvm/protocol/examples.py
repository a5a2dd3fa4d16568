"""What a sender expects of a method, as it stands in messages, and is kept with the method."""

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType

EXAMPLE_SLOTS = 64
"""Slots that an example replaces, and slots that it says have changed."""

ExampleSlots = Annotated[dict[Annotated[str, Meta(min_length=1, max_length=128)], Any], Meta(max_length=EXAMPLE_SLOTS)]


class Example(Struct, frozen=True, forbid_unknown_fields=True):
    """What the sender expects of a method: called with these arguments, on a copy of the receiver on which `slots` have these values.

    It has a `result`, or ends in an error of the type that `raises` names. `changed`: the receiver's slots that differ afterwards, each
    with its value then, and no others; an empty map: none. What is not there is not looked at, and does not count in a payload's digest.
    """

    result: Any | UnsetType = UNSET
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    slots: ExampleSlots | UnsetType = UNSET
    changed: ExampleSlots | UnsetType = UNSET
    raises: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_]*\Z")] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.raises is not UNSET:
            if self.result is not UNSET or self.changed is not UNSET:
                raise ValueError("an example that raises has no result, and has changed nothing: leave result and changed out")
        elif self.result is UNSET and self.changed is UNSET:
            raise ValueError("an example says what is expected: result, changed, or raises")
