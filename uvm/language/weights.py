"""What everything costs: the work of each operation of the language, in units of about ten nanoseconds.

The one place with such figures. A tick, which budgets are counted in, is `TICK` units. `benchmarks/ticks.py` measures whether the
figures hold; docs/ticks.md is its table. What the compiler can see is charged with the block it stands in (`GUARDS`, `CALLS`,
`NODE`); what depends on sizes is charged by `uvm/language/bounds.py` before the work is done.
"""

from typing import Final

TICK: Final = 50
"""Units in a tick: half a microsecond."""
UNIT_S: Final = 1e-8
"""Seconds that a unit takes, about: for what a call will take, before it is begun."""

NODE: Final = 1
"""Any expression or statement."""
ROUND: Final = 10
"""The start of a function, or of a round of a loop: the charge itself."""
BRANCH: Final = 60
"""A branch that costs more is charged where it is taken."""

GUARDS: Final[dict[str, int]] = {
    "_send_": 65,
    "_read_": 100,
    "_assign_": 300,
    "_changed_": 140,
    "_call_": 90,
    "_iterated_": 9,
    "_spread_": 25,
    "_spread_members_": 60,
    "_spread_pairs_": 20,
    "_item_": 14,
    "_cut_": 95,
    "_set_item_": 30,
    "_delete_item_": 25,
    "_delete_cut_": 85,
    "_in_place_": 34,
    "_minus_": 20,
    "_weighed_": 10,
    "_key_": 16,
    "_equal_": 12,
    "_contains_": 25,
    "_text_": 14,
    "_represented_": 90,
    "_formatted_": 32,
    "_joined_": 18,
    "_error_text_": 60,
    "_add_": 16,
    "_multiply_": 20,
    "_power_": 60,
    "_shift_left_": 60,
}
"""What a guard itself costs, on small values. Those that are not named here are operators."""
OPERATOR: Final = 28

CALLS: Final[dict[str, int]] = {
    **dict.fromkeys(("bool", "len"), 7),
    **dict.fromkeys(("abs", "float", "label", "merging_queue"), 20),
    "str": 14,
    "int": 25,
    **dict.fromkeys(("sum", "range", "decline", "enumerate"), 80),
    **dict.fromkeys(("any", "all", "zip", "graph", "max", "min", "sorted", "set", "merging_set"), 130),
}
"""What a function of the vocabulary costs on small values, where it is not `CALL`."""
CALL: Final = 40
COMPREHENSION: Final = 40
LAMBDA: Final = 12
RAISED: Final = 90
"""An error that is caught."""
HANDED: Final = 250
"""A value of a slot that may change in place."""

WALK: Final = 100
"""Copying eight values that are stored."""
STORED: Final = 150
"""Checking a container that is to be stored, besides what is in it."""
STORED_NUMBER: Final = 3
STORED_PART: Final = 30
"""Checking what is in it: of numbers alone, or of anything."""
METHOD: Final = 800
"""Entering a method of the image."""
PRIMITIVE: Final = 700
"""Entering a primitive: its arguments are bound to its signature first."""
