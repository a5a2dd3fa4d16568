"""Makers of slot values and arguments: each is a function of a random source and the slots made so far. Pure."""

from collections.abc import Callable
from random import Random
from typing import Any

from inference_worker.forge import words
from inference_worker.forge.standin import KnownMethod, StandIn

Slots = dict[str, Any]
Maker = Callable[[Random, Slots], Any]


def constant(value: Any) -> Maker:
    """Always this value."""
    return lambda rng, slots: value


def whole(low: int, high: int) -> Maker:
    """An int from low to high, both included."""
    return lambda rng, slots: rng.randint(low, high)


def decimal(low: float, high: float, places: int = 2) -> Maker:
    """A float of at most so many places."""
    return lambda rng, slots: round(rng.uniform(low, high), places)


def number(rng: Random, slots: Slots) -> Any:
    """An int or a float, positive."""
    return rng.randint(1, 90) if rng.random() < 0.6 else round(rng.uniform(0.5, 90), rng.choice((1, 2)))


def money(rng: Random, slots: Slots) -> Any:
    """A price: mostly with cents."""
    return round(rng.uniform(0.5, 120), 2) if rng.random() < 0.6 else rng.choice((1, 2, 5, 8, 10, 12.5, 20, 25, 40, 99, 100))


def tally(rng: Random, slots: Slots) -> Any:
    """A small count, zero at times."""
    return 0 if rng.random() < 0.2 else rng.randint(1, 60)


def word(rng: Random, slots: Slots) -> Any:
    """A lower-case word."""
    return rng.choice(words.WORDS)


def person(rng: Random, slots: Slots) -> Any:
    """A first name."""
    return rng.choice(words.PEOPLE)


def phrase(rng: Random, slots: Slots) -> Any:
    """Two to five words."""
    return " ".join(rng.choice(words.WORDS) for _ in range(rng.randint(2, 5)))


def sentence(rng: Random, slots: Slots) -> Any:
    """A longer text, often past what the prompt shows."""
    return rng.choice(words.SENTENCES) if rng.random() < 0.7 else phrase(rng, slots)


def name(rng: Random, slots: Slots) -> Any:
    """What something may be called."""
    kind = rng.random()
    if kind < 0.3:
        return person(rng, slots)
    if kind < 0.5:
        return f"{rng.choice(words.WORDS)}_{rng.choice(('obj', 'unit', str(rng.randint(1, 99))))}"
    if kind < 0.75:
        return f"{rng.choice(words.WORDS)} {rng.choice(words.WORDS)}".title()
    return rng.choice(words.WORDS)


def short_text(rng: Random, slots: Slots) -> Any:
    """A word or a few."""
    return word(rng, slots) if rng.random() < 0.7 else phrase(rng, slots)


def date(rng: Random, slots: Slots) -> Any:
    """A day such as 2024-05-17."""
    return f"{rng.randint(1995, 2031)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"


def stamp(rng: Random, slots: Slots) -> Any:
    """A day, or a moment of UTC."""
    day = date(rng, slots)
    return day if rng.random() < 0.3 else f"{day}T{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}:{rng.randint(0, 59):02d}Z"


def clock(rng: Random, slots: Slots) -> Any:
    """A time of day such as 07:45."""
    return f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"


def flag(rng: Random, slots: Slots) -> Any:
    """True or False."""
    return rng.random() < 0.5


def list_of(maker: Maker, low: int = 0, high: int = 6, distinct: bool = False) -> Maker:
    """A list of low to high values; `distinct` leaves out repeats."""

    def make(rng: Random, slots: Slots) -> Any:
        values = [maker(rng, slots) for _ in range(rng.randint(low, high))]
        return [value for index, value in enumerate(values) if value not in values[:index]] if distinct else values

    return make


def set_of(maker: Maker, low: int = 1, high: int = 5) -> Maker:
    """A set of up to high values."""
    return lambda rng, slots: {maker(rng, slots) for _ in range(rng.randint(low, high))}


def dict_of(keys: Maker, items: Maker, low: int = 0, high: int = 5) -> Maker:
    """A dict of up to high entries."""
    return lambda rng, slots: {keys(rng, slots): items(rng, slots) for _ in range(rng.randint(low, high))}


def numbers(low: int = 1, high: int = 6) -> Maker:
    """A list of numbers of one kind."""

    def make(rng: Random, slots: Slots) -> Any:
        if rng.random() < 0.65:
            return [rng.randint(0, 99) for _ in range(rng.randint(low, high))]
        return [round(rng.uniform(0, 99), 1) for _ in range(rng.randint(low, high))]

    return make


def member_of(slot: str, otherwise: Maker, share: float = 0.6) -> Maker:
    """A value that is in the container `slot`, or at times (or when it is empty) another one."""

    def make(rng: Random, slots: Slots) -> Any:
        members = sorted(slots[slot]) if slots[slot] else []
        return rng.choice(members) if members and rng.random() < share else otherwise(rng, slots)

    return make


def object_with(**slots: Maker) -> Maker:
    """A reference to another object that has these slots."""
    return lambda rng, receiver_slots: StandIn({slot: maker(rng, receiver_slots) for slot, maker in slots.items()})


def reference(rng: Random, slots: Slots) -> Any:
    """A reference to an object of no interest."""
    return StandIn({"name": name(rng, slots)})


def known_method(maker: Maker) -> Maker:
    """A method that the object has already; it answers what `maker` makes."""
    return lambda rng, slots: KnownMethod(maker(rng, slots))
