"""The values of the cases: small, large, and chosen to be dear."""

from typing import Any, Final

from uvm.objects import UvmObject

PRIME: Final = 2**61 - 1


def colliding_tuples(count: int) -> list[tuple[int, int]]:
    """Pairs of whole numbers of the same hash: Python's hash of a tuple can be solved for its last item."""
    mask, first, second, fifth = 2**64 - 1, 11400714785074694791, 14029467366897019727, 2870177450012600261

    def after(state: int, lane: int) -> int:
        state = (state + lane * second) & mask
        return (((state << 31) | (state >> 33)) * first) & mask

    hashed, inverse, pairs = after(fifth, 1) + 5 * second, pow(second, -1, 2**64), []
    number = 0
    while len(pairs) < count:
        number += 1
        last = ((hashed - after(fifth, number)) * inverse) & mask
        if last < PRIME:
            pairs.append((number, last))
    return pairs


WORDS: Final = [f"word{number}" for number in range(1000)]
NUMBERS: Final = [(number * 7919) % 10007 for number in range(1000)]
MANY: Final = [(number * 7919) % 100_003 for number in range(50_000)]
LINE: Final = "the quick brown fox"
PAGE: Final = "the quick brown fox jumps " * 2000
GREEK: Final = "λόγος καὶ ἔργον " * 2000
FULL: Final = "a" * 50_000
HOSTILE: Final = "a" * 40 + "b" + "a" * 40
NESTED: Final[Any] = [[[number, "x"], {"k": [number]}] for number in range(300)]
SHARED: Final[Any] = (lambda start: [start := [start, start] for _ in range(12)][-1])([1])
BIG: Final = 2**999 - 7
BYTES: Final = b"0123456789" * 5000
FLOATS: Final = [number * 1.7e-3 for number in range(50_000)]
FAR: Final = [number * 1.7e290 for number in range(1, 1000)]
POWERS: Final = [float(2**step) * mantissa for mantissa in range(1, 400) for step in range(0, 900, 61)]
ROUGH: Final = [number << 44 for number in range(50_000)]
HIGH: Final = [base + PRIME * times for base in range(2000) for times in range(8)]
PAIRS: Final = [(number, number + 1) for number in range(3000)]


def with_holes(table: dict[int, None]) -> dict[int, None]:
    for number in range(len(table) - 10):
        del table[number]
    return table


def small_object() -> UvmObject:
    return UvmObject({"n": 1, "tags": [1]})


def large_object(value: Any) -> UvmObject:
    return UvmObject({"large": value})
