"""Decisions: thresholds, limits, comparisons, clamps."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

_NUMERIC = words.LEVELS + words.TALLIES + words.MONEY


def clamp(d: Draw) -> Method:
    """A slot between two bounds."""
    slot = d.slot(d.noun(_NUMERIC, 0.1), values.whole(-20, 120))
    a, b = d.arg("low", values.whole(0, 30)), d.arg("high", values.whole(40, 100))
    change = d.rng.random() < 0.4
    if change:
        return Method(
            d.say(f"clamp_{slot}", f"limit_{slot}", f"keep_{slot}_between", f"bound_{slot}", f"restrict_{slot}"),
            f"self.{slot} = max({a}, min({b}, self.{slot}))\nreturn self.{slot}",
            lambda s, low, high: s.update({slot: sorted((low, s[slot], high))[1]}) or s[slot],
        )
    return Method(
        d.say(f"clamped_{slot}", f"{slot}_between", f"{slot}_clamped", f"{slot}_within", f"bounded_{slot}"),
        f"return max({a}, min({b}, self.{slot}))",
        lambda s, low, high: sorted((low, s[slot], high))[1],
    )


def compare(d: Draw) -> Method:
    """Whether a slot is above, below, at least the argument."""
    slot = d.slot(d.noun(_NUMERIC, 0.1), values.whole(0, 50))
    a = d.arg("limit", values.whole(0, 50))
    operator, shapes = d.rng.choice(
        (
            (">", ("is_{x}_above", "is_{x}_over", "{x}_exceeds", "{x}_is_more_than", "has_more_{x}_than", "is_{x}_greater_than")),
            ("<", ("is_{x}_below", "is_{x}_under", "{x}_is_less_than", "has_less_{x}_than")),
            (">=", ("has_at_least_{x}", "is_{x}_at_least", "has_enough_{x}", "{x}_reaches", "is_{x}_enough", "{x}_suffices")),
            ("==", ("is_{x}_equal_to", "{x}_equals", "is_{x}_exactly")),
            ("<=", ("is_{x}_at_most", "{x}_within_limit")),
        )
    )
    outcome = {">": int.__gt__, "<": int.__lt__, ">=": int.__ge__, "==": int.__eq__, "<=": int.__le__}[operator]
    return Method(
        d.say(*(shape.format(x=slot) for shape in shapes)), f"return self.{slot} {operator} {a}", lambda s, n: outcome(s[slot], n)
    )


def afford(d: Draw) -> Method:
    """Whether there is enough money."""
    slot = d.slot(d.rng.choice(("balance", "budget", "cash", "savings", "funds", "wallet", "coins", "money")), values.whole(0, 60))
    if d.rng.random() < 0.6:
        a = d.arg("price", values.whole(0, 60))
        return Method(
            d.say("can_afford", "can_afford", "can_pay", "can_buy_for", "has_enough_for", "is_enough_for"),
            f"return self.{slot} >= {a}",
            lambda s, n: not s[slot] < n,
        )
    companion = d.slot(d.noun(words.MONEY, 0), values.whole(0, 60))
    return Method(
        d.say(f"can_afford_{companion}", f"can_pay_{companion}", f"has_enough_for_{companion}", "can_afford_it"),
        f"return self.{slot} >= self.{companion}",
        lambda s: not s[slot] < s[companion],
    )


_LIMITS = (
    ("used", "capacity", "full"),
    ("guests", "seats", "full"),
    ("count", "limit", "full"),
    ("passengers", "capacity", "full"),
    ("students", "places", "full"),
    ("size", "max_size", "full"),
    ("load", "max_load", "full"),
    ("booked", "rooms", "full"),
    ("level", "max_level", "full"),
)


def full(d: Draw) -> Method:
    """Whether a slot has reached its limit."""
    part, whole, word = d.rng.choice(_LIMITS)
    d.slot(part, values.whole(0, 10))
    d.slot(whole, values.whole(3, 9))
    if d.rng.random() < 0.6:
        return Method(
            d.say(f"is_{word}", f"is_{word}", f"{word}_already", f"is_{part}_at_limit", "is_at_capacity"),
            f"return self.{part} >= self.{whole}",
            lambda s: not s[part] < s[whole],
        )
    return Method(
        d.say("has_room", "has_space", "has_free_place", f"not_{word}", "can_take_more"),
        f"return self.{part} < self.{whole}",
        lambda s: s[whole] - s[part] > 0,
    )


def against_limit(d: Draw) -> Method:
    """A slot against another slot that bears the limit."""
    slot = d.noun(_NUMERIC, 0)
    kind = d.rng.choice(("max", "min", "limit"))
    companion = f"{slot}_limit" if kind == "limit" else f"{kind}_{slot}"
    d.slot(slot, values.whole(0, 50))
    d.slot(companion, values.whole(0, 50))
    if kind == "min":
        return Method(
            d.say(f"is_{slot}_too_low", f"is_{slot}_low", f"{slot}_below_minimum", f"needs_{slot}", f"is_{slot}_under_minimum"),
            f"return self.{slot} < self.{companion}",
            lambda s: s[companion] > s[slot],
        )
    return Method(
        d.say(f"is_{slot}_too_high", f"is_over_{slot}_limit", f"{slot}_above_limit", f"exceeds_{companion}", f"is_{slot}_over_limit"),
        f"return self.{slot} > self.{companion}",
        lambda s: s[companion] < s[slot],
    )


def zero(d: Draw) -> Method:
    """Whether a slot is zero, positive, even."""
    slot = d.slot(d.noun(words.TALLIES + words.COUNTS + ("stock", "supply", "balance", "debt"), 0.1), values.whole(-2, 3))
    kind = d.rng.choice(("zero", "positive", "negative", "even", "odd", "some"))
    selectors = {
        "zero": (f"is_{slot}_zero", f"has_no_{slot}", f"is_out_of_{slot}", f"no_{slot}_left"),
        "positive": (f"is_{slot}_positive", f"{slot}_is_positive"),
        "negative": (f"is_{slot}_negative", f"{slot}_is_negative"),
        "even": (f"is_{slot}_even", f"{slot}_is_even"),
        "odd": (f"is_{slot}_odd", f"{slot}_is_odd"),
        "some": (f"has_{slot}", f"has_{slot}_left", f"any_{slot}", f"{slot}_available"),
    }[kind]
    text = {"zero": "== 0", "positive": "> 0", "negative": "< 0", "even": "% 2 == 0", "odd": "% 2 == 1", "some": "> 0"}[kind]
    return Method(
        d.say(*selectors),
        f"return self.{slot} {text}",
        lambda s: {
            "zero": not s[slot],
            "positive": s[slot] > 0,
            "negative": s[slot] < 0,
            "even": not s[slot] & 1,
            "odd": bool(s[slot] & 1),
            "some": s[slot] > 0,
        }[kind],
    )


def status(d: Draw) -> Method:
    """'high' or 'low', against an argument or against two limits."""
    slot = d.slot(d.noun(words.LEVELS, 0.1), values.whole(0, 60))
    if d.rng.random() < 0.5:
        a = d.arg("limit", values.whole(10, 50))
        return Method(
            d.say(f"{slot}_status", f"{slot}_high_or_low", f"rate_{slot}", f"judge_{slot}", f"{slot}_rating"),
            f"return 'high' if self.{slot} > {a} else 'low'",
            lambda s, n: ("low", "high")[s[slot] > n],
        )
    low, high = (
        d.slot(f"low_{slot}" if d.rng.random() < 0.5 else "low_limit", values.whole(0, 20)),
        d.slot(f"high_{slot}" if d.rng.random() < 0.5 else "high_limit", values.whole(30, 50)),
    )
    body = f"if self.{slot} < self.{low}:\n    return 'low'\nif self.{slot} > self.{high}:\n    return 'high'\nreturn 'normal'"
    return Method(
        d.say(f"{slot}_status", f"{slot}_condition", f"rate_{slot}", f"check_{slot}", f"{slot}_state"),
        body,
        lambda s: "low" if s[low] > s[slot] else ("high" if s[high] < s[slot] else "normal"),
    )


def winner(d: Draw) -> Method:
    """Which of two slots is ahead, by the word before the noun."""
    noun = d.noun(words.TALLIES + words.SERIES, 0)
    singular, two = d.rng.sample(
        ("home", "away", "red", "blue", "left", "right", "old", "new", "north", "south", "white", "black", "first", "second"), 2
    )
    first, second = d.slot(f"{singular}_{noun}", values.whole(0, 5)), d.slot(f"{two}_{noun}", values.whole(0, 5))
    body = f"if self.{first} > self.{second}:\n    return '{singular}'\nif self.{second} > self.{first}:\n    return '{two}'\nreturn 'tie'"
    return Method(
        d.say("winner", "winner", f"leader_in_{noun}", "who_wins", "who_leads", f"winner_by_{noun}", f"more_{noun}"),
        body,
        lambda s: "tie" if s[first] == s[second] else (singular if s[first] > s[second] else two),
    )


def best(d: Draw) -> Method:
    """A record that only a better value replaces."""
    noun = d.noun(words.SERIES, 0)
    high = d.rng.random() < 0.6
    slot = d.slot(
        f"{d.rng.choice(('best', 'highest', 'max', 'top', 'record')) if high else d.rng.choice(('lowest', 'min', 'least'))}_{noun}",
        values.whole(0, 60),
    )
    a = d.arg(noun, values.whole(0, 60))
    selector = d.say(f"update_{slot}", f"consider_{noun}", f"try_{noun}", f"offer_{noun}", f"submit_{noun}", f"keep_{slot}")
    return Method(
        selector,
        f"self.{slot} = {'max' if high else 'min'}(self.{slot}, {a})\nreturn self.{slot}",
        lambda s, n: s.update({slot: sorted((n, s[slot]))[1 if high else 0]}) or s[slot],
    )


def grade(d: Draw) -> Method:
    """A word that a flag or a text chooses among two slots."""
    noun = d.noun(words.MONEY + words.LEVELS, 0)
    flag = d.slot(d.noun(words.ADJECTIVES, 0), values.flag)
    singular, two = f"{flag}_{noun}", f"normal_{noun}"
    d.slot(singular, values.number)
    d.slot(two, values.number)
    selector = d.say(f"current_{noun}", f"effective_{noun}", f"{noun}_now", f"applicable_{noun}", f"actual_{noun}")
    return Method(selector, f"return self.{singular} if self.{flag} else self.{two}", lambda s: s[two] if not s[flag] else s[singular])


def adult(d: Draw) -> Method:
    """What an age allows."""
    slot = d.slot("age", values.whole(5, 80))
    word, limit, above = d.rng.choice(
        (("adult", 18, True), ("minor", 18, False), ("teenager", 13, True), ("senior", 65, True), ("grown_up", 18, True))
    )
    if word == "teenager":
        return Method(d.say("is_teenager", "is_a_teenager"), f"return 13 <= self.{slot} <= 19", lambda s: s[slot] in range(13, 20))
    return Method(
        d.say(f"is_{word}", f"is_{word}", f"is_an_{word}"),
        f"return self.{slot} {'>=' if above else '<'} {limit}",
        lambda s: (s[slot] > limit - 1) is above,
    )


FAMILIES = (clamp, compare, compare, afford, full, against_limit, zero, status, winner, best, grade, adult)
