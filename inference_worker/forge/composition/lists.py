"""Operators that answer a list of numbers or of texts."""

from inference_worker.forge.composition.scene import Operator, Scene
from inference_worker.forge.composition.term import Kind, Term, compound


def _filtered(scene: Scene, several: Term, operator: str, test: str, words: str, before: str = "") -> Term:
    """A list's items that pass a test; `words` come after the list's name, `before` in front of it."""
    prefix, suffix = f"{before}_" if before else "", f"_{words}" if words else ""
    code = f"[v for v in {several.code} if {test}]"
    return compound(
        several.kind, operator, code, f"{prefix}{several.name}{suffix}", several, singular=f"{prefix}{several.singular}{suffix}"
    )


def numbers_beyond(scene: Scene, depth: int) -> Term:
    """Above, below, at least, equal to the argument or a slot."""
    several = scene.numbers(3)
    sign, names = scene.rng.choice(
        (
            (">", ("above", "over", "greater_than", "higher_than", "more_than", "exceeding")),
            ("<", ("below", "under", "less_than", "lower_than", "smaller_than")),
            (">=", ("at_least", "from", "no_less_than")),
            ("<=", ("at_most", "up_to", "no_more_than")),
            ("==", ("equal_to",)),
            ("!=", ("other_than", "different_from")),
        )
    )
    word = scene.choose(*names)
    if scene.chance(0.35):
        limit = scene.number()
        return compound(
            "numbers",
            f"slot{sign}",
            f"[v for v in {several.code} if v {sign} {limit.code}]",
            f"{several.name}_{word}_{limit.name}",
            several,
            limit,
            singular=f"{several.singular}_{word}_{limit.name}",
        )
    return _filtered(scene, several, f"keep{sign}", f"v {sign} {scene.amount(5, 45)}", word)


def numbers_that_are(scene: Scene, depth: int) -> Term:
    """Even, odd, positive, above the average, between two bounds."""
    several = scene.numbers(3)
    match scene.rng.randrange(5):
        case 0:
            even = scene.chance(0.5)
            return _filtered(scene, several, f"even{even}", f"v % 2 == {0 if even else 1}", "", "even" if even else "odd")
        case 1:
            positive = scene.chance(0.5)
            return _filtered(
                scene, several, f"positive{positive}", f"v {'>' if positive else '<'} 0", "", "positive" if positive else "negative"
            )
        case 2 | 3:
            above = scene.chance(0.6)
            test = f"v {'>' if above else '<'} sum({several.code}) / len({several.code})"
            return _filtered(scene, several, f"average{above}", test, f"{'above' if above else 'below'}_average")
        case _:
            low, high = scene.amount(1, 20), scene.amount(25, 60)
            return _filtered(scene, several, "between", f"{low} <= v <= {high}", scene.choose("between", "within", "in_range"))


def texts_that(scene: Scene, depth: int) -> Term:
    """Texts that begin so, hold it, are longer or shorter, are not it."""
    several = scene.texts()
    match scene.rng.randrange(7):
        case 0:
            return _filtered(
                scene,
                several,
                "starts",
                f"v.startswith({scene.letter()})",
                scene.choose("starting_with", "beginning_with", "that_start_with"),
            )
        case 1:
            return _filtered(scene, several, "ends", f"v.endswith({scene.letter()})", scene.choose("ending_with", "that_end_with"))
        case 2:
            return _filtered(scene, several, "holds", f"{scene.letter()} in v", scene.choose("containing", "with_letter", "that_contain"))
        case 3:
            longer = scene.chance(0.5)
            names = ("longer_than", "with_more_letters_than") if longer else ("shorter_than", "with_fewer_letters_than")
            return _filtered(
                scene, several, f"longer{longer}", f"len(v) {'>' if longer else '<'} {scene.amount(4, 8)}", scene.choose(*names)
            )
        case 4:
            return _filtered(scene, several, "length", f"len(v) == {scene.amount(4, 7)}", scene.choose("of_length", "with_length"))
        case 5:
            return _filtered(scene, several, "not", f"v != {scene.word(several.code)}", scene.choose("without", "except", "other_than"))
        case _:
            compared = scene.texts()
            inside = scene.chance(0.4)
            words = (
                f"also_in_{compared.name}"
                if inside
                else scene.choose(f"not_in_{compared.name}", f"missing_from_{compared.name}", f"without_{compared.name}")
            )
            code = f"[v for v in {several.code} if v {'in' if inside else 'not in'} {compared.code}]"
            return compound(
                "texts", f"in{inside}", code, f"{several.name}_{words}", several, compared, singular=f"{several.singular}_{words}"
            )


