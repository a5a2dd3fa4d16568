"""Numbers computed from the object's slots and the message's arguments; nothing changes."""

import operator

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

_KINDS = words.MONEY + words.LEVELS


def product(d: Draw) -> Method:
    """Money times count: total_price, total_fare …"""
    money, count = d.noun(words.MONEY, 0.35), d.noun(words.COUNTS, 0.15)
    d.slot(money, values.money)
    d.slot(count, values.whole(0, 40))
    last = money.rpartition("_")[2]
    companion = d.rng.choice(("price", "cost", "amount", "charge", "bill", "value"))
    selector = d.say(
        f"total_{last}",
        f"total_{last}",
        f"total_{money}",
        f"{last}_total",
        f"full_{last}",
        f"overall_{last}",
        f"compute_total_{last}",
        f"total_{companion}",
        f"total_{companion}",
        f"calculate_{last}",
        f"{last}_for_all_{count}",
        "total",
        f"get_total_{last}",
        f"{last}_of_all",
    )
    return Method(selector, f"return self.{money} * self.{count}", lambda s: s[money] * s[count])


def product_and_more(d: Draw) -> Method:
    """Money times count, and a charge on top."""
    money, count, extra = (
        d.noun(words.MONEY, 0.3),
        d.noun(words.COUNTS, 0.1),
        d.noun(("shipping", "delivery", "service", "postage", "handling", "insurance", "surcharge", "packing"), 0),
    )
    for slot, maker in ((money, values.money), (count, values.whole(0, 40)), (extra, values.money)):
        d.slot(slot, maker)
    last = money.rpartition("_")[2]
    selector = d.say(
        f"total_with_{extra}",
        f"total_{last}_with_{extra}",
        f"{last}_including_{extra}",
        f"total_including_{extra}",
        f"{last}_plus_{extra}_total",
    )
    return Method(selector, f"return self.{money} * self.{count} + self.{extra}", lambda s: s[money] * s[count] + s[extra])


def product_with_argument(d: Draw) -> Method:
    """What a number of pieces costs."""
    money = d.slot(d.noun(words.MONEY, 0.3), values.money)
    a = d.arg("count", values.whole(0, 30))
    last = money.rpartition("_")[2]
    selector = d.say(
        f"{last}_for", f"{last}_of", f"{last}_times", f"total_{last}_for", f"{last}_for_count", f"{last}_multiplied_by", f"quote_{last}"
    )
    return Method(selector, f"return self.{money} * {a}", lambda s, n: s[money] * n)


def sum_of_likes(d: Draw) -> Method:
    """All slots that share a noun: indoor_seats + outdoor_seats."""
    noun = d.noun(words.COUNTS + words.TALLIES + words.MONEY, 0)
    names = [f"{modifier}_{noun}" for modifier in d.rng.sample(words.MODIFIERS, d.rng.choice((2, 2, 3)))]
    names = [name for name in names if not name.startswith(("total", "max", "min"))]
    if len(names) < 2:
        names = [f"left_{noun}", f"right_{noun}"]
    for name in names:
        d.slot(name, values.number)
    selector = d.say(
        f"total_{noun}",
        f"total_{noun}",
        f"all_{noun}",
        f"sum_of_{noun}",
        f"combined_{noun}",
        f"{noun}_in_total",
        f"{noun}_altogether",
        f"{noun}_sum",
    )
    return Method(selector, "return " + " + ".join(f"self.{name}" for name in names), lambda s: sum(s[name] for name in names))


def sum_of_named(d: Draw) -> Method:
    """Slots that the selector names: sum_of_rent_and_food."""
    names = [d.slot(d.noun(_KINDS, 0.1), values.number) for _ in range(d.rng.choice((2, 2, 3)))]
    selector = d.say("_plus_".join(names), "sum_of_" + "_and_".join(names), "_and_".join(names) + "_together", "add_" + "_and_".join(names))
    return Method(selector, "return " + " + ".join(f"self.{name}" for name in names), lambda s: sum(s[name] for name in names))


