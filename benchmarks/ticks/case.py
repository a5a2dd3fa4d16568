"""One case: a statement of the language on values of one shape."""

from typing import Any, NamedTuple


class Case(NamedTuple):
    """An operation (`covers` names it as the language's tables do), the shape of its values, the statement, and the values a, b, c.

    `times`: how often it stands in the loop; 0 is once and without a loop, and what that took is taken for the whole budget.
    """

    covers: str
    shape: str
    statement: str
    values: tuple[Any, ...] = ()
    times: int = 8
