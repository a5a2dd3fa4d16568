"""Perturbed copies of what a method is run on: other values of the same types and shapes. Pure, and the same whenever it is asked again.

Two drafts that agree on the real values of an object may mean different things: with a quantity of 1, a price is a total. So a trial runs a
draft on `MODES` such copies of the receiver's slots and of the arguments, and drafts are told apart by what they do on all of them.

Numbers keep their type, and one that is not below zero stays so: nobody has a price below zero. Texts are changed, permuted, emptied, or
replaced by others that stand in the same place (a status among rows). Lists get longer, shorter, empty or another order; rows keep their
keys. References stay what they are.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

MODES: Final = ("near", "near", "more", "less", "edge", "near", "more", "edge")
"""What each variation is like, in turn; every second one changes other objects too."""

_ITEMS: Final = 64
_CHARACTERS: Final = 500
_DEEPEST: Final = 6
_WORDS: Final = ("amber", "Birch", "cedar ridge", "delta", "elm", "Fox")


class Variation:
    """One perturbed copy. `seed`: the same for all drafts of a message; `number`: which copy it is."""

    def __init__(self, seed: str, number: int) -> None:
        self._seed = seed
        self._number = number
        self.mode = MODES[number % len(MODES)]

    @property
    def widely(self) -> bool:
        """Whether other objects than the receiver are changed as well."""
        return self._number % 2 == 1

    def value(self, place: str, value: Any, among: Sequence[Any] = ()) -> Any:
        """What stands in the place of a value. `among`: values that an argument may name, such as the texts of the receiver's slots."""
        chance = random.Random(f"{self._seed}/{self._number}/{place}")
        candidates = [candidate for candidate in among if type(candidate) is type(value)]
        if candidates and chance.random() < 0.6:  # an argument mostly names what is there
            return chance.choice([*candidates[:_ITEMS], value])
        return _Change(chance, self.mode).of(value, [])

    def slots(self, owner: str, slots: Mapping[str, Any]) -> dict[str, Any]:
        """Other values for the slots of an object."""
        return {name: self.value(f"{owner}.{name}", value) for name, value in slots.items()}


class _Change:
    """Changes one value, in one mode."""

    def __init__(self, chance: random.Random, mode: str) -> None:
        self._chance = chance
        self._mode = mode

    def of(self, value: Any, siblings: Sequence[Any], depth: int = 0) -> Any:
        """Another value of the same type and shape; `siblings`: what stands in the same place of other rows."""
        if isinstance(value, bool):
            return value if self._chance.random() < 0.5 else not value
        if isinstance(value, int):
            return self._whole(value)
        if isinstance(value, float):
            return float(round(self._number(value), 2))
        if isinstance(value, str):
            return self._text(value, [sibling for sibling in siblings if isinstance(sibling, str)])
        if depth < _DEEPEST and isinstance(value, list):
            return self._list(value, depth)
        if depth < _DEEPEST and isinstance(value, dict):
            return self._dict(value, siblings, depth)
        return value

    def _whole(self, value: int) -> int:
        return value if abs(value) > 2**53 else int(self._number(value))

    def _number(self, value: float) -> float:
        if value != value or abs(value) > 1e15:
            return value
        sign, size, chance = (-1 if value < 0 else 1), abs(value), self._chance
        if self._mode == "edge":
            signed = [0, 1, size, size * 1000 + 7]
            return chance.choice([*signed, *(-edge for edge in signed)] if value < 0 else signed)
        if self._mode == "more":
            return sign * (size * chance.choice((2, 3, 10)) + chance.randint(1, 9))
        if self._mode == "less":
            return sign * (size // chance.choice((2, 3)) if size > 3 else chance.randint(0, 3))
        near = [size - 2, size - 1, size + 1, size + 2, size + 3, size + 5]
        if not isinstance(value, int) or size > 1:  # half as much again of 1 is 1 once it is whole
            near.append(1.5 * size)
        return sign * chance.choice([step for step in near if step > 0])

    def _text(self, value: str, siblings: Sequence[str]) -> str:
        chance, value = self._chance, value[:_CHARACTERS]
        different = [sibling[:_CHARACTERS] for sibling in siblings if sibling != value]
        if different and chance.random() < 0.5:
            return chance.choice(different)
        if self._mode == "edge":
            return chance.choice(("", value, value.swapcase()))
        if self._mode == "more":
            return f"{value} {chance.choice(_WORDS)}"
        if self._mode == "less":
            return value[: (len(value) + 1) // 2]
        letters = list(value)
        chance.shuffle(letters)
        return chance.choice((value, "".join(letters), value[::-1], chance.choice(_WORDS)))

    def _list(self, value: list[Any], depth: int) -> list[Any]:
        chance = self._chance
        items = value[:_ITEMS]
        if self._mode == "edge" and chance.random() < 0.6:
            return [] if chance.random() < 0.6 else items[:1]
        if self._mode == "less":
            items = items[: (len(items) + 1) // 2]
        if self._mode == "more":
            items = [*items, *items[: _ITEMS - len(items)]]
        changed = [self.of(element, value[:_ITEMS], depth + 1) if chance.random() < 0.7 else element for element in items]
        chance.shuffle(changed)
        return changed

    def _dict(self, value: dict[Any, Any], siblings: Sequence[Any], depth: int) -> dict[Any, Any]:
        rows = [sibling for sibling in siblings if isinstance(sibling, dict)]
        pairs = list(value.items())[:_ITEMS] if len(value) > _ITEMS else list(value.items())
        # A table, unlike a row, may have fewer entries.
        table = not rows and len(pairs) > 1 and len({type(element) for _, element in pairs}) == 1
        if table and self._mode == "edge" and self._chance.random() < 0.4:
            return {}
        if table and self._mode == "less":
            pairs = pairs[: (len(pairs) + 1) // 2]
        beside = [element for _, element in pairs] if table else []
        return {key: self.of(element, [row[key] for row in rows if key in row] or beside, depth + 1) for key, element in pairs}
