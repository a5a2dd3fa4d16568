"""Dates and times of day held as texts, and small loops over numbers."""

from collections.abc import Callable

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method


def _dated(d: Draw) -> str:
    word = d.noun(words.STAMPS, 0)
    slot = d.slot(word if d.rng.random() < 0.7 else f"{word}_on", values.stamp)
    d.shunned |= set(words.STAMPS)
    return slot


_PARTS: dict[str, Callable[[str], int | str]] = {
    "year": lambda v: int(v.split("-")[0]),
    "month": lambda v: int(v.split("-")[1]),
    "day": lambda v: int(v.split("T")[0].split("-")[2]),
    "date": lambda v: v.split("T")[0],
}


def part(d: Draw) -> Method:
    """Year, month, day, date."""
    slot = _dated(d)
    kind, text = d.rng.choice(
        (
            ("year", "int(self.{x}[:4])"),
            ("year", "int(self.{x}[:4])"),
            ("month", "int(self.{x}[5:7])"),
            ("day", "int(self.{x}[8:10])"),
            ("date", "self.{x}[:10]"),
        )
    )
    selector = d.say(
        f"{slot}_{kind}",
        f"{kind}_of_{slot}",
        f"{kind}_{slot}",
        f"get_{slot}_{kind}",
        f"{slot}_in_{kind}" if kind == "year" else f"{slot}_{kind}_only",
    )
    return Method(
        selector,
        f"return {text.format(x=slot)}",
        lambda s: _PARTS[kind](s[slot]),
    )


def years(d: Draw) -> Method:
    """How many years from a date to a year."""
    slot = _dated(d)
    a = d.arg("year", values.whole(2025, 2040))
    return Method(
        d.say("age_in", "age_in_year", f"years_since_{slot}", f"years_from_{slot}", "how_old_in", f"years_{slot}_until"),
        f"return {a} - int(self.{slot}[:4])",
        lambda s, n: n - int(s[slot].split("-")[0]),
    )


def before(d: Draw) -> Method:
    """Whether a date is before or after."""
    slot = _dated(d)
    a = d.arg("date", values.date)
    if d.rng.random() < 0.5:
        return Method(
            d.say(f"{slot}_before", f"was_{slot}_before", f"is_{slot}_before", f"is_{slot}_earlier_than"),
            f"return self.{slot} < {a}",
            lambda s, v: v > s[slot],
        )
    return Method(
        d.say(f"{slot}_after", f"was_{slot}_after", f"is_{slot}_after", f"is_{slot}_later_than"),
        f"return self.{slot} > {a}",
        lambda s, v: v < s[slot],
    )


def clock(d: Draw) -> Method:
    """Hours and minutes of a time such as 07:45."""
    slot = d.slot(
        d.rng.choice(("start", "opens", "closes", "departure", "arrival", "wake_time", "lunch", "alarm", "bedtime", "sunrise")),
        values.clock,
    )
    kind = d.rng.choice(("hour", "minute", "minutes"))
    text = {
        "hour": f"int(self.{slot}[:2])",
        "minute": f"int(self.{slot}[3:])",
        "minutes": f"int(self.{slot}[:2]) * 60 + int(self.{slot}[3:])",
    }[kind]
    selectors = {
        "hour": (f"{slot}_hour", f"hour_of_{slot}", f"get_{slot}_hour"),
        "minute": (f"{slot}_minute", f"minute_of_{slot}"),
        "minutes": (f"{slot}_in_minutes", f"minutes_of_{slot}", f"{slot}_as_minutes"),
    }[kind]

    def expectation(s: values.Slots) -> int:
        hour, minute = (int(text) for text in s[slot].split(":"))
        return {"hour": hour, "minute": minute, "minutes": 60 * hour + minute}[kind]

    return Method(d.say(*selectors), f"return {text}", expectation)


def span(d: Draw) -> Method:
    """From one number to another: years, pages, hours."""
    first, second = d.rng.choice(
        (
            ("start_year", "end_year"),
            ("start_hour", "end_hour"),
            ("first_page", "last_page"),
            ("begin_minute", "end_minute"),
            ("birth_year", "death_year"),
            ("odometer_start", "odometer_end"),
            ("start_km", "end_km"),
        )
    )
    d.slot(first, values.whole(1, 40))
    d.slot(second, values.whole(41, 99))
    return Method(
        d.say("duration", "length", "span", f"from_{first}_to_{second}", "elapsed", "difference", "distance_covered"),
        f"return self.{second} - self.{first}",
        lambda s: s[second] - s[first],
    )


def counting(d: Draw) -> Method:
    """Numbers counted up or down."""
    slot = d.slot(d.noun(words.COUNTS + words.TALLIES, 0.1), values.whole(1, 8))
    if d.rng.random() < 0.5:
        return Method(
            d.say(f"countdown_from_{slot}", f"{slot}_countdown", f"count_down_{slot}"),
            f"return list(range(self.{slot}, 0, -1))",
            lambda s: [s[slot] - n for n in range(s[slot])],
        )
    return Method(
        d.say(f"count_to_{slot}", f"numbers_to_{slot}", f"one_to_{slot}", f"count_up_to_{slot}"),
        f"return list(range(1, self.{slot} + 1))",
        lambda s: [n + 1 for n in range(s[slot])],
    )


def growth(d: Draw) -> Method:
    """A sum that grows by a rate each year."""
    slot = d.slot(d.noun(("balance", "savings", "capital", "population", "debt", "funds", "deposit"), 0), values.whole(10, 500))
    rate = d.slot(d.rng.choice(("rate", "interest_rate", "growth_rate")), values.decimal(0.01, 0.2))
    a = d.arg("years", values.whole(0, 4))
    body = f"value = self.{slot}\nfor i in range({a}):\n    value = value * (1 + self.{rate})\nreturn value"
    return Method(
        d.say(f"{slot}_after_years", f"{slot}_in_years", f"grown_{slot}", f"future_{slot}", f"{slot}_after"),
        body,
        lambda s, n: s[slot] * (1 + s[rate]) ** n,
    )


FAMILIES = (part, part, years, before, clock, span, counting, growth)
