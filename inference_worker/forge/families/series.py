"""Lists of numbers."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

_NUMBERS = values.numbers(0, 6)
_SOME = values.numbers(1, 6)
FLAG = "self._p_changed = True"


def append(d: Draw) -> Method:
    """One more."""
    many, singular = d.things(_NUMBERS, words.SERIES)
    a = d.arg(d.rng.choice((singular, "value")), values.number)
    selector = d.say(
        f"add_{singular}",
        f"add_{singular}",
        f"record_{singular}",
        f"log_{singular}",
        f"append_{singular}",
        f"push_{singular}",
        f"new_{singular}",
        f"note_{singular}",
        f"enter_{singular}",
        f"add_to_{many}",
        f"store_{singular}",
    )
    return Method(selector, f"self.{many}.append({a})\n{FLAG}\nreturn self.{many}", lambda s, v: s.update({many: s[many] + [v]}) or s[many])


def total(d: Draw) -> Method:
    """The sum."""
    many, singular = d.things(_NUMBERS, words.SERIES)
    selector = d.say(
        f"total_{many}",
        f"total_{singular}",
        f"total_{singular}",
        f"sum_of_{many}",
        f"sum_{many}",
        f"{many}_sum",
        f"{many}_total",
        f"add_up_{many}",
        f"all_{many}_together",
        f"overall_{singular}",
        f"combined_{singular}",
        "total",
    )
    return Method(selector, f"return sum(self.{many})", lambda s: _summed(s[many]))


def _summed(numbers: list[float]) -> float:
    outcome: float = 0
    for number in numbers:
        outcome = outcome + number
    return outcome


def average(d: Draw) -> Method:
    """The mean, 0 of nothing."""
    many, singular = d.things(_NUMBERS, words.SERIES)
    selector = d.say(
        f"average_{singular}",
        f"average_{singular}",
        f"average_{many}",
        f"mean_{singular}",
        f"average_of_{many}",
        f"{singular}_average",
        f"mean_of_{many}",
        f"{many}_average",
        f"typical_{singular}",
        "average",
    )
    return Method(
        selector, f"return sum(self.{many}) / len(self.{many}) if self.{many} else 0", lambda s: _summed(s[many]) / max(1, len(s[many]))
    )


def extreme(d: Draw) -> Method:
    """The highest or the lowest, None of nothing."""
    many, singular = d.things(_NUMBERS, words.SERIES)
    high = d.rng.random() < 0.55
    selectors = (
        (
            f"highest_{singular}",
            f"highest_{singular}",
            f"max_{singular}",
            f"largest_{singular}",
            f"best_{singular}",
            f"top_{singular}",
            f"maximum_{singular}",
            f"biggest_{singular}",
            f"greatest_{singular}",
            f"{singular}_record",
            f"peak_{singular}",
        )
        if high
        else (
            f"lowest_{singular}",
            f"lowest_{singular}",
            f"min_{singular}",
            f"smallest_{singular}",
            f"minimum_{singular}",
            f"least_{singular}",
            f"worst_{singular}",
        )
    )
    return Method(
        d.say(*selectors),
        f"return {'max' if high else 'min'}(self.{many}) if self.{many} else None",
        lambda s: (sorted(s[many])[-1 if high else 0]) if s[many] else None,
    )


def spread(d: Draw) -> Method:
    """From the lowest to the highest."""
    many, singular = d.things(_SOME, words.SERIES)
    return Method(
        d.say(f"{singular}_range", f"{singular}_spread", f"spread_of_{many}", f"range_of_{many}", f"{many}_range"),
        f"return max(self.{many}) - min(self.{many})",
        lambda s: sorted(s[many])[-1] - sorted(s[many])[0],
    )


def beyond(d: Draw) -> Method:
    """Those above or below, or how many."""
    many, _singular = d.things(_NUMBERS, words.SERIES)
    a = d.arg("limit", values.whole(5, 80))
    above, counted = d.rng.random() < 0.6, d.rng.random() < 0.4
    shapes = ("above", "over", "greater_than", "higher_than", "more_than") if above else ("below", "under", "less_than", "lower_than")
    shape = d.rng.choice(shapes)
    selector = (
        d.say(f"count_{many}_{shape}", f"how_many_{many}_{shape}", f"number_of_{many}_{shape}")
        if counted
        else d.say(f"{many}_{shape}", f"{many}_{shape}", f"list_{many}_{shape}", f"find_{many}_{shape}")
    )
    listed = f"[v for v in self.{many} if v {'>' if above else '<'} {a}]"

    def expectation(s: values.Slots, limit: float) -> object:
        matching = [v for v in s[many] if (v - limit > 0 if above else limit - v > 0)]
        return len(matching) if counted else matching

    return Method(selector, f"return len({listed})" if counted else f"return {listed}", expectation)


def ordered(d: Draw) -> Method:
    """Sorted, up or down."""
    many, _singular = d.things(_NUMBERS, words.SERIES)
    if d.rng.random() < 0.5:
        return Method(
            d.say(
                f"sorted_{many}", f"{many}_sorted", f"{many}_in_order", f"ordered_{many}", f"{many}_ascending", f"{many}_from_low_to_high"
            ),
            f"return sorted(self.{many})",
            lambda s: sorted(s[many]),
        )
    return Method(
        d.say(f"{many}_descending", f"{many}_from_high_to_low", f"{many}_highest_first", f"ranked_{many}", f"{many}_best_first"),
        f"return sorted(self.{many}, reverse=True)",
        lambda s: sorted(s[many])[::-1],
    )


def mapped(d: Draw) -> Method:
    """Each one times, plus."""
    many, _singular = d.things(_NUMBERS, words.SERIES)
    kind = d.rng.choice(("doubled", "halved", "times", "plus", "rounded", "squared"))
    if kind in ("times", "plus"):
        a = d.arg("amount", values.whole(1, 9))
        selector = (
            d.say(f"{many}_times", f"{many}_multiplied_by", f"scaled_{many}")
            if kind == "times"
            else d.say(f"{many}_plus", f"{many}_increased_by", f"{many}_shifted_by")
        )
        return Method(
            selector,
            f"return [v {'*' if kind == 'times' else '+'} {a} for v in self.{many}]",
            lambda s, n: [v * n if kind == "times" else v + n for v in s[many]],
        )
    selector = d.say(f"{kind}_{many}", f"{many}_{kind}")
    text = {"doubled": "v * 2", "halved": "v / 2", "rounded": "round(v)", "squared": "v * v"}[kind]
    return Method(
        selector,
        f"return [{text} for v in self.{many}]",
        lambda s: [{"doubled": v + v, "halved": v / 2, "rounded": round(v), "squared": v * v}[kind] for v in s[many]],
    )


def running(d: Draw) -> Method:
    """The sums so far."""
    many, singular = d.things(_NUMBERS, words.SERIES)
    body = f"return [sum(self.{many}[:i + 1]) for i in range(len(self.{many}))]"
    return Method(
        d.say(f"running_{singular}_totals", f"cumulative_{many}", f"running_total_of_{many}", f"{many}_so_far", f"running_{many}"),
        body,
        lambda s: [_summed(s[many][: n + 1]) for n in range(len(s[many]))],
    )


def end(d: Draw) -> Method:
    """The first or last."""
    many, singular = d.things(_NUMBERS, words.SERIES)
    first = d.rng.random() < 0.4
    selector = (
        d.say(f"first_{singular}", f"oldest_{singular}")
        if first
        else d.say(f"last_{singular}", f"latest_{singular}", f"newest_{singular}", f"most_recent_{singular}")
    )
    return Method(
        selector,
        f"return self.{many}[{0 if first else -1}] if self.{many} else None",
        lambda s: (s[many][0] if first else s[many][-1]) if len(s[many]) else None,
    )


def count(d: Draw) -> Method:
    """How many."""
    many, singular = d.things(_NUMBERS, words.SERIES)
    return Method(
        d.say(f"count_{many}", f"number_of_{many}", f"how_many_{many}", f"{singular}_count", f"{many}_count"),
        f"return len(self.{many})",
        lambda s: sum(1 for _ in s[many]),
    )


def text(d: Draw) -> Method:
    """All in one text."""
    many, _singular = d.things(_NUMBERS, words.SERIES)
    return Method(
        d.say(f"{many}_text", f"{many}_as_text", f"join_{many}", f"{many}_joined", f"{many}_line"),
        f"return ', '.join(str(v) for v in self.{many})",
        lambda s: str(s[many])[1:-1],
    )


def change(d: Draw) -> Method:
    """From the first to the last."""
    many, singular = d.things(_SOME, words.SERIES)
    return Method(
        d.say(f"{singular}_change", f"change_of_{singular}", f"change_in_{many}", f"{singular}_growth", f"growth_of_{singular}"),
        f"return self.{many}[-1] - self.{many}[0]",
        lambda s: s[many][len(s[many]) - 1] - s[many][0],
    )


def weighted(d: Draw) -> Method:
    """Two lists multiplied item by item and summed."""
    (first, singular), (second, _) = (
        d.things(values.list_of(values.money, 2, 4), words.SERIES, 0),
        d.things(
            values.list_of(values.whole(1, 9), 2, 4), ("factor", "count", "share", "unit", "time", "multiplier", "piece", "portion"), 0
        ),
    )
    selector = d.say(f"total_{singular}", f"sum_of_{first}_times_{second}", f"weighted_{singular}")
    if selector.startswith("total"):
        selector = f"total_of_{first}_times_{second}"
    return Method(
        selector,
        f"return sum(x * y for x, y in zip(self.{first}, self.{second}))",
        lambda s: sum(s[first][n] * s[second][n] for n in range(min(len(s[first]), len(s[second])))),
    )


FAMILIES = (
    append,
    total,
    total,
    average,
    average,
    extreme,
    extreme,
    spread,
    beyond,
    ordered,
    mapped,
    running,
    end,
    count,
    text,
    change,
    weighted,
)
