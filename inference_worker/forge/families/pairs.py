"""Methods over two or more slots of one kind: set, swap, move, transfer, gather."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

_PLACES = (("x", "y"), ("x", "y"), ("left", "top"), ("column_number", "row_number"), ("longitude", "latitude"), ("east", "north"))
_SIZES = (("width", "height"), ("length", "width"), ("rows", "columns"), ("wide", "high"))
_POTS = (
    "wallet",
    "bank",
    "savings",
    "checking",
    "cash",
    "stock",
    "reserve",
    "shelf",
    "cellar",
    "front",
    "back",
    "left_tank",
    "right_tank",
    "inbox_count",
    "archive_count",
    "piggybank",
    "pocket",
    "pantry",
    "kitchen",
    "attic",
    "warehouse",
    "storefront",
)


def set_two(d: Draw) -> Method:
    """Two slots set together."""
    kind = d.rng.random()
    if kind < 0.3:
        first, second = d.rng.choice(_PLACES)
        selectors: tuple[str, ...] = (
            "move_to",
            "go_to",
            "place_at",
            f"set_{first}_and_{second}",
            "set_position",
            "jump_to",
            "set_location",
        )
    elif kind < 0.6:
        first, second = d.rng.choice(_SIZES)
        selectors = ("resize", "resize_to", "set_size", f"set_{first}_and_{second}", "set_dimensions")
    else:
        first, second = d.noun(words.LEVELS + words.MONEY, 0), d.noun(words.LEVELS + words.COUNTS, 0)
        selectors = (f"set_{first}_and_{second}", f"change_{first}_and_{second}", f"update_{first}_and_{second}")
    d.slot(first, values.number)
    d.slot(second, values.number)
    a, b = d.arg(first, values.number), d.arg(second, values.number)
    return Method(d.say(*selectors), f"self.{first} = {a}\nself.{second} = {b}", lambda s, v, w: s.update({first: v, second: w}))


def shift(d: Draw) -> Method:
    """Two slots moved by the arguments."""
    first, second = d.rng.choice(_PLACES)
    d.slot(first, values.number)
    d.slot(second, values.number)
    a, b = d.arg("dx", values.whole(-9, 9)), d.arg("dy", values.whole(-9, 9))
    return Method(
        d.say("move_by", "shift", "shift_by", "translate", "nudge", "step_by"),
        f"self.{first} += {a}\nself.{second} += {b}",
        lambda s, v, w: s.update({first: s[first] + v, second: s[second] + w}),
    )


def swap(d: Draw) -> Method:
    """Two slots exchanged."""
    pool = words.TEXTS if d.rng.random() < 0.5 else words.LEVELS
    maker = values.word if pool is words.TEXTS else values.number
    first, second = (d.slot(d.noun(pool, 0.1), maker) for _ in range(2))
    selector = d.say(
        f"swap_{first}_and_{second}", f"exchange_{first}_and_{second}", f"swap_{first}_with_{second}", f"switch_{first}_and_{second}"
    )
    return Method(
        selector, f"self.{first}, self.{second} = self.{second}, self.{first}", lambda s: s.update({first: s[second], second: s[first]})
    )


def transfer(d: Draw) -> Method:
    """An amount moved from one slot to another."""
    first, second = (d.slot(d.noun(_POTS, 0), values.whole(20, 200)) for _ in range(2))
    a = d.arg("amount", values.whole(1, 20))
    selector = d.say(
        f"move_{first}_to_{second}",
        f"transfer_{first}_to_{second}",
        f"transfer_from_{first}_to_{second}",
        f"shift_{first}_to_{second}",
        f"move_from_{first}_to_{second}",
        f"{first}_to_{second}",
    )
    return Method(
        selector, f"self.{first} -= {a}\nself.{second} += {a}", lambda s, n: s.update({first: s[first] - n, second: s[second] + n})
    )


def copy(d: Draw) -> Method:
    """One slot copied to another."""
    first, second = (d.slot(d.noun(words.LEVELS + words.TEXTS, 0.2), values.short_text) for _ in range(2))
    selector = d.say(
        f"copy_{first}_to_{second}",
        f"copy_{first}_into_{second}",
        f"set_{second}_from_{first}",
        f"{second}_from_{first}",
        f"use_{first}_as_{second}",
    )
    return Method(selector, f"self.{second} = self.{first}\nreturn self.{second}", lambda s: s.update({second: s[first]}) or s[first])


def gathered(d: Draw) -> Method:
    """Slots that the selector names, as a list."""
    if d.rng.random() < 0.4:
        names = list(d.rng.choice(_PLACES + _SIZES))
        selectors: tuple[str, ...] = (
            "_and_".join(names),
            "coordinates" if tuple(names) in _PLACES else "dimensions",
            "position" if tuple(names) in _PLACES else "size_pair",
        )
    else:
        names = [d.noun(words.TEXTS + words.LEVELS, 0.1) for _ in range(d.rng.choice((2, 2, 3)))]
        selectors = ("_and_".join(names), "list_" + "_and_".join(names), "get_" + "_and_".join(names), "both_" + "_and_".join(names))
    for name in names:
        d.slot(name, values.number if name in words.LEVELS or len(name) < 3 else values.short_text)
    return Method(d.say(*selectors), f"return [{', '.join(f'self.{name}' for name in names)}]", lambda s: [s[name] for name in names])


def as_dict(d: Draw) -> Method:
    """Every slot of the object in one dict."""
    names = d.fill(1, 7)
    selector = d.say("as_dict", "to_dict", "as_dict", "to_map", "export_slots", "snapshot", "all_slots_as_dict", "slot_values", "dump")
    return Method(selector, f"return {{{', '.join(f'{name!r}: self.{name}' for name in names)}}}", lambda s: dict(s))


def larger(d: Draw) -> Method:
    """The larger or smaller of two or three slots."""
    names = [d.slot(d.noun(words.LEVELS + words.MONEY, 0.1), values.number) for _ in range(d.rng.choice((2, 2, 3)))]
    listed = ", ".join(f"self.{name}" for name in names)
    joined = "_and_".join(names)
    if d.rng.random() < 0.5:
        return Method(
            d.say(f"larger_of_{joined}", f"max_of_{joined}", f"highest_of_{joined}", f"biggest_of_{joined}"),
            f"return max({listed})",
            lambda s: max(s[name] for name in names),
        )
    return Method(
        d.say(f"smaller_of_{joined}", f"min_of_{joined}", f"lowest_of_{joined}", f"smallest_of_{joined}"),
        f"return min({listed})",
        lambda s: min(s[name] for name in names),
    )


FAMILIES = (set_two, shift, swap, transfer, copy, gathered, as_dict, larger)
