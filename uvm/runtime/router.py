"""The router: which persona a message is for, from what became of the messages before it. Pure functions of the router's object.

For each persona a logistic regression over hashed features (Weinberger et al., 2009) of the probability that its draft for such a message
is installed and not taken back. It learns one example at a time, and each persona from the messages alone that it was asked: so how often
it is asked makes nobody likelier, as it would a classifier that learns who was installed, of whom only the asked can be. Before its first
lesson a persona is held for good (`PRIOR`), and so is tried; past `SURE` more success is no reason to ask it more. The weights are merging
vectors, so that what several UVMs learn at once adds up.

Who is asked first is drawn: by the softmax of the scores, and of a share of the messages, the exploration, evenly among all.

Called within a transaction, by the primitive `routed_` in the thread that runs the message, and by `uvm.generation.learning`.

Layout: the root's `router` is a UvmObject with `examples` (a counter) and, for each persona, `of:<name>`: its weights in units of
1 / `SCALE`. It takes no dependency: a decision costs some 40 µs in plain Python, where scikit-learn would cost each UVM 90 MB and 230 µs.
"""

import math
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from msgspec import Struct

from uvm.objects import KIND, Counter, MergingVector, UvmObject

WIDTH: Final = 4096
"""Weights of a persona."""
SCALE: Final = 512
"""Weights are whole multiples of 1 / SCALE, and at most 64 either way."""
RATE: Final = 2.0
"""Step along the gradient; features have length 1."""
PRIOR: Final = 1.5
"""Log odds of a persona of which nothing is known."""
SURE: Final = 3.0
"""Log odds past which personas are equally good."""
SHARPNESS: Final = 2.0
"""How much likelier a persona is asked by a nat of log odds, nats."""
EXPLORATION: Final = 0.1
"""Share of the messages for which the first persona is drawn evenly among all, unless the image says otherwise."""
ENOUGH: Final = 32
"""Examples before which the router says nothing."""
MOST: Final = 32
"""Personas that are learned; later ones are not."""
_WORDS: Final = 24
"""Words of a selector that are looked at."""

Features = dict[int, float]


class Facts(Struct, frozen=True):
    """What the router looks at. `slots`: name and kind of each slot of the receiver. `arity`: arguments of the message."""

    selector: str
    slots: Mapping[str, str]
    arity: int


def facts_of(message: UvmObject) -> Facts:
    """The facts of a message object. Raises KeyError, ValueError or TypeError for one that is none."""
    slots = {str(name): kind(str(literal)) for name, literal in message.own("slots")}
    return Facts(str(message.own("selector")), slots, str(message.own("signature")).count(","))


def kind(literal: str) -> str:
    """The kind of a slot's value, by the literal that the prompt shows of it."""
    if literal.startswith("<"):
        return literal if literal in ("<method>", "<blob>", "<bytes>") else "<object>"
    kinds = {"[": "list", "{": "dict", "'": "text", '"': "text", "T": "flag", "F": "flag", "N": "none"}
    return kinds.get(literal[:1], "number")


def words(name: str) -> list[str]:
    """The words of a selector or a slot's name, written with `_` or in camel case."""
    return re.findall(r"[a-z]+|[0-9]+", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower())[:_WORDS]


