"""What was taken back already: an effect is taken back once, until the undo that did it is itself undone.

Layout: table `undone`, key of a page (`<writer>/<page>`, `<writer>/c<page>`) → map of an entry's place there, as a text, → the numbers of
its effects. A page's marks go with the page. Two undos of one entry both write its marks, and so cannot both happen.
"""

from collections.abc import Iterable, Mapping

from uvm.image.image import Image
from uvm.objects import ABSENT

Numbers = Mapping[str, Iterable[int]]
"""Effects: the id of their entry → their numbers in it."""


def taken_back(image: Image, id: str) -> frozenset[int]:
    """The numbers of an entry's effects that were taken back."""
    page, place = _place(id)
    return frozenset(_marks(image, page).get(place, ()))


def mark(image: Image, effects: Numbers) -> None:
    """Effects are taken back, in the current transaction."""
    for id, numbers in effects.items():
        _write(image, id, taken_back(image, id) | set(numbers))


def unmark(image: Image, effects: Numbers) -> None:
    """Effects are there again, in the current transaction."""
    for id, numbers in effects.items():
        _write(image, id, taken_back(image, id) - set(numbers))


def _write(image: Image, id: str, numbers: frozenset[int]) -> None:
    page, place = _place(id)
    marks = {**_marks(image, page), place: sorted(numbers)}
    if not numbers:
        del marks[place]
    if marks:
        image.enter("undone", page, marks)
    else:
        image.strike("undone", page)


def _marks(image: Image, page: str) -> dict[str, list[int]]:
    marks = image.shard("undone", page).own(page)
    return {} if marks is ABSENT else marks


def _place(id: str) -> tuple[str, str]:
    page, _, place = id.rpartition(".")
    return page, place
