"""What an order is learned from: people's lessons, tasks aimed at the gap, and tasks of all kinds against forgetting. Pure.

Every item proves itself by execution before it is learned: a lesson on its own examples, a drawn task's body against its family's
expectation on fresh values (`judge.grade`). What is nearly the same as another item is dropped, and each names its origin. The same order
gives the same items in the same order.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from random import Random
from typing import Any, Final

from msgspec import Struct

from deploy.orders import Order, TaughtPair
from inference_worker.forge import dataset, lessons
from inference_worker.forge.draw import Task, task
from inference_worker.forge.families import FAMILIES
from inference_worker.forge.judge import grade
from inference_worker.forge.words import Side

TRIES: Final = 60
"""Tasks drawn for each one that is to be aimed at the gap."""
TAUGHT: Final = 0.25
"""The share of all items that people's lessons are at most, repeated or not: the rest proves itself against more than its own author."""
REPEATED: Final = 4
"""How often one lesson is learned at most."""


class Item(Struct, frozen=True):
    """A prompt with its answer. `origin`: `lesson REFERENCE`, `aimed FAMILY SEED` or `replay FAMILY SEED`."""

    prompt: str
    body: str
    origin: str


class OrderItems(Struct, frozen=True):
    """All items of an order; how many of each origin, why others were dropped (why → how many), and which people's lessons are in it."""

    items: list[Item]
    counts: dict[str, int]
    dropped: dict[str, int]
    origins: list[str]

    @property
    def digest(self) -> str:
        whole = hashlib.sha256()
        for item in self.items:
            whole.update(f"{item.prompt}{item.body}\0".encode())
        return whole.hexdigest()


def drawn(order: Order) -> OrderItems:
    """The items of an order."""
    count, rng, dropped = order.steps * order.batch, Random(f"order {order.seed}"), Counter[str]()
    taught = _taught(order.lessons, round(TAUGHT * count), dropped)
    replayed = round(order.replay * count)
    pool: list[Item] = []
    known = {_gist(item) for item in taught}
    for drawn_task in aimed(order.words, order.values, order.seed, "train", max(0, count - replayed - len(taught))):
        _take(pool, known, dropped, drawn_task, "aimed")
    for drawn_task in dataset.tasks(order.seed, count - len(taught) - len(pool), "train"):
        _take(pool, set(), dropped, drawn_task, "replay")
    every = [*taught, *pool]
    rng.shuffle(every)
    counts = Counter(item.origin.partition(" ")[0] for item in every)
    origins = dict.fromkeys(item.origin.removeprefix("lesson ") for item in taught)
    return OrderItems(every, dict(counts), dict(dropped), list(origins))


def aimed(words: list[str], values: list[str], seed: int, side: Side, count: int) -> Iterator[Task]:
    """Up to so many drawn tasks whose message has a word of the gap, and whose object holds what the gap's objects hold."""
    rng, wanted, found = Random(f"aimed {seed} {side}"), set(words), 0
    names = [name for name in FAMILIES if not name.startswith("declining.")]
    for _ in range(TRIES * count if wanted else 0):
        if found == count:
            return
        name = rng.choice(names)
        try:
            candidate = task(name, FAMILIES[name], rng.randrange(2**31), side)
        except ValueError:
            continue
        if wanted & set(words_of(candidate.selector)) and (
            not values or set(values) & {kind_of(value) for value in candidate.slots.values()}
        ):
            found += 1
            yield candidate


def words_of(selector: str) -> list[str]:
    """The words of a selector, in snake or camel case."""
    return [word for word in re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", selector).lower().split("_") if word]


def kind_of(value: Any) -> str:
    """The kind of a value, in the words in which a gap names it."""
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, list):
        return "rows" if value and isinstance(value[0], dict) else "list"
    return {dict: "dict", str: "text", int: "number", float: "number"}.get(type(value), "object")


def _taught(offered: list[TaughtPair], most: int, dropped: Counter[str]) -> list[Item]:
    proven: dict[str, Item] = {}
    for lesson in offered:
        try:
            lessons.prove(lesson)
        except lessons.Unproven as error:
            dropped[str(error)] += 1
            continue
        item = Item(lesson.prompt.rstrip("\n") + "\n", lesson.answer, f"lesson {lesson.origin}")
        if _gist(item) in proven:
            dropped["nearly the same as another"] += 1
        else:
            proven[_gist(item)] = item
    once = list(proven.values())[:most]
    return (once * REPEATED)[: max(len(once), min(most, REPEATED * len(once)))]


def _take(pool: list[Item], known: set[str], dropped: Counter[str], drawn_task: Task, origin: str) -> None:
    item = Item(drawn_task.prompt, drawn_task.body, f"{origin} {drawn_task.family} {drawn_task.seed}")
    if known and _gist(item) in known:
        dropped["nearly the same as another"] += 1
    elif not grade(drawn_task, drawn_task.body).right:
        dropped["it does not do what is expected of it"] += 1
    else:
        known.add(_gist(item))
        pool.append(item)


def _gist(item: Item) -> str:
    """What an item is but for its numbers and its layout: two of one gist teach the same."""
    signature = item.prompt.rstrip("\n").rpartition("\n")[2]
    return re.sub(r"\d+", "0", re.sub(r"\s+", " ", f"{signature} {item.body}"))
