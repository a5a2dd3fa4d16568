"""Where a program is drawn: makes slots and arguments when an operator needs one, and picks operators by kind and depth."""

from collections.abc import Callable
from random import Random
from typing import Final

from inference_worker.forge import values, words
from inference_worker.forge.composition.term import Access, Fields, Kind, Term
from inference_worker.forge.draw import Draw
from inference_worker.forge.standin import StandIn
from inference_worker.forge.values import Maker, Slots

Operator = Callable[["Scene", int], Term]
"""Draws a term whose operands have at most so many levels."""

_QUANTITIES: Final = words.LEVELS + words.MONEY + words.COUNTS + words.TALLIES
_LABELS: Final = ("name", "title", "label", "product", "who", "code", "kind")
_FIELDS: Final = (
    "price cost weight quantity count units hours amount score points age size rating height length speed duration salary stock "
    "rank level volume distance votes pages minutes seats power profit budget"
).split()
_CATEGORIES: Final = "category color city country team genre status type brand region role grade language shelf department".split()
_FLAGS: Final = "active paid open sold done available broken ready visible shipped urgent locked public fresh online approved".split()


class Scene:
    """One object with the message that it gets. `operators`: the operators that answer each kind."""

    def __init__(self, draw: Draw, operators: dict[Kind, tuple[Operator, ...]]) -> None:
        self.draw = draw
        self.rng: Random = draw.rng
        self._operators = operators

    def term(self, kind: Kind, depth: int) -> Term:
        """A term of this kind with at most `depth` levels of operators; a slot where there are none left."""
        if depth <= 0 or self.rng.random() < 0.12:
            return self.leaf(kind)
        return self.rng.choice(self._operators[kind])(self, depth - 1)

    def chance(self, share: float) -> bool:
        """True in this share of the draws."""
        return self.rng.random() < share

    def choose(self, *names: str) -> str:
        """One of these words."""
        return self.rng.choice(names)

    # --- slots -----------------------------------------------------------------------------------------------------------

    def leaf(self, kind: Kind) -> Term:
        """A new slot that holds such a value."""
        match kind:
            case "number":
                return self.number()
            case "text":
                return self.text()
            case "truth":
                return self.flag()
            case "numbers":
                return self.numbers()
            case "texts":
                return self.texts()
            case "ledger":
                return self.ledger()
            case _:
                return self.rows()

    def number(self, maker: Maker | None = None, pool: tuple[str, ...] = _QUANTITIES) -> Term:
        """A slot with a number, above zero nearly always."""
        whole = self.chance(0.7)
        slot = self.draw.slot(self.draw.noun(pool, 0.2), maker or (values.whole(1, 90) if whole else values.decimal(1, 90, 1)))
        return Term("number", f"self.{slot}", slot, "n", slot, whole=whole)

    def text(self) -> Term:
        """A slot with a word or a few."""
        slot = self.draw.slot(self.draw.noun(words.TEXTS + words.NAMES, 0.15), values.phrase if self.chance(0.5) else values.word)
        return Term("text", f"self.{slot}", slot, "t", slot)

    def flag(self) -> Term:
        """A slot that is True or False."""
        word = self.draw.noun(words.ADJECTIVES, 0)
        slot = self.draw.slot(f"is_{word}" if self.chance(0.3) else word, values.flag)
        return Term("truth", f"self.{slot}", word, "b", word)

    def numbers(self, least: int = 2) -> Term:
        """A slot with a list of numbers."""
        whole = self.chance(0.75)
        maker = values.list_of(values.whole(-15, 60) if self.chance(0.15) else values.whole(0, 60), least, 6)
        many, singular = self.draw.things(maker if whole else values.list_of(values.decimal(0, 60, 1), least, 6), words.SERIES)
        return Term("numbers", f"self.{many}", many, "N", singular, whole=whole)

    def texts(self, distinct: bool = False) -> Term:
        """A slot with a list of words, some of them twice."""
        several = values.list_of(values.short_text, 2, 6, distinct)

        def with_repeats(rng: Random, slots: Slots) -> list[str]:
            texts: list[str] = several(rng, slots)
            if not distinct and rng.random() < 0.35:
                texts.insert(rng.randint(0, len(texts)), rng.choice(texts))
            return texts

        many, singular = self.draw.things(with_repeats)
        return Term("texts", f"self.{many}", many, "T", singular)

    def ledger(self) -> Term:
        """A slot with a dict from words to numbers."""
        slot = self.draw.slot(self.draw.noun(words.LEDGERS, 0.15), values.dict_of(values.word, values.whole(0, 60), 2, 5))
        return Term("ledger", f"self.{slot}", slot, "D", slot)

    def rows(self) -> Term:
        """A slot with a list of dicts, or of objects, that have the same fields."""
        rng = self.rng
        access: Access = "item" if rng.random() < 0.7 else "slot"
        label = rng.choice(_LABELS)
        numbers = rng.sample(_FIELDS, 2)
        texts = [rng.choice(_CATEGORIES)]
        flags = [rng.choice(_FLAGS)]
        makers: dict[str, Maker] = {label: values.word}
        several = rng.sample(words.WORDS, 3)
        extra: dict[str, Maker] = {number: values.whole(1, 40) if rng.random() < 0.75 else values.decimal(1, 40, 1) for number in numbers}
        extra |= {texts[0]: lambda source, slots: source.choice(several), flags[0]: values.flag}
        order = list(extra)
        rng.shuffle(order)
        makers |= {name: extra[name] for name in order[: rng.randint(3, 4)]}

        def row(source: Random, slots: Slots) -> object:
            content = {name: maker(source, slots) for name, maker in makers.items()}
            return content if access == "item" else StandIn(content)

        many, singular = self.draw.things(values.list_of(row, 2, 4))
        fields = Fields(
            access,
            label,
            tuple(name for name in numbers if name in makers),
            tuple(name for name in texts if name in makers),
            tuple(name for name in flags if name in makers),
        )
        return Term("rows", f"self.{many}", many, "R" if access == "item" else "O", singular, fields=fields)

    # --- arguments -------------------------------------------------------------------------------------------------------

    def argument(self, keyword: str, maker: Maker) -> str:
        """An argument of the message; answers its name in the body."""
        keywords = {name for name, _ in self.draw.arguments}
        while keyword in keywords or keyword in self.draw.slots:
            keyword = f"{keyword}_value"
        return self.draw.arg(keyword, maker)

    def amount(self, low: int = 2, high: int = 45) -> str:
        """A number that comes with the message."""
        return self.argument(self.choose("amount", "value", "number", "limit"), values.whole(low, high))

    def few(self) -> str:
        """How many: from 1 to 3."""
        return self.argument(self.choose("count", "number", "size"), values.whole(1, 3))

    def word(self, of: str = "") -> str:
        """A text that comes with the message, often one that the slot `of` holds."""
        slot = of.removeprefix("self.")
        if slot not in self.draw.slots:
            return self.argument(self.choose("value", "word", "text"), values.word)

        def near(rng: Random, slots: Slots) -> object:
            container = slots[slot]
            content = [text for text in container if isinstance(text, str)] if isinstance(container, (list, dict)) else []
            return rng.choice(content) if content and rng.random() < 0.75 else rng.choice(words.WORDS)

        return self.argument(self.choose("value", "word", "text"), near)

    def letter(self) -> str:
        """One letter that comes with the message."""
        return self.argument(self.choose("letter", "start", "prefix"), lambda rng, slots: rng.choice("abcdegilmnoprst"))
