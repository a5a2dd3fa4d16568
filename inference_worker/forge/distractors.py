"""Slots that have nothing to do with a message: names, moments, purposes, tallies, references, lists, dicts, methods.

Real objects are full of them (each clone keeps the slots it was cloned with), so a model must learn to look past them.
Pure.
"""

from random import Random

from inference_worker.forge import values, words
from inference_worker.forge.values import Maker

_NUMBERS = tuple(
    "clones messages methods version revision serial edition priority index year generation instances replies "
    "identifier port shard epoch".split()
)
_REFERENCES = tuple(
    "owner creator maker manager keeper guardian author sponsor editor holder captain neighbour successor home source_obj prototype".split()
)
_GROUPS = tuple("objects children members friends links parts rooms neighbours helpers followers exhibits guests peers witnesses".split())
_METHODS = tuple(
    "greet_all show_all refresh checkup summarize restock reopen archive publish announce inspect_all wake_up tidy_up recount".split()
)

_KINDS = ("name", "stamp", "long", "number", "number", "number", "objects", "object", "text", "flag", "list", "dict", "method", "measure")


def add(rng: Random, slots: dict[str, Maker], count: int, avoided: set[str]) -> None:
    """Put `count` slots into `slots`, none of them sharing a word with `avoided` or with each other.

    Half of the time in the order in which a prototype is made: name, moment, purpose, numbers, references.
    """
    used = {_root(part) for name in (*avoided, *slots) for part in name.split("_")}
    kinds = ["name", "stamp", "long", "number", "number", "number", "objects"] if rng.random() < 0.45 else []
    if kinds and rng.random() < 0.5:
        rng.shuffle(kinds)
    while len(kinds) < count:
        kinds.append(rng.choice(_KINDS))
    for kind in kinds[:count]:
        for _ in range(30):
            name, maker = _distractor(rng, kind)
            parts = {_root(part) for part in name.split("_")}
            if not parts & used:
                used |= parts
                slots[name] = maker
                break


def _root(word: str) -> str:
    return word.lower().rstrip("s")


def _distractor(rng: Random, kind: str) -> tuple[str, Maker]:
    choose = rng.choice
    match kind:
        case "name":
            return choose(("name", "name", choose(words.NAMES))), values.name
        case "stamp":
            return choose(words.STAMPS), values.stamp
        case "long":
            return choose(words.LONG_TEXTS), values.sentence
        case "number":
            return choose(_NUMBERS + words.TALLIES), values.tally
        case "measure":
            return choose(words.LEVELS), values.number
        case "objects":
            return choose(_GROUPS), values.list_of(values.reference, 1, 6)
        case "object":
            return choose(_REFERENCES), values.reference
        case "text":
            return choose(words.TEXTS), values.short_text
        case "flag":
            return choose(("is_", "")) + choose(words.ADJECTIVES), values.flag
        case "list":
            if rng.random() < 0.4:
                return words.plural(choose(words.SERIES)), values.numbers()
            return words.plural(choose(words.THINGS)), values.list_of(values.short_text)
        case "dict":
            if rng.random() < 0.5:
                return choose(words.LEDGERS), values.dict_of(values.word, values.tally)
            return choose(words.BOOKS), values.dict_of(values.word, values.short_text)
        case _:
            return choose(_METHODS), values.known_method(values.tally)