def numbers_mapped(scene: Scene, depth: int) -> Term:
    """Each number changed."""
    several = scene.term("numbers", depth)
    code, names = scene.rng.choice(
        (
            ("v * 2", ("doubled_{}", "{}_doubled")),
            ("v / 2", ("halved_{}", "{}_halved")),
            ("v * 3", ("tripled_{}", "{}_tripled")),
            ("v * v", ("squared_{}", "{}_squared", "squares_of_{}")),
            ("round(v)", ("rounded_{}", "{}_rounded")),
            ("abs(v)", ("absolute_{}", "{}_without_sign")),
            ("-v", ("negated_{}", "{}_negated")),
            ("v + 1", ("{}_plus_one", "incremented_{}")),
        )
    )
    name = scene.choose(*names)
    return compound(
        "numbers", code, f"[{code} for v in {several.code}]", name.format(several.name), several, singular=name.format(several.singular)
    )


def numbers_with(scene: Scene, depth: int) -> Term:
    """Each number and the argument, or a slot, or the average."""
    several = scene.numbers()
    sign, names = scene.rng.choice(
        (("+", ("plus", "increased_by")), ("-", ("minus", "reduced_by")), ("*", ("times", "multiplied_by")), ("/", ("divided_by",)))
    )
    word = scene.choose(*names)
    parts: tuple[Term, ...] = (several,)
    match scene.rng.randrange(4):
        case 0 | 1:
            code, name = f"v {sign} {scene.amount(2, 9)}", word
        case 2:
            slot = scene.number()
            code, name, parts = f"v {sign} {slot.code}", f"{word}_{slot.name}", (several, slot)
        case _:
            code, name = f"v - sum({several.code}) / len({several.code})", "minus_average"
    return compound(
        "numbers",
        f"each{code[:3]}{len(parts)}",
        f"[{code} for v in {several.code}]",
        f"{several.name}_{name}",
        *parts,
        singular=f"{several.singular}_{name}",
    )


def capped(scene: Scene, depth: int) -> Term:
    """Each number at most, or at least, the argument."""
    several, bound = scene.numbers(), scene.amount(10, 40)
    high = scene.chance(0.6)
    words = ("capped_at", "limited_to") if high else ("raised_to_at_least",)
    name = scene.choose(*words)
    code = f"[{'min' if high else 'max'}(v, {bound}) for v in {several.code}]"
    return compound("numbers", f"capped{high}", code, f"{several.name}_{name}", several, singular=f"{several.singular}_{name}")


def pairwise(scene: Scene, depth: int) -> Term:
    """Two lists, item by item; or each against the one before."""
    left = scene.numbers(3)
    if scene.chance(0.3):
        code = f"[b - a for a, b in zip({left.code}, {left.code}[1:])]"
        return compound(
            "numbers",
            "steps",
            code,
            scene.choose(
                f"differences_of_{left.name}", f"changes_in_{left.name}", f"{left.name}_differences", f"steps_between_{left.name}"
            ),
            left,
        )
    right = scene.numbers(3)
    sign, words = scene.rng.choice((("+", ("plus",)), ("-", ("minus",)), ("*", ("times",))))
    word = scene.choose(*words)
    name = scene.choose(
        f"{left.name}_{word}_{right.name}", f"{left.name}_{word}_{right.name}_pairwise", f"each_{left.singular}_{word}_{right.singular}"
    )
    return compound("numbers", f"pair{sign}", f"[x {sign} y for x, y in zip({left.code}, {right.code})]", name, left, right)


def lengths(scene: Scene, depth: int) -> Term:
    """How long each text is."""
    several = scene.term("texts", depth)
    name = scene.choose(f"lengths_of_{several.name}", f"{several.singular}_lengths", f"{several.name}_lengths")
    return compound("numbers", "lengths", f"[len(v) for v in {several.code}]", name, several, singular=f"{several.singular}_length")


