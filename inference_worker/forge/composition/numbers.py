"""Operators that answer a number."""

from inference_worker.forge.composition.scene import Operator, Scene
from inference_worker.forge.composition.term import Term, compound


def _operand(scene: Scene, depth: int) -> Term:
    """A number whose words stay clear inside arithmetic."""
    for _ in range(8):
        term = scene.term("number", depth)
        if not term.sentence:
            return term
    return scene.number()


def plus(scene: Scene, depth: int) -> Term:
    """Two numbers added."""
    left, right = _operand(scene, depth), _operand(scene, 0)
    name = scene.choose(f"{left.name}_plus_{right.name}", f"sum_of_{left.name}_and_{right.name}", f"{left.name}_and_{right.name}_together")
    return compound("number", "plus", f"{left.code} + {right.code}", name, left, right, tight=False, sentence=True)


def minus(scene: Scene, depth: int) -> Term:
    """One less the other."""
    left, right = _operand(scene, depth), _operand(scene, 0)
    name = scene.choose(
        f"{left.name}_minus_{right.name}",
        f"{left.name}_less_{right.name}",
        f"{left.name}_without_{right.name}",
        f"difference_between_{left.name}_and_{right.name}",
        f"{left.name}_after_{right.name}",
    )
    return compound("number", "minus", f"{left.code} - {right.inside()}", name, left, right, tight=False, sentence=True)


def times(scene: Scene, depth: int) -> Term:
    """Two numbers multiplied."""
    left, right = _operand(scene, depth), _operand(scene, 0)
    name = scene.choose(
        f"{left.name}_times_{right.name}", f"{left.name}_multiplied_by_{right.name}", f"product_of_{left.name}_and_{right.name}"
    )
    return compound("number", "times", f"{left.inside()} * {right.inside()}", name, left, right, sentence=True)


def product_and(scene: Scene, depth: int) -> Term:
    """Two multiplied, a third added or taken away."""
    first, second, third = scene.number(), scene.number(), _operand(scene, depth)
    sign, word = (("+", "plus"), ("-", "minus"))[scene.chance(0.5)]
    name = f"{first.name}_times_{second.name}_{word}_{third.name}"
    return compound(
        "number",
        f"times_{word}",
        f"{first.code} * {second.code} {sign} {third.inside()}",
        name,
        first,
        second,
        third,
        tight=False,
        sentence=True,
    )


def per(scene: Scene, depth: int) -> Term:
    """One divided by the other."""
    left, right = _operand(scene, depth), scene.number()
    name = scene.choose(f"{left.name}_per_{right.name}", f"{left.name}_divided_by_{right.name}", f"ratio_of_{left.name}_to_{right.name}")
    return compound("number", "per", f"{left.inside()} / {right.code}", name, left, right, sentence=True)


def percent(scene: Scene, depth: int) -> Term:
    """One as a percentage of the other."""
    left, right = _operand(scene, depth), scene.number()
    name = scene.choose(
        f"{left.name}_as_percent_of_{right.name}", f"{left.name}_percent_of_{right.name}", f"percentage_of_{left.name}_in_{right.name}"
    )
    return compound("number", "percent", f"{left.inside()} / {right.code} * 100", name, left, right, sentence=True)


def with_amount(scene: Scene, depth: int) -> Term:
    """A number and the argument."""
    left, amount = _operand(scene, depth), scene.amount(2, 9)
    sign, names = scene.rng.choice(
        (
            ("+", ("plus", "increased_by", "raised_by")),
            ("-", ("minus", "reduced_by", "decreased_by")),
            ("*", ("times", "multiplied_by")),
            ("/", ("divided_by", "split_by", "shared_by")),
        )
    )
    word = scene.choose(*names)
    code = f"{left.inside()} {sign} {amount}"
    return compound("number", f"amount{sign}", code, f"{left.name}_{word}", left, tight=sign in "*/", sentence=True)


def larger(scene: Scene, depth: int) -> Term:
    """The larger or the smaller of two."""
    left, right = _operand(scene, depth), _operand(scene, 0)
    high = scene.chance(0.5)
    words = ("larger_of", "higher_of", "maximum_of", "greater_of") if high else ("smaller_of", "lower_of", "minimum_of")
    name = f"{scene.choose(*words)}_{left.name}_and_{right.name}"
    return compound("number", f"larger{high}", f"{'max' if high else 'min'}({left.code}, {right.code})", name, left, right, sentence=True)


