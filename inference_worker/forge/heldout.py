"""What no training task may contain: the first conversation's object and message, and the README's example.

Pure. `draw.py` draws a task again when `reason` names one; a test draws thousands and finds none.
"""

from collections.abc import Iterable

GENESIS = frozenset({"name", "born", "purpose", "clones", "messages", "methods", "objects"})
"""Slots of `genesis_obj`. Single ones are ordinary words; more than three of them in one object are its shape."""

MOST_GENESIS_SLOTS = 3

SELECTORS = frozenset(
    {"display_yourself", "displayYourself", "displayYourself_", "display_yourself_", "total_price", "totalPrice", "totalPrice_"}
)

PAIR = frozenset({"price", "quantity"})
"""The README's slots: never together in one object."""


def reason(selector: str, slots: Iterable[str]) -> str:
    """Why a task with this selector and these slots is held out of training; '' when it is not."""
    names = frozenset(slots)
    if selector in SELECTORS:
        return f"the selector {selector} is held out"
    if names >= PAIR:
        return "the slots price and quantity are held out together"
    if len(names & GENESIS) > MOST_GENESIS_SLOTS:
        return f"more than {MOST_GENESIS_SLOTS} slots of genesis_obj: {', '.join(sorted(names & GENESIS))}"
    return ""