def texts_mapped(scene: Scene, depth: int) -> Term:
    """Each text changed."""
    several = scene.term("texts", depth)
    code, names = scene.rng.choice(
        (
            ("v.upper()", ("uppercase_{}", "{}_in_capitals", "upper_{}")),
            ("v.lower()", ("lowercase_{}", "{}_in_lowercase")),
            ("v.title()", ("{}_in_title_case", "titled_{}")),
            ("v.capitalize()", ("capitalized_{}", "{}_capitalized")),
            ("v[::-1]", ("reversed_letters_of_{}", "{}_spelled_backwards")),
            ("v[0]", ("first_letters_of_{}", "first_letter_of_each_of_{}")),
            ("v.replace(' ', '_')", ("{}_with_underscores",)),
            ("v + '!'", ("{}_with_exclamation_mark", "{}_with_exclamation_marks")),
        )
    )
    name = scene.choose(*names)
    return compound(
        "texts", code, f"[{code} for v in {several.code}]", name.format(several.name), several, singular=name.format(several.singular)
    )


def texts_with(scene: Scene, depth: int) -> Term:
    """Each text with something before or after it."""
    several = scene.texts()
    before = scene.chance(0.5)
    if scene.chance(0.6):
        word = scene.argument(
            "prefix" if before else "suffix", lambda rng, slots: rng.choice(("x-", "my ", "no. ", "the ", "-a", "s", "!"))
        )
        code = f"{word} + v" if before else f"v + {word}"
        return compound(
            "texts",
            f"affix{before}",
            f"[{code} for v in {several.code}]",
            f"{several.name}_with_{'prefix' if before else 'suffix'}",
            several,
        )
    text = scene.text()
    code = f"{text.code} + ' ' + v" if before else f"v + ' ' + {text.code}"
    name = (
        f"{several.name}_{'after' if before else 'before'}_{text.name}"
        if scene.chance(0.5)
        else f"{several.name}_with_{text.name}_{'in_front' if before else 'behind'}"
    )
    return compound("texts", f"affixslot{before}", f"[{code} for v in {several.code}]", name, several, text)


def ordered(kind: Kind) -> Operator:
    """Sorted, turned around, without repeats."""

    def operator(scene: Scene, depth: int) -> Term:
        several = scene.term(kind, depth)
        choices: list[tuple[str, tuple[str, ...]]] = [
            ("sorted({})", ("sorted_{}", "{}_sorted", "{}_in_order", "ordered_{}")),
            ("sorted({}, reverse=True)", ("{}_descending", "{}_in_descending_order", "{}_sorted_descending")),
            ("{}[::-1]", ("reversed_{}", "{}_backwards", "{}_in_reverse")),
            ("sorted(set({}))", ("sorted_unique_{}", "unique_{}_sorted", "distinct_{}_in_order")),
            ("list(dict.fromkeys({}))", ("unique_{}", "distinct_{}", "{}_without_duplicates", "{}_without_repeats")),
        ]
        if kind == "texts":
            choices.append(("sorted({}, key=len)", ("{}_by_length", "{}_sorted_by_length", "{}_from_short_to_long")))
        code, names = scene.rng.choice(choices)
        if "fromkeys" in code:
            code = "[v for i, v in enumerate({0}) if v not in {0}[:i]]"
        name = scene.choose(*names)
        return compound(kind, code, code.format(several.code), name.format(several.name), several, singular=name.format(several.singular))

    return operator


def part(kind: Kind) -> Operator:
    """The first or last few, all but one, the largest or smallest few, every second."""

    def operator(scene: Scene, depth: int) -> Term:
        several = scene.term(kind, depth)
        choices: list[tuple[str, tuple[str, ...]]] = [
            ("{0}[1:]", ("{}_without_first", "all_but_first_{}", "{}_after_first")),
            ("{0}[:-1]", ("{}_without_last", "all_but_last_{}")),
            ("{0}[::2]", ("every_second_{}", "every_other_{}")),
        ]
        counted: list[tuple[str, tuple[str, ...]]] = [
            ("{0}[:{1}]", ("first_{}", "first_few_{}", "{}_from_start")),
            ("{0}[-{1}:]", ("last_{}", "latest_{}", "most_recent_{}")),
            ("{0}[{1}:]", ("{}_after", "skip_{}", "{}_without_first")),
        ]
        if kind == "numbers":
            counted += [
                ("sorted({0}, reverse=True)[:{1}]", ("largest_{}", "top_{}", "highest_{}")),
                ("sorted({0})[:{1}]", ("smallest_{}", "lowest_{}", "bottom_{}")),
            ]
        if scene.chance(0.3):
            code, names = scene.rng.choice(choices)
            count = ""
        else:
            code, names = scene.rng.choice(counted)
            count = scene.few()
        name = scene.choose(*names)
        return compound(
            kind, code, code.format(several.code, count), name.format(several.name), several, singular=name.format(several.singular)
        )

    return operator


