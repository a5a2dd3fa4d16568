"""What everything costs: the work of each operation of the language, in units of about ten nanoseconds.

A tick, which budgets are counted in, is `TICK` units. `benchmarks/ticks.py` measures whether the figures hold; docs/ticks.md is its
table, whose dearest row may be three times its cheapest. An operation has two charges. What the compiler can see is paid with the
block it stands in, at the price of small values: `NODE` and what a method's text has (`GUARDS`, `SENDS`, `CALLS`). What depends on
sizes is paid where they are known, before the work is done, in `uvm/language/bounds.py` and where the operation is: so many units
for each item or character, more of them where the values are too many for the processor's caches.
"""

from typing import Final

TICK: Final = 50
"""Units in a tick: half a microsecond."""
UNIT_S: Final = 1e-8
"""Seconds that a unit takes, about: for what a call will take, before it is begun."""

NODE: Final = 1
"""Any expression or statement, but for constants and what only chooses: they are part of what they stand in."""
ROUND: Final = 11
"""The start of a function, or of a round of a loop: the charge itself."""
BRANCH: Final = 60
"""A branch that costs more is charged where it is taken."""

GUARDS: Final[dict[str, int]] = {
    "_send_": 52,
    "_read_": 100,
    "_assign_": 300,
    "_changed_": 115,
    "_call_": 60,
    "_iterated_": 7,
    "_spread_": 25,
    "_spread_members_": 60,
    "_spread_pairs_": 20,
    "_item_": 12,
    "_cut_": 95,
    "_set_item_": 30,
    "_delete_item_": 25,
    "_delete_cut_": 110,
    "_in_place_": 32,
    "_minus_": 20,
    "_weighed_": 8,
    "_key_": 16,
    "_equal_": 12,
    "_contains_": 27,
    "_text_": 13,
    "_represented_": 60,
    "_formatted_": 39,
    "_joined_": 8,
    "_error_text_": 45,
    "_add_": 16,
    "_multiply_": 20,
    "_power_": 80,
    "_shift_left_": 85,
}
"""What a guard itself costs, on small values. Those that are not named here are operators."""
OPERATOR: Final = 24

SENDS: Final[dict[str, int]] = {
    **dict.fromkeys(("isdigit", "isalpha", "isalnum", "isspace", "get", "has"), 10),
    **dict.fromkeys(("add", "discard", "remove"), 15),
    **dict.fromkeys(("find", "index", "split", "rsplit", "splitlines", "setdefault"), 30),
    **dict.fromkeys(("copy", "clear"), 35),
    **dict.fromkeys(("insert", "keys", "values", "items", "extend", "update"), 50),
}
"""What a method of a plain value costs besides `_send_`, on small values, by its name: the receiver is not known yet."""
CALLS: Final[dict[str, int]] = {
    **dict.fromkeys(("bool", "len"), 6),
    **dict.fromkeys(("abs", "float", "label", "merging_queue"), 21),
    "str": 17,
    "int": 25,
    **dict.fromkeys(("list", "tuple", "isinstance_of"), 32),
    **dict.fromkeys(("divmod", "reversed"), 65),
    **dict.fromkeys(("sum", "range", "decline", "enumerate"), 90),
    **dict.fromkeys(("any", "all", "graph", "set"), 130),
    **dict.fromkeys(("zip", "max", "min", "sorted", "merging_set"), 165),
}
"""What a function of the vocabulary costs on small values, where it is not `CALL`."""
CALL: Final = 40
PART: Final = 4
"""A part of an f-string."""
CONSTANTS: Final = 4
"""So many constants in a display cost a unit."""
MEMBER: Final = 5
"""A key or a member of a display."""
COMPREHENSION: Final = 28
LAMBDA: Final = 9
RAISED: Final = 60
"""An error that is caught."""
HANDED: Final = 250
"""A value of a slot that may change in place."""

DECIMAL: Final = 42
DECIMAL_FAR: Final = 200
"""Writing a float; one of many digits before or behind the point, which Python finds with long numbers."""

WALK: Final = 80
"""Copying eight values that are stored."""
WRITTEN: Final = 150
"""Setting or removing a slot: the change is journalled."""
STORED: Final = 150
"""Checking a container that is to be stored, besides what is in it."""
STORED_NUMBER: Final = 5
STORED_PART: Final = 30
"""Checking what is in it: of numbers alone, or of anything."""
METHOD: Final = 800
"""Entering a method of the image."""
PRIMITIVE: Final = 500
"""Entering a primitive: its arguments are bound to its signature first."""
