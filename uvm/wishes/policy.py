"""The numbers by which the image wishes by itself, as it has them: slot `policy` of `upgrade_obj`, a map. Pure.

A message replaces them (`batos send upgrade_obj setSlot_value_ policy '{…}'`, with the right `policy`), and the next beat goes by what is
there. What is missing has its default; a map that cannot be understood counts as none, and is said so in the decision.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

NAME: Final = "upgrade_obj"
SLOT: Final = "policy"

Names = Annotated[list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(max_length=200)]


class WishPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """`enabled`: whether the heartbeat wishes by itself for what is newer in the directory of wheels; wishes by messages are given in any
    case. `a_day`: so many of its own; `rest_s`: seconds between two. `only`: names of distributions that it may wish for, none: all;
    `never`: that it does not wish for.
    """

    enabled: bool = False
    a_day: Annotated[int, Meta(ge=0, le=100)] = 2
    rest_s: Annotated[float, Meta(ge=0, le=1e7)] = 3600.0
    only: Names = []
    never: Names = []


def read(value: Any) -> tuple[WishPolicy, str]:
    """The policy that a slot holds, and what is wrong with it: then the default policy, which wishes for nothing."""
    try:
        return msgspec.convert(value, WishPolicy), ""
    except msgspec.ValidationError as error:
        return WishPolicy(), f"the policy cannot be understood: {error}"[:300]
