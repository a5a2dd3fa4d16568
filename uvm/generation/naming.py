"""The words that names are made of: selectors, slots. Rules for English. Pure."""

import re
from typing import Final

_WORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words_of(name: str) -> list[str]:
    """The words of a selector or a slot, in lower case: `totalPrice_of_` is total, price, of."""
    return [word.lower() for word in _WORD.findall(name)]


def stem(word: str) -> str:
    """A word without what tells its number or its form."""
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("ches", "ch"), ("shes", "sh"), ("xes", "x")):
        if word.endswith(ending) and len(word) > len(ending) + 1:
            return word[: -len(ending)] + instead
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) > len(ending) + 3:
            word = word[: -len(ending)]
    return word[:-1] if word.endswith("e") and len(word) > 3 else word