def average_of_likes(d: Draw) -> Method:
    """The mean of slots that share a noun."""
    noun = d.noun(words.LEVELS + words.MONEY, 0)
    count = d.rng.choice((2, 3))
    names = [
        f"{modifier}_{noun}"
        for modifier in d.rng.sample(
            ("morning", "noon", "evening", "first", "second", "third", "left", "right", "north", "south", "old", "new"), count
        )
    ]
    for name in names:
        d.slot(name, values.number)
    selector = d.say(f"average_{noun}", f"mean_{noun}", f"{noun}_average", f"average_of_{noun}")
    return Method(
        selector, f"return ({' + '.join(f'self.{name}' for name in names)}) / {count}", lambda s: sum(s[name] for name in names) / count
    )


_PAIRS = (
    ("revenue", "costs", "profit"),
    ("income", "expenses", "savings"),
    ("capacity", "used", "remaining"),
    ("capacity", "occupied", "free"),
    ("budget", "spent", "remaining"),
    ("gross", "tax", "net"),
    ("total", "done", "left"),
    ("seats", "taken", "free_seats"),
    ("goal", "reached", "missing"),
    ("salary", "deductions", "take_home"),
    ("sold", "returned", "net_sold"),
    ("size", "filled", "space_left"),
    ("limit", "current", "headroom"),
    ("income", "spending", "surplus"),
    ("stock", "reserved", "available"),
)


def difference(d: Draw) -> Method:
    """What is left: capacity - used."""
    if d.rng.random() < 0.5:
        whole, part, outcome = d.rng.choice(_PAIRS)
        selector = d.say(outcome, f"get_{outcome}", f"compute_{outcome}", f"calculate_{outcome}")
    else:
        whole, part = d.noun(_KINDS + words.COUNTS, 0.1), d.noun(_KINDS, 0.1)
        selector = d.say(
            f"{whole}_minus_{part}",
            f"{whole}_without_{part}",
            f"difference_between_{whole}_and_{part}",
            f"{whole}_less_{part}",
            f"{whole}_after_{part}",
        )
    d.slot(whole, values.whole(50, 500))
    d.slot(part, values.whole(0, 49))
    return Method(selector, f"return self.{whole} - self.{part}", lambda s: s[whole] - s[part])


def ratio(d: Draw) -> Method:
    """One slot per another."""
    top, bottom = d.noun(_KINDS, 0.1), d.noun(words.COUNTS, 0.1)
    d.slot(top, values.number)
    d.slot(bottom, values.whole(1, 30))
    singular = bottom.removesuffix("s")
    selector = d.say(
        f"{top}_per_{singular}",
        f"{top}_per_{singular}",
        f"{top}_for_each_{singular}",
        f"{top}_each",
        f"{top}_divided_by_{bottom}",
        f"ratio_of_{top}_to_{bottom}",
    )
    return Method(selector, f"return self.{top} / self.{bottom}", lambda s: s[top] / s[bottom])


_SHARES = (
    ("done", "total"),
    ("used", "capacity"),
    ("sold", "stock"),
    ("read_pages", "pages"),
    ("present", "enrolled"),
    ("correct", "questions"),
    ("wins", "games"),
    ("filled", "size"),
    ("spent", "budget"),
    ("votes", "voters"),
    ("answered", "asked"),
    ("watered", "plants"),
    ("finished", "planned"),
    ("hits", "shots"),
)


def percent(d: Draw) -> Method:
    """A part of a whole in percent."""
    part, whole = d.rng.choice(_SHARES)
    d.slot(part, values.whole(0, 50))
    d.slot(whole, values.whole(50, 200))
    selector = d.say(
        f"percent_{part}", f"{part}_percent", f"percentage_{part}", f"{part}_percentage", f"percent_of_{whole}_{part}", f"{part}_in_percent"
    )
    return Method(selector, f"return self.{part} / self.{whole} * 100", lambda s: s[part] / s[whole] * 100)


