"""A part of a program: Python, the words for it, and its shape. Pure values."""

from dataclasses import dataclass, field, replace
from typing import Literal

Kind = Literal["number", "text", "truth", "numbers", "texts", "rows", "row", "ledger", "pairs"]
"""What a term gives: a number, a text, a truth; a list of numbers or texts; rows (dicts or objects with fields) or one row; a dict from
texts to numbers; any other answer that nothing is built on."""

Access = Literal["item", "slot"]
"""How a row's field is read: `r['price']` of a dict, `r.price` of an object."""


@dataclass(frozen=True)
class Fields:
    """What each row has: a text that names it, numbers, further texts, and flags."""

    access: Access
    label: str
    numbers: tuple[str, ...]
    texts: tuple[str, ...]
    flags: tuple[str, ...]

    def of(self, variable: str, name: str) -> str:
        """The Python that reads a field."""
        return f"{variable}['{name}']" if self.access == "item" else f"{variable}.{name}"


@dataclass(frozen=True)
class Term:
    """One part. `name` is what a selector calls it (`prices_above`), `singular` what it calls one of several (`price_above`).

    `shape`: its operators without any name, by which programs are held out. `parts`: the Python of what it is made of: a program that
    does the same as one of its parts is trivial. `tight`: may stand beside an operator without brackets. `sentence`: the name says
    arithmetic already, and would be ambiguous inside more of it.
    """

    kind: Kind
    code: str
    name: str
    shape: str
    singular: str = ""
    parts: tuple[str, ...] = ()
    tight: bool = True
    sentence: bool = False
    fields: Fields | None = None
    whole: bool = field(default=False)

    def inside(self) -> str:
        """The Python as an operand."""
        return self.code if self.tight else f"({self.code})"

    def called(self, name: str, singular: str = "") -> "Term":
        """The same under other words."""
        return replace(self, name=name, singular=singular or self.singular)


def compound(
    kind: Kind, operator: str, code: str, name: str, *parts: Term, singular: str = "", tight: bool = True, sentence: bool = False
) -> Term:
    """A term over others: its shape and parts follow from theirs."""
    shape = f"{operator}({','.join(part.shape for part in parts)})"
    inner = tuple(dict.fromkeys(code for part in parts for code in (part.code, *part.parts)))
    return Term(kind, code, name, shape, singular or name, inner, tight, sentence)
