"""Messages whose operation training never had, to measure how far the model goes beyond what it was taught. Never trained on.

Written like families, with bodies and expectations independent of each other; a test looks that no selector of training speaks of one.
"""

import math
from collections.abc import Callable
from typing import Any

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Family, Method

_NUMBERS = values.numbers(1, 6)
_WHOLES = values.list_of(values.whole(2, 20), 1, 6)


def _of_number(operation: str, maker: values.Maker, body: str, meaning: Callable[[Any], Any], *selectors: str) -> Family:
    """A question about one number; `{}` stands for its slot."""

    def family(d: Draw) -> Method:
        slot = d.slot(d.noun(words.COUNTS), maker)
        return Method(d.say(*(name.format(slot) for name in selectors)), body.replace("{}", slot), lambda s: meaning(s[slot]))

    family.__name__ = operation
    return family


def _of_list(operation: str, maker: values.Maker, body: str, meaning: Callable[[Any], Any], *selectors: str) -> Family:
    """A question about a list; `{}` stands for its slot."""

    def family(d: Draw) -> Method:
        many, _ = d.things(maker, words.SERIES)
        return Method(d.say(*(name.format(many) for name in selectors)), body.replace("{}", many), lambda s: meaning(s[many]))

    family.__name__ = operation
    return family


def _of_two(operation: str, maker: values.Maker, body: str, meaning: Callable[[Any, Any], Any], *selectors: str) -> Family:
    """A question about two slots of a kind; `{0}` and `{1}` stand for them."""

    def family(d: Draw) -> Method:
        first, second = (d.slot(d.noun(words.COUNTS), maker) for _ in range(2))
        selector = d.say(*(name.format(first, second) for name in selectors))
        code = body.replace("{0}", first).replace("{1}", second)
        return Method(selector, code, lambda s: meaning(s[first], s[second]))

    family.__name__ = operation
    return family


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))


FAMILIES: list[Family] = [
    _of_number(
        "digit_sum", values.whole(0, 99_999), "return sum(int(digit) for digit in str(self.{}))",
        lambda n: sum(map(int, str(n))),
        "digit_sum_of_{}", "sum_of_digits_of_{}", "sum_digits_of_{}", "{}_digit_sum",
    ),
    _of_number(
        "digits", values.whole(0, 99_999), "return len(str(self.{}))", lambda n: len(f"{n:d}"),
        "number_of_digits_of_{}", "count_digits_of_{}", "digit_count_of_{}",
    ),
    _of_number(
        "square_root", values.whole(0, 400), "return self.{} ** 0.5", math.sqrt,
        "square_root_of_{}", "sqrt_of_{}", "root_of_{}",
    ),
    _of_number(
        "factorial", values.whole(0, 8), "product = 1\nfor i in range(1, self.{} + 1):\n    product *= i\nreturn product", math.factorial,
        "factorial_of_{}", "{}_factorial",
    ),
    _of_number(
        "reciprocal", values.whole(1, 50), "return 1 / self.{}", lambda n: n**-1,
        "reciprocal_of_{}", "{}_reciprocal",
    ),
    _of_number(
        "prime", values.whole(2, 60), "return self.{} > 1 and all(self.{} % i for i in range(2, self.{}))", _is_prime,
        "is_{}_prime", "is_{}_a_prime", "is_{}_a_prime_number",
    ),
    _of_number(
        "binary", values.whole(1, 500),
        "n, digits = self.{}, ''\nwhile n:\n    digits = str(n % 2) + digits\n    n = n // 2\nreturn digits", lambda n: f"{n:b}",
        "{}_in_binary", "binary_of_{}", "binary_digits_of_{}",
    ),
    _of_list(
        "cubed", _NUMBERS, "return [v ** 3 for v in self.{}]", lambda vs: [v * v * v for v in vs],
        "cubed_{}", "cubes_of_{}", "list_cubed_{}",
    ),
    _of_list(
        "alternating_sum", _WHOLES, "return sum(self.{}[::2]) - sum(self.{}[1::2])",
        lambda vs: sum((-1) ** i * v for i, v in enumerate(vs)),
        "alternating_sum_of_{}",
    ),
    _of_list(
        "geometric_mean", _WHOLES, "product = 1\nfor v in self.{}:\n    product *= v\nreturn product ** (1 / len(self.{}))",
        lambda vs: math.prod(vs) ** (1 / len(vs)),
        "geometric_mean_of_{}",
    ),
    _of_list(
        "flattened", values.list_of(_WHOLES, 1, 4), "return [v for part in self.{} for v in part]",
        lambda vs: [v for part in vs for v in part],
        "flattened_{}", "flatten_{}", "{}_flattened",
    ),
    _of_list(
        "sum_of_squares_of_digits", _WHOLES, "return [sum(int(digit) for digit in str(v)) for v in self.{}]",
        lambda vs: [sum(map(int, str(v))) for v in vs],
        "digit_sums_of_{}", "list_digit_sums_of_{}",
    ),
    _of_list(
        "primes", _WHOLES, "return [v for v in self.{} if all(v % i for i in range(2, v))]", lambda vs: [v for v in vs if _is_prime(v)],
        "primes_in_{}", "primes_of_{}", "list_primes_of_{}",
    ),
    _of_two(
        "gcd", values.whole(2, 90), "a, b = self.{0}, self.{1}\nwhile b:\n    a, b = b, a % b\nreturn a", math.gcd,
        "greatest_common_divisor_of_{0}_and_{1}", "gcd_of_{0}_and_{1}",
    ),
    _of_two(
        "hypotenuse", values.whole(1, 20), "return (self.{0} ** 2 + self.{1} ** 2) ** 0.5", math.hypot,
        "hypotenuse_of_{0}_and_{1}",
    ),
    _of_two(
        "geometric", values.whole(1, 20), "return (self.{0} * self.{1}) ** 0.5", lambda a, b: math.sqrt(a * b),
        "geometric_mean_of_{0}_and_{1}",
    ),
    _of_two(
        "anagrams", values.word, "return sorted(self.{0}) == sorted(self.{1})",
        lambda a, b: {c: a.count(c) for c in a} == {c: b.count(c) for c in b},
        "are_{0}_and_{1}_anagrams", "is_{0}_an_anagram_of_{1}",
    ),
    _of_two(
        "interleaved", values.list_of(values.whole(1, 50), 3, 3), "return [v for pair in zip(self.{0}, self.{1}) for v in pair]",
        lambda a, b: [v for i in range(3) for v in (a[i], b[i])],
        "interleaved_{0}_and_{1}", "interleave_{0}_with_{1}",
    ),
    _of_two(
        "subset", values.list_of(values.word, 1, 4), "return all(v in self.{1} for v in self.{0})", lambda a, b: set(a) <= set(b),
        "is_{0}_a_subset_of_{1}", "is_{0}_subset_of_{1}",
    ),
]  # fmt: skip

UNHEARD: dict[str, Family] = {f"operations.{family.__name__}": family for family in FAMILIES}
"""Families that nobody trains on, by `operations.name`."""

TELLING = tuple(
    "digit sqrt root factorial reciprocal prime binary cube alternating geometric flatten gcd common_divisor hypotenuse anagram interleave "
    "subset".split()
)
"""Words of these operations, which no selector of training has."""