def reduced(d: Draw) -> Method:
    """A price after a discount: a slot or an argument, in percent (15) or as a fraction (0.15)."""
    money = d.slot(d.noun(words.MONEY, 0.2), values.money)
    in_percent = d.rng.random() < 0.5
    maker = values.whole(1, 60) if in_percent else values.decimal(0.01, 0.6)
    word = d.rng.choice(("discount", "rebate", "reduction", "markdown"))
    if d.rng.random() < 0.5:
        rate = "self." + d.slot(f"{word}_percent" if in_percent else d.rng.choice((f"{word}_rate", f"{word}_rate", word)), maker)
        name = rate.removeprefix("self.")
        selector = d.say(
            f"discounted_{money}", f"reduced_{money}", f"{money}_after_{word}", f"{money}_with_{word}", f"final_{money}", "discounted"
        )
    else:
        rate, name = d.arg("percent" if in_percent else "rate", maker), ""
        selector = d.say(
            f"discounted_{money}", f"reduced_{money}", f"{money}_after_{word}", f"{money}_with_{word}_of", "discounted_by", "discounted"
        )
    divide = " / 100" if in_percent else ""
    scale = 100 if in_percent else 1
    return Method(
        selector, f"return self.{money} * (1 - {rate}{divide})", lambda s, *args: s[money] * (1 - (args[0] if args else s[name]) / scale)
    )


def taxed(d: Draw) -> Method:
    """A price with tax: a slot or an argument, in percent or as a fraction."""
    money = d.slot(d.noun(words.MONEY, 0.2), values.money)
    in_percent = d.rng.random() < 0.5
    maker = values.whole(1, 30) if in_percent else values.decimal(0.01, 0.3)
    word = d.rng.choice(("tax", "vat", "markup", "interest", "surcharge", "fee"))
    if d.rng.random() < 0.5 and word != money:
        rate = "self." + d.slot(f"{word}_percent" if in_percent else f"{word}_rate", maker)
    else:
        rate = d.arg("percent" if in_percent else "rate", maker)
    name = rate.removeprefix("self.")
    selector = d.say(
        f"{money}_with_{word}", f"{money}_including_{word}", f"{money}_after_{word}", f"{word}ed_{money}", f"{money}_plus_{word}"
    )
    divide = " / 100" if in_percent else ""
    scale = 100 if in_percent else 1
    return Method(
        selector, f"return self.{money} * (1 + {rate}{divide})", lambda s, *args: s[money] * (1 + (args[0] if args else s[name]) / scale)
    )


_MULTIPLES = (
    ("doubled_{x}", 2),
    ("{x}_doubled", 2),
    ("twice_{x}", 2),
    ("twice_the_{x}", 2),
    ("tripled_{x}", 3),
    ("triple_of_{x}", 3),
    ("three_times_{x}", 3),
    ("four_times_{x}", 4),
    ("{x}_times_five", 5),
    ("ten_times_{x}", 10),
    ("{x}_times_ten", 10),
)


def multiple(d: Draw) -> Method:
    """Twice, three times a slot, without changing it."""
    slot = d.slot(d.noun(_KINDS + words.COUNTS, 0.15), values.number)
    shape, factor = d.rng.choice(_MULTIPLES)
    return Method(d.say(shape.format(x=slot)), f"return self.{slot} * {factor}", lambda s: s[slot] * factor)


def part(d: Draw) -> Method:
    """A half, a third, a quarter of a slot."""
    slot = d.slot(d.noun(_KINDS + words.COUNTS, 0.15), values.number)
    shape, divisor = d.rng.choice(
        (
            ("half_{x}", 2),
            ("half_of_{x}", 2),
            ("{x}_halved", 2),
            ("half_the_{x}", 2),
            ("third_of_{x}", 3),
            ("quarter_of_{x}", 4),
            ("a_tenth_of_{x}", 10),
        )
    )
    return Method(d.say(shape.format(x=slot)), f"return self.{slot} / {divisor}", lambda s: s[slot] / divisor)