def gap(scene: Scene, depth: int) -> Term:
    """How far two numbers are apart, without a sign."""
    left, right = scene.number(), scene.number()
    name = scene.choose(
        f"absolute_difference_of_{left.name}_and_{right.name}", f"gap_between_{left.name}_and_{right.name}",
        f"distance_between_{left.name}_and_{right.name}",
    )  # fmt: skip
    return compound("number", "gap", f"abs({left.code} - {right.code})", name, left, right, sentence=True)


def rounded(scene: Scene, depth: int) -> Term:
    """To a whole number, or to two places."""
    left = scene.term("number", depth)
    whole = scene.chance(0.6)
    name = scene.choose(f"rounded_{left.name}", f"{left.name}_rounded") if whole else f"{left.name}_to_two_decimals"
    return compound("number", f"round{whole}", f"round({left.code})" if whole else f"round({left.code}, 2)", name, left)


def total(scene: Scene, depth: int) -> Term:
    """The sum of a list."""
    several = scene.term("numbers", depth)
    name = scene.choose(
        f"total_{several.name}", f"total_{several.singular}", f"sum_of_{several.name}", f"sum_{several.name}", f"total_of_{several.name}"
    )
    return compound("number", "sum", f"sum({several.code})", name, several)


def average(scene: Scene, depth: int) -> Term:
    """The mean, 0 of nothing."""
    several = scene.numbers() if scene.chance(0.5) else scene.term("numbers", depth)
    name = scene.choose(f"average_{several.singular}", f"mean_{several.singular}", f"average_{several.name}", f"average_of_{several.name}")
    code = f"sum({several.code}) / len({several.code}) if {several.code} else 0"
    return compound("number", "mean", code, name, several, tight=False)


def extreme(scene: Scene, depth: int) -> Term:
    """The largest or smallest of a list, None of nothing."""
    several = scene.term("numbers", depth)
    high = scene.chance(0.5)
    words = ("highest", "max", "largest", "maximum", "biggest") if high else ("lowest", "min", "smallest", "minimum")
    call = "max" if high else "min"
    slot = several.shape == "N"
    code = f"{call}({several.code}) if {several.code} else None" if slot else f"{call}({several.code}, default=None)"
    return compound("number", f"extreme{high}", code, f"{scene.choose(*words)}_{several.singular}", several, tight=not slot, sentence=True)


def spread(scene: Scene, depth: int) -> Term:
    """From the smallest to the largest."""
    several = scene.numbers()
    name = scene.choose(f"{several.singular}_range", f"range_of_{several.name}", f"{several.singular}_spread", f"spread_of_{several.name}")
    return compound("number", "spread", f"max({several.code}) - min({several.code})", name, several, tight=False, sentence=True)


def count(scene: Scene, depth: int) -> Term:
    """How many."""
    several = scene.term(scene.rng.choice(("numbers", "texts", "rows")), depth)
    name = scene.choose(f"count_{several.name}", f"number_of_{several.name}", f"how_many_{several.name}", f"count_of_{several.name}")
    return compound("number", "count", f"len({several.code})", name, several)


def median(scene: Scene, depth: int) -> Term:
    """The middle one of the sorted."""
    several = scene.numbers(3)
    name = scene.choose(f"median_{several.singular}", f"median_of_{several.name}", f"middle_{several.singular}")
    return compound("number", "median", f"sorted({several.code})[len({several.code}) // 2]", name, several)


def product(scene: Scene, depth: int) -> Term:
    """Two lists multiplied item by item and summed."""
    left, right = scene.numbers(), scene.numbers()
    name = scene.choose(
        f"sum_of_{left.name}_times_{right.name}", f"total_of_{left.name}_times_{right.name}", f"dot_product_of_{left.name}_and_{right.name}"
    )
    code = f"sum(x * y for x, y in zip({left.code}, {right.code}))"
    return compound("number", "dot", code, name, left, right, sentence=True)


def difference_of_totals(scene: Scene, depth: int) -> Term:
    """The sum of one list less that of another."""
    left, right = scene.numbers(), scene.numbers()
    name = scene.choose(
        f"total_{left.name}_minus_total_{right.name}",
        f"{left.name}_total_minus_{right.name}_total",
        f"sum_of_{left.name}_minus_sum_of_{right.name}",
    )
    return compound("number", "sums-", f"sum({left.code}) - sum({right.code})", name, left, right, tight=False, sentence=True)


