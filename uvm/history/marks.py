"""What is taken back: an effect has a mark as long as an undo of it is in force, and is taken back again only after that undo was undone.

Layout: table `undone`, key of a page (`<writer>/<page>`, `<writer>/c<page>`) → map of an entry's place there, as a text, → the numbers of
its effects. A page's marks go with the page. Two undos of one entry both write its marks, and so cannot both happen.
"""

from collections.abc import Iterable

from uvm.image.image import Image
from uvm.objects import ABSENT


def taken_back(image: Image, id: str) -> frozenset[int]:
    """The numbers of an entry's effects that were taken back."""
    page, offset = _page_and_offset(id)
    return frozenset(_marks(image, page).get(offset, ()))


def put(image: Image, id: str, numbers: Iterable[int]) -> None:
    """These effects of an entry, and no others of it, are taken back, in the current transaction."""
    page, offset = _page_and_offset(id)
    marks = {**_marks(image, page), offset: sorted(numbers)}
    if not marks[offset]:
        del marks[offset]
    if marks:
        image.enter("undone", page, marks)
    else:
        image.strike("undone", page)


def _marks(image: Image, page: str) -> dict[str, list[int]]:
    marks = image.shard("undone", page).own(page)
    return {} if marks is ABSENT else marks


def _page_and_offset(id: str) -> tuple[str, str]:
    page, _, offset = id.rpartition(".")
    return page, offset
