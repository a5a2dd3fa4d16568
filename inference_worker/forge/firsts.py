"""The tasks kept out of training: the first conversation, the README's example, and any family's message to a clone of `genesis_obj`.

Pure. They are drawn for evaluation alone; `heldout.py` says what training may not contain.
"""

from random import Random

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Family, Method, Task, drawn
from inference_worker.forge.families import FAMILIES, WEIGHTED, display
from inference_worker.forge.values import Maker

GENESIS: dict[str, Maker] = {
    "name": values.constant("genesis_obj"),
    "born": values.stamp,
    "purpose": values.sentence,
    "clones": values.tally,
    "messages": values.tally,
    "methods": values.tally,
    "objects": values.list_of(values.reference, 2, 9),
}
"""The slots of the first object, in the order in which it was made."""


def display_yourself(d: Draw) -> Method:
    """The first message: genesis_obj, or a clone with slots of its own, shows itself."""
    d.slots.update(GENESIS)
    for _ in range(d.rng.choice((0, 0, 1, 2))):
        d.slot(d.noun(words.TEXTS + words.LEVELS, 0.1), values.short_text)
    d.complete = True
    tree = display.tree(d, "column")
    return Method("display_yourself", tree.body, tree.expectation)


def total_price(d: Draw) -> Method:
    """The README's example, on a clone or on an object of its own."""
    if d.rng.random() < 0.7:
        d.slots.update(GENESIS)
    for slot, maker in d.rng.sample((("price", values.money), ("quantity", values.whole(0, 40))), 2):
        d.slot(slot, maker)
    d.complete = True
    return Method("total_price", "return self.price * self.quantity", lambda s: s["quantity"] * s["price"])


def _on_a_clone(name: str) -> Family:
    """A family's message, sent to a clone of genesis_obj that got the family's slots."""

    def cloned(d: Draw) -> Method:
        method = FAMILIES[name](d)
        if d.complete or (d.shunned & GENESIS.keys()) - d.slots.keys() or "decline" in method.body:
            raise ValueError(f"{name} does not go with the slots of genesis_obj")
        d.slots = {**GENESIS, **d.slots}
        d.complete = True
        return method

    return cloned


FIRSTS: dict[str, Family] = {"first.display_yourself": display_yourself, "first.total_price": total_price}
"""Families that are nobody's training data."""


def first(name: str, seed: int) -> Task:
    """A task of a family in FIRSTS, or `clone.GROUP.FAMILY`: that family on a clone. Raises ValueError when they do not go together."""
    if name.startswith("clone."):
        return drawn(name, _on_a_clone(name.removeprefix("clone.")), seed, "test", kept_out=False)
    return drawn(name, FIRSTS[name], seed, "test", kept_out=False)


def clones(seed: int, count: int) -> list[Task]:
    """So many messages of all families to clones of genesis_obj, with words of the test side."""
    rng = Random(f"clones {seed}")
    tasks: list[Task] = []
    while len(tasks) < count:
        try:
            tasks.append(first(f"clone.{rng.choice(WEIGHTED)}", seed * 10_000_000 + rng.randrange(10_000_000)))
        except ValueError:
            continue
    return tasks