def running(scene: Scene, depth: int) -> Term:
    """The sums so far."""
    several = scene.numbers()
    code = f"[sum({several.code}[:i + 1]) for i in range(len({several.code}))]"
    return compound(
        "numbers",
        "running",
        code,
        scene.choose(f"running_totals_of_{several.name}", f"cumulative_{several.name}", f"{several.name}_so_far"),
        several,
    )


def shares(scene: Scene, depth: int) -> Term:
    """Each number's part of the sum, in percent."""
    several = scene.numbers()
    code = f"[v / sum({several.code}) * 100 for v in {several.code}]"
    return compound(
        "numbers",
        "shares",
        code,
        scene.choose(f"{several.name}_as_percent_of_total", f"{several.singular}_percentages", f"percentages_of_{several.name}"),
        several,
    )


def merged(scene: Scene, depth: int) -> Term:
    """Two lists in one, or what both have."""
    left, right = scene.texts(), scene.texts()
    code, names = scene.rng.choice(
        (
            ("{0} + {1}", ("all_{x}_and_{y}", "{x}_and_{y}", "{x}_followed_by_{y}", "combined_{x}_and_{y}")),
            ("[v for v in {0} if v in {1}]", ("common_{x}_and_{y}", "{x}_shared_with_{y}", "intersection_of_{x}_and_{y}")),
        )
    )
    tight = not code.startswith("{0} +")
    return compound(
        "texts", code, code.format(left.code, right.code), scene.choose(*names).format(x=left.name, y=right.name), left, right, tight=tight
    )


def words_of(scene: Scene, depth: int) -> Term:
    """The words of a text."""
    text = scene.text()
    return compound(
        "texts",
        "split",
        f"{text.code}.split()",
        scene.choose(f"words_of_{text.name}", f"{text.name}_words", f"words_in_{text.name}"),
        text,
        singular=f"word_of_{text.name}",
    )


def keys(scene: Scene, depth: int) -> Term:
    """Names in a dict: all, those above, the highest first."""
    ledger = scene.ledger()
    code, names = scene.rng.choice(
        (
            ("sorted({0})", ("sorted_names_in_{x}", "names_in_{x}_sorted")),
            (
                "[k for k, v in {0}.items() if v > {n}]",
                ("names_with_{x}_above", "names_in_{x}_above", "keys_of_{x}_above", "who_has_{x}_above"),
            ),
            ("[k for k, v in {0}.items() if v < {n}]", ("names_with_{x}_below", "names_in_{x}_below", "keys_of_{x}_below")),
            (
                "sorted({0}, key=lambda k: {0}[k], reverse=True)",
                ("names_by_{x}_descending", "names_in_{x}_highest_first", "ranking_by_{x}"),
            ),
            ("sorted({0}, key=lambda k: {0}[k])", ("names_by_{x}", "names_in_{x}_lowest_first")),
        )
    )
    amount = scene.amount(5, 45) if "{n}" in code else ""
    return compound("texts", code[:28], code.format(ledger.code, n=amount), scene.choose(*names).format(x=ledger.name), ledger)


def ledger_values(scene: Scene, depth: int) -> Term:
    """The numbers of a dict."""
    ledger = scene.term("ledger", depth)
    return compound(
        "numbers",
        "values",
        f"list({ledger.code}.values())",
        scene.choose(f"values_of_{ledger.name}", f"numbers_in_{ledger.name}"),
        ledger,
        singular=f"value_of_{ledger.name}",
    )


NUMBERS: tuple[Operator, ...] = (
    numbers_beyond, numbers_beyond, numbers_beyond, numbers_that_are, numbers_that_are, numbers_mapped, numbers_mapped, numbers_with,
    capped, pairwise, lengths, ordered("numbers"), part("numbers"), running, shares, ledger_values,
)  # fmt: skip
TEXTS: tuple[Operator, ...] = (
    texts_that, texts_that, texts_that, texts_mapped, texts_mapped, texts_with, ordered("texts"), ordered("texts"), part("texts"), merged,
    words_of, keys, keys,
)  # fmt: skip
