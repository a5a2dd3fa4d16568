"""Numbers that go up and down. A method that changes one slot answers its new value."""

from collections.abc import Callable

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

_ONE_UP = (
    "increment_{x}",
    "increment_{x}",
    "increase_{x}",
    "bump_{x}",
    "one_more_{i}",
    "count_{i}",
    "record_{i}",
    "log_{i}",
    "add_one_{i}",
    "register_{i}",
    "inc_{x}",
    "raise_{x}",
    "note_{i}",
    "tick_{x}",
    "{x}_up",
)
_ONE_DOWN = (
    "decrement_{x}",
    "decrement_{x}",
    "decrease_{x}",
    "one_less_{i}",
    "lower_{x}",
    "lose_{i}",
    "dec_{x}",
    "undo_{i}",
    "take_one_{i}",
    "{x}_down",
    "drop_one_{i}",
)
_UP = (
    "increase_{x}_by",
    "increment_{x}_by",
    "raise_{x}_by",
    "add_to_{x}",
    "add_{x}",
    "gain_{x}",
    "more_{x}",
    "grow_{x}_by",
    "bump_{x}_by",
    "earn_{x}",
    "boost_{x}",
    "refill_{x}",
    "top_up_{x}",
    "{x}_up_by",
)
_DOWN = (
    "decrease_{x}_by",
    "reduce_{x}_by",
    "lower_{x}_by",
    "decrement_{x}_by",
    "subtract_from_{x}",
    "lose_{x}",
    "drop_{x}_by",
    "cut_{x}_by",
    "drain_{x}",
    "{x}_down_by",
    "less_{x}",
    "deduct_from_{x}",
)


def _single(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "tches", "shes", "xes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _selector(d: Draw, shapes: tuple[str, ...], slot: str) -> str:
    return d.say(d.rng.choice(shapes).format(x=slot, i=_single(slot)))


def _changing(slot: str, text: str, change: Callable[..., float], selector: str) -> Method:
    def expectation(s: values.Slots, *args: float) -> float:
        s[slot] = change(s[slot], *args)
        return float(s[slot]) if isinstance(s[slot], float) else s[slot]

    return Method(selector, f"self.{slot} {text}\nreturn self.{slot}", expectation)


def increment(d: Draw) -> Method:
    """One more."""
    slot = d.slot(d.noun(words.TALLIES + words.COUNTS, 0.12), values.tally)
    if d.rng.random() < 0.15 and len(words.on_side(words.TALLIES, d.side)) > 3:
        name = d.rng.choice(("counter", "count", "tally", "number"))
        if name not in d.slots and slot != name:
            d.slots.pop(slot)
            slot = d.slot(name, values.tally)
            return _changing(slot, "+= 1", lambda n: n + 1, d.say("increment", "tick", "next", "bump", "count_up", "step", "advance"))
    return _changing(slot, "+= 1", lambda n: n + 1, _selector(d, _ONE_UP, slot))


def decrement(d: Draw) -> Method:
    """One less."""
    slot = d.slot(d.noun(words.TALLIES + words.COUNTS, 0.12), values.tally)
    return _changing(slot, "-= 1", lambda n: n - 1, _selector(d, _ONE_DOWN, slot))


def increase(d: Draw) -> Method:
    """More, by the argument."""
    slot = d.slot(d.noun(words.LEVELS + words.TALLIES + words.MONEY, 0.12), values.number)
    a = d.arg("amount", values.number)
    if slot in ("balance", "savings", "funds", "account") and d.rng.random() < 0.5:
        return _changing(slot, f"+= {a}", lambda x, n: x + n, d.say("deposit", "pay_in", "deposit_money"))
    return _changing(slot, f"+= {a}", lambda x, n: x + n, _selector(d, _UP, slot))


def decrease(d: Draw) -> Method:
    """Less, by the argument."""
    slot = d.slot(d.noun(words.LEVELS + words.TALLIES + words.MONEY, 0.12), values.number)
    a = d.arg("amount", values.number)
    return _changing(slot, f"-= {a}", lambda x, n: x - n, _selector(d, _DOWN, slot))


def deposit(d: Draw) -> Method:
    """Money in, without the slot's name in the selector."""
    slot = d.slot(d.rng.choice(("balance", "savings", "funds", "account_balance", "cash", "credit")), values.number)
    a = d.arg("amount", values.number)
    return _changing(
        slot,
        f"+= {a}",
        lambda x, n: x + n,
        d.say("deposit", "deposit", "pay_in", "put_in", "credit_account", "receive", "add_funds", "add_money"),
    )


def spend(d: Draw) -> Method:
    """Money or stock out, refused when there is not enough."""
    slot = d.slot(
        d.rng.choice(("balance", "savings", "funds", "cash", "stock", "supply", "budget", "credit", "tokens", "coins")), values.whole(0, 60)
    )
    a = d.arg("amount", values.whole(1, 60))
    selector = d.say(
        "withdraw", "withdraw", "spend", "pay", "take_out", f"take_from_{slot}", f"use_{slot}", f"spend_{slot}", f"withdraw_from_{slot}"
    )

    def expectation(s: values.Slots, n: int) -> int:
        if n > s[slot]:
            raise ValueError(slot)
        s[slot] -= n
        return int(s[slot])

    return Method(
        selector, f"if {a} > self.{slot}:\n    raise ValueError('not enough {slot}')\nself.{slot} -= {a}\nreturn self.{slot}", expectation
    )


def scale(d: Draw) -> Method:
    """A slot multiplied in place."""
    slot = d.slot(d.noun(words.LEVELS + words.MONEY, 0.1), values.number)
    if d.rng.random() < 0.5:
        a = d.arg("factor", values.whole(2, 9))
        return _changing(
            slot, f"*= {a}", lambda x, n: x * n, d.say(f"multiply_{slot}_by", f"scale_{slot}", f"scale_{slot}_by", f"multiply_{slot}")
        )
    verb, factor = d.rng.choice((("double", 2), ("triple", 3), ("quadruple", 4)))
    return _changing(slot, f"*= {factor}", lambda x: x * factor, d.say(f"{verb}_{slot}", f"{verb}_the_{slot}", f"{verb}_my_{slot}"))


def reset(d: Draw) -> Method:
    """Back to zero."""
    slot = d.slot(d.noun(words.TALLIES + words.COUNTS, 0.12), values.tally)
    selector = d.say(
        f"reset_{slot}", f"reset_{slot}", f"clear_{slot}", f"zero_{slot}", f"restart_{slot}", f"forget_{slot}", f"{slot}_to_zero"
    )
    return _changing(slot, "= 0", lambda x: 0, selector)


def several_up(d: Draw) -> Method:
    """An event that two counters record."""
    first, second = d.noun(words.TALLIES, 0), d.noun(words.TALLIES, 0)
    d.slot(first, values.tally)
    d.slot(second, values.tally)

    def expectation(s: values.Slots) -> None:
        s[first] += 1
        s[second] += 1

    selector = d.say(
        f"increment_{first}_and_{second}",
        f"count_{first}_and_{second}",
        f"bump_{first}_and_{second}",
        f"increment_both_{first}_and_{second}",
    )
    return Method(selector, f"self.{first} += 1\nself.{second} += 1", expectation)


FAMILIES = (increment, increment, decrement, increase, decrease, deposit, spend, scale, reset, several_up)