def length(scene: Scene, depth: int) -> Term:
    """How long a text is, or how many words it has."""
    text = scene.term("text", depth)
    if scene.chance(0.5):
        return compound("number", "length", f"len({text.code})", scene.choose(f"length_of_{text.name}", f"{text.name}_length"), text)
    name = scene.choose(f"words_in_{text.name}", f"word_count_of_{text.name}", f"{text.name}_word_count", f"number_of_words_in_{text.name}")
    return compound("number", "words", f"len({text.inside()}.split())", name, text)


def occurrences(scene: Scene, depth: int) -> Term:
    """How often a letter is in a text, or a word in a list."""
    if scene.chance(0.5):
        text, letter = scene.text(), scene.letter()
        name = scene.choose(f"count_in_{text.name}", f"occurrences_in_{text.name}", f"how_often_in_{text.name}")
        return compound("number", "occurrences", f"{text.code}.count({letter})", name, text)
    texts = scene.texts()
    word = scene.word(texts.code)
    name = scene.choose(f"occurrences_in_{texts.name}", f"count_in_{texts.name}", f"times_in_{texts.name}")
    return compound("number", "occurrences", f"{texts.code}.count({word})", name, texts)


def of_ledger(scene: Scene, depth: int) -> Term:
    """The sum, the mean, the largest of a dict's values, or how many entries."""
    ledger = scene.term("ledger", depth)
    match scene.rng.randrange(4):
        case 0:
            return compound(
                "number", "vsum", f"sum({ledger.code}.values())", scene.choose(f"total_{ledger.name}", f"sum_of_{ledger.name}"), ledger
            )
        case 1:
            code = f"sum({ledger.code}.values()) / len({ledger.code}) if {ledger.code} else 0"
            return compound("number", "vmean", code, scene.choose(f"average_{ledger.name}", f"mean_of_{ledger.name}"), ledger, tight=False)
        case 2:
            high = scene.chance(0.5)
            words = ("highest", "largest", "maximum") if high else ("lowest", "smallest", "minimum")
            code = f"{'max' if high else 'min'}({ledger.code}.values())"
            return compound("number", f"vextreme{high}", code, f"{scene.choose(*words)}_of_{ledger.name}", ledger)
        case _:
            return compound(
                "number", "vcount", f"len({ledger.code})", scene.choose(f"count_{ledger.name}", f"number_of_{ledger.name}"), ledger
            )


def share(scene: Scene, depth: int) -> Term:
    """One entry's part of the whole, in percent."""
    ledger = scene.ledger()
    key = scene.word(ledger.code)
    name = scene.choose(f"percent_of_{ledger.name}", f"share_of_{ledger.name}_in_percent", f"percentage_of_{ledger.name}")
    return compound("number", "share", f"{ledger.code}.get({key}, 0) / sum({ledger.code}.values()) * 100", name, ledger, sentence=True)


def position(scene: Scene, depth: int) -> Term:
    """Where something is in a list, -1 if it is not."""
    texts = scene.texts(distinct=True)
    word = scene.word(texts.code)
    name = scene.choose(f"position_in_{texts.name}", f"index_in_{texts.name}", f"place_in_{texts.name}")
    return compound("number", "position", f"{texts.code}.index({word}) if {word} in {texts.code} else -1", name, texts, tight=False)


def distinct(scene: Scene, depth: int) -> Term:
    """How many different ones."""
    several = scene.term("texts", depth)
    name = scene.choose(f"count_unique_{several.name}", f"number_of_distinct_{several.name}", f"number_of_different_{several.name}")
    return compound("number", "distinct", f"len(set({several.code}))", name, several)


OPERATORS: tuple[Operator, ...] = (
    plus,
    minus,
    minus,
    times,
    product_and,
    per,
    percent,
    with_amount,
    with_amount,
    larger,
    gap,
    rounded,
    total,
    total,
    total,
    average,
    average,
    extreme,
    extreme,
    spread,
    count,
    count,
    count,
    median,
    product,
    difference_of_totals,
    length,
    occurrences,
    of_ledger,
    of_ledger,
    share,
    position,
    distinct,
)