def features(facts: Facts) -> Features:
    """The hashed features, a vector of length 1.

    A word of the selector that names a slot stands in the pattern as the slot's kind: `add_apple` and `add_horse` are the same message
    to two objects. That is what carries over to words that were never seen.
    """
    spoken = words(facts.selector)
    slots = {_stem(word): kind for name, kind in facts.slots.items() for word in words(name)}
    pattern = [f"<{slots[_stem(word)]}>" if _stem(word) in slots else word for word in spoken]
    named = [
        "bias",
        f"arity {facts.arity}",
        f"length {len(spoken)}",
        f"pattern {' '.join(pattern)}",
        *(f"word {word}" for word in spoken),
        *(f"pair {first} {second}" for first, second in pairwise(spoken)),
        *(f"piece {first} {second}" for first, second in pairwise(pattern)),
        *(f"first {word}" for word in spoken[:1]),
        *(f"last {word}" for word in spoken[-1:]),
        *(f"begins {piece}" for piece in pattern[:1]),
        *(f"means {piece}" for piece in pattern if piece.startswith("<")),
        *([] if any(piece.startswith("<") for piece in pattern) else ["means nothing"]),
    ]
    counted: Features = {}
    for feature in named:
        position = zlib.crc32(feature.encode()) % WIDTH
        counted[position] = counted.get(position, 0.0) + 1.0
    length = math.sqrt(sum(count * count for count in counted.values()))
    return {position: count / length for position, count in counted.items()}


def _stem(word: str) -> str:
    return word[:-1] if word.endswith("s") and len(word) > 2 else word


# --- the router's object ---------------------------------------------------------------------------------------------


def new(personas: Iterable[str]) -> UvmObject:
    """A router that knows nothing but whom there is to choose from; another persona joins them with its first lesson."""
    return UvmObject({KIND: "router", "examples": Counter(), **{f"of:{persona}": MergingVector(WIDTH) for persona in personas}})


def ranked(router: UvmObject, facts: Facts, exploration: float = EXPLORATION) -> list[tuple[str, float]]:
    """The personas with the probability that each is to be asked first, the likeliest first; none while the router knows too little."""
    if router.own("examples").plain() < ENOUGH:
        return []
    return sorted(probabilities(weights(router), features(facts), exploration).items(), key=lambda pair: (-pair[1], pair[0]))


def drawn(router: UvmObject, facts: Facts, exploration: float = EXPLORATION) -> list[tuple[str, float]]:
    """The personas in the order in which they are asked: the first one drawn by these probabilities, the others the likeliest first.

    The draw is the same for the same message until the next lesson, so that a message that runs again is asked of the same.
    """
    ranking = ranked(router, facts, exploration)
    seed = f"{router.own('examples').plain()} {facts.arity} {facts.selector} {sorted(facts.slots.items())}"
    point = zlib.crc32(seed.encode()) / 2**32
    for number, (_, chance) in enumerate(ranking):
        point -= chance
        if point < 0:
            return [ranking[number], *ranking[:number], *ranking[number + 1 :]]
    return ranking


def learn(router: UvmObject, facts: Facts, personas: Sequence[str], accepted: bool) -> None:
    """Take in one example: the personas' drafts did, or did not. Changes the router's object."""
    vectors = weights(router)
    for persona in personas:
        if persona not in vectors and len(vectors) < MOST:
            router.put(f"of:{persona}", MergingVector(WIDTH))
            vectors = weights(router)
    taught = [persona for persona in personas if persona in vectors]
    values = features(facts)
    if not taught:
        return
    for persona in taught:
        step = float(accepted) - 1 / (1 + math.exp(-score(vectors[persona], values)))
        vectors[persona].add({position: round(RATE * SCALE * step * value) for position, value in values.items()})
    router.own("examples").add(1)
    router._p_changed = True


def weights(router: UvmObject) -> dict[str, MergingVector]:
    """The weights by persona."""
    return {name[3:]: router.own(name) for name in router.names() if name.startswith("of:")}


def score(vector: MergingVector, values: Features) -> float:
    """The log odds of a persona that its draft will do."""
    return PRIOR + sum(vector.numbers[at] * value for at, value in values.items()) / SCALE


def probabilities(vectors: Mapping[str, MergingVector], values: Features, exploration: float = EXPLORATION) -> dict[str, float]:
    """The probability of each persona to be asked first."""
    powers = {persona: math.exp(SHARPNESS * (min(score(vector, values), SURE) - SURE)) for persona, vector in vectors.items()}
    total = sum(powers.values())
    return {persona: (1 - exploration) * power / total + exploration / len(powers) for persona, power in powers.items()}
