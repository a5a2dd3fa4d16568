"""Keys of dicts and members of sets: what may be hashed, and what that costs.

Python's texts are hashed with a secret of the process; its numbers and tuples are not, so anybody can make a million different ones
with the same hash, each of which is compared with all before it. Numbers are held to 64 bits, of which at most 13 share a hash. Of
tuples that share one, a message pays for each comparison, and may have `SHARED`.
"""

from collections.abc import Callable, Iterable
from itertools import starmap
from operator import is_
from typing import Any, Final

SHARED: Final = 256
"""Most composite keys of one message that are different and have the same hash."""
LONG: Final = 512
"""A text that is longer is charged for being hashed."""
_COMPARED: Final = 3
_COMPOSITE: Final = 130


class Keys:
    """The composite keys of one message, by hash, and the long text that was hashed last."""

    def __init__(self, charge: Callable[[int], None]) -> None:
        self._charge = charge
        self._first: dict[int, Any] = {}
        self._others: dict[int, list[Any]] = {}
        self._text = ""

    def text(self, key: str | bytes) -> None:
        """Charge for hashing a long text; the same text again has its hash already."""
        if key is not self._text:
            self._charge(len(key) * 5 >> 7)
            self._text = key if type(key) is str else ""

    def composite(self, key: Any) -> None:
        """Charge for the keys that have this one's hash. Raises ValueError when they are too many, TypeError for what has no hash."""
        self._charge(_COMPOSITE)
        number = hash(key)
        first = self._first.setdefault(number, key)
        if first is not key and first != key:
            self._shared(number, key)

    def composites(self, keys: Iterable[Any]) -> None:
        """The same for many keys at once."""
        keys = list(keys)
        numbers = list(map(hash, keys))
        firsts = list(map(self._first.setdefault, numbers, keys))
        if all(starmap(is_, zip(firsts, keys, strict=True))):
            return
        for number, first, key in zip(numbers, firsts, keys, strict=True):
            if first is not key and first != key:
                self._shared(number, key)

    def _shared(self, number: int, key: Any) -> None:
        others = self._others.setdefault(number, [])
        self._charge(_COMPARED * (2 + len(others)))
        if key not in others:
            if len(others) >= SHARED:
                raise ValueError(f"more than {SHARED} different keys have the same hash; use texts as keys")
            others.append(key)
