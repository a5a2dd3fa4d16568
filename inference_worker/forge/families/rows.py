"""Lists of dicts: rows with the same fields."""

from random import Random
from typing import Any

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

FLAG = "self._p_changed = True"


def _table(d: Draw) -> tuple[str, str, str, str, str]:
    """Slot, singular, the text field and two numeric fields."""
    label = d.rng.choice(("name", "title", "label", "kind", "product", "who"))
    amount = d.noun(words.MONEY, 0)
    factor = d.noun(("quantity", "count", "units", "pieces", "copies", "hours", "amount", "days", "number"), 0)

    def rows(rng: Random, slots: values.Slots) -> Any:
        return [{label: word, amount: rng.randint(1, 40), factor: rng.randint(1, 9)} for word in rng.sample(words.WORDS, rng.randint(1, 4))]

    many, singular = d.things(
        rows,
        (
            "item",
            "product",
            "order",
            "line",
            "article",
            "job",
            "visit",
            "book",
            "ticket",
            "part",
            "purchase",
            "delivery",
            "entry",
            "dish",
            "drink",
            "task",
            "shift",
            "piece",
        ),
    )
    return many, singular, label, amount, factor


def total(d: Draw) -> Method:
    """The sum of a field, or of two fields multiplied."""
    many, _singular, _label, amount, factor = _table(d)
    if d.rng.random() < 0.5:
        return Method(
            d.say(f"total_{amount}", f"sum_of_{amount}", f"{amount}_of_all_{many}", f"{many}_{amount}", f"{amount}_sum"),
            f"return sum(r['{amount}'] for r in self.{many})",
            lambda s: sum([r[amount] for r in s[many]]),
        )
    selector = d.say(
        f"total_{amount}_times_{factor}", f"{amount}_times_{factor}", f"sum_of_{amount}_times_{factor}", f"total_{amount}_by_{factor}"
    )
    return Method(
        selector, f"return sum(r['{amount}'] * r['{factor}'] for r in self.{many})", lambda s: sum([r[amount] * r[factor] for r in s[many]])
    )


def column(d: Draw) -> Method:
    """One field of every row."""
    many, singular, label, amount, factor = _table(d)
    field = d.rng.choice((label, amount, factor))
    return Method(
        d.say(f"{singular}_{field}s", f"{field}s_of_{many}", f"all_{field}s", f"list_{field}s", f"{many}_{field}s", f"every_{field}"),
        f"return [r['{field}'] for r in self.{many}]",
        lambda s: [dict(r).pop(field) for r in s[many]],
    )


def find(d: Draw) -> Method:
    """The first row with this text, or None."""
    many, singular, label, _amount, _factor = _table(d)
    a = d.arg(label, lambda rng, slots: rng.choice(slots[many])[label] if rng.random() < 0.7 else rng.choice(words.WORDS))
    body = f"for r in self.{many}:\n    if r['{label}'] == {a}:\n        return r\nreturn None"
    return Method(
        d.say(
            f"find_{singular}",
            f"{singular}_by_{label}",
            f"get_{singular}",
            f"look_up_{singular}",
            f"{singular}_named",
            f"find_{singular}_by_{label}",
        ),
        body,
        lambda s, v: next((r for r in s[many] if r[label] == v), None),
    )


def where(d: Draw) -> Method:
    """The rows (their texts) whose number is above or below."""
    many, _singular, label, amount, _factor = _table(d)
    a = d.arg("limit", values.whole(2, 30))
    above = d.rng.random() < 0.5
    selector = d.say(
        f"{many}_with_{amount}_{'above' if above else 'below'}",
        f"{label}s_with_{amount}_{'over' if above else 'under'}",
        f"{label}s_where_{amount}_{'above' if above else 'below'}",
    )
    answered = f"r['{label}']" if selector.startswith(label) else "r"
    body = f"return [{answered} for r in self.{many} if r['{amount}'] {'>' if above else '<'} {a}]"

    def expectation(s: values.Slots, n: int) -> list[Any]:
        matching = [r for r in s[many] if (r[amount] > n if above else r[amount] < n)]
        return [r[label] for r in matching] if selector.startswith(label) else matching

    return Method(selector, body, expectation)


def extreme(d: Draw) -> Method:
    """The text of the row with the most or the least."""
    many, singular, label, amount, factor = _table(d)
    d.slots[many] = lambda rng, slots: [
        {label: word, amount: number, factor: rng.randint(1, 9)}
        for word, number in zip(rng.sample(words.WORDS, 3), rng.sample(range(1, 60), 3), strict=True)
    ]
    most = d.rng.random() < 0.6
    word = d.rng.choice(("highest", "largest", "most")) if most else d.rng.choice(("lowest", "smallest", "least"))
    selector = d.say(f"{singular}_with_{word}_{amount}", f"{word}_{amount}_{singular}", f"{label}_with_{word}_{amount}")
    ends = f"['{label}']" if selector.startswith(f"{label}_") else ""

    def expectation(s: values.Slots) -> Any:
        extreme = sorted(s[many], key=lambda r: r[amount])[-1 if most else 0]
        return extreme[label] if ends else extreme

    return Method(
        selector,
        f"return {'max' if most else 'min'}(self.{many}, key=lambda r: r['{amount}']){ends}",
        expectation,
    )


def append(d: Draw) -> Method:
    """A row made from the arguments."""
    many, singular, label, amount, _factor = _table(d)
    d.slots[many] = lambda rng, slots: [{label: word, amount: rng.randint(1, 40)} for word in rng.sample(words.WORDS, rng.randint(1, 3))]
    a, b = d.arg(label, values.word), d.arg(amount, values.whole(1, 40))
    return Method(
        d.say(f"add_{singular}", f"add_{singular}", f"new_{singular}", f"record_{singular}", f"append_{singular}"),
        f"self.{many}.append({{'{label}': {a}, '{amount}': {b}}})\n{FLAG}\nreturn self.{many}",
        lambda s, v, n: s.update({many: [*s[many], {label: v, amount: n}]}) or s[many],
    )


FAMILIES = (total, column, find, where, extreme, append)