def with_argument(d: Draw) -> Method:
    """A slot combined with an argument, without changing it."""
    slot = d.slot(d.noun(_KINDS + words.COUNTS, 0.15), values.number)
    a = d.arg("amount", values.whole(1, 20))
    kind = d.rng.choice("+-*/%")
    selectors = {
        "+": (f"{slot}_plus", f"{slot}_increased_by", f"{slot}_with_extra", f"{slot}_and"),
        "-": (f"{slot}_minus", f"{slot}_reduced_by", f"{slot}_less", f"{slot}_after_losing", f"{slot}_without"),
        "*": (f"{slot}_times", f"{slot}_multiplied_by", f"scaled_{slot}", f"{slot}_scaled_by"),
        "/": (f"{slot}_divided_by", f"{slot}_split_by", f"{slot}_shared_among", f"{slot}_per", f"split_{slot}"),
        "%": (f"{slot}_modulo", f"{slot}_remainder", f"rest_of_{slot}_after_groups_of"),
    }[kind]
    outcome = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "%": operator.mod}[kind]
    return Method(d.say(*selectors), f"return self.{slot} {kind} {a}", lambda s, n: outcome(s[slot], n))


def rounded(d: Draw) -> Method:
    """A slot rounded."""
    slot = d.slot(d.noun(_KINDS, 0.15), values.decimal(0, 90, 4))
    if d.rng.random() < 0.4:
        a = d.arg("places", values.whole(0, 3))
        return Method(
            d.say(f"{slot}_rounded_to", f"round_{slot}_to", f"{slot}_to_places"),
            f"return round(self.{slot}, {a})",
            lambda s, n: round(s[slot], n),
        )
    return Method(
        d.say(f"rounded_{slot}", f"{slot}_rounded", f"whole_{slot}", f"nearest_{slot}"),
        f"return round(self.{slot})",
        lambda s: round(s[slot]),
    )


def stateless(d: Draw) -> Method:
    """Arithmetic of the arguments alone."""
    d.slot(d.noun(_KINDS, 0.15), values.number)
    count = d.rng.choice((2, 2, 3))
    makers = [d.arg(keyword, values.number) for keyword in ("x", "y", "z")[:count]]
    kind = d.rng.choice(("sum", "product", "average", "largest", "smallest", "difference"))
    if kind == "difference" and count == 3:
        kind = "sum"
    selectors = {
        "sum": ("add", "sum_of", "plus", "add_up", "add_numbers", "sum"),
        "product": ("multiply", "product_of", "times", "product"),
        "average": ("average_of", "mean_of", "average"),
        "largest": ("largest_of", "biggest", "max_of", "larger"),
        "smallest": ("smallest_of", "min_of", "smaller", "least_of"),
        "difference": ("subtract", "minus", "difference_of"),
    }[kind]
    listed = ", ".join(makers)
    body = {
        "sum": " + ".join(makers),
        "product": " * ".join(makers),
        "average": f"({' + '.join(makers)}) / {count}",
        "largest": f"max({listed})",
        "smallest": f"min({listed})",
        "difference": " - ".join(makers[:2]),
    }[kind]

    def expectation(s: values.Slots, *args: float) -> float:
        if kind == "product":
            outcome = 1.0
            for factor in args:
                outcome = outcome * factor
            return outcome
        return {
            "sum": sum(args),
            "average": sum(args) / len(args),
            "largest": max(args),
            "smallest": min(args),
            "difference": args[0] - args[1],
        }[kind]

    return Method(d.say(*selectors), f"return {body}", expectation)


def whole_groups(d: Draw) -> Method:
    """How many full groups."""
    slot = d.slot(d.noun(words.COUNTS, 0.1), values.whole(0, 300))
    a = d.arg("size", values.whole(2, 12))
    return Method(
        d.say(f"full_groups_of_{slot}", f"groups_of_{slot}", f"{slot}_in_groups_of", f"how_many_groups_of_{slot}", f"{slot}_packed_by"),
        f"return self.{slot} // {a}",
        lambda s, n: s[slot] // n,
    )


FAMILIES = (
    product,
    product,
    product,
    product,
    product,
    product_and_more,
    product_with_argument,
    sum_of_likes,
    sum_of_named,
    average_of_likes,
    difference,
    ratio,
    percent,
    reduced,
    taxed,
    multiple,
    part,
    with_argument,
    rounded,
    stateless,
    whole_groups,
)
