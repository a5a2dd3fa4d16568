"""Operators that answer True or False."""

from inference_worker.forge.composition.scene import Operator, Scene
from inference_worker.forge.composition.term import Term, compound

_COMPARED = (
    (">", ("is_{a}_above_{b}", "is_{a}_greater_than_{b}", "{a}_exceeds_{b}", "is_{a}_more_than_{b}", "has_more_{a}_than_{b}")),
    ("<", ("is_{a}_below_{b}", "is_{a}_less_than_{b}", "is_{a}_under_{b}", "has_less_{a}_than_{b}")),
    (">=", ("is_{a}_at_least_{b}", "{a}_reaches_{b}", "{a}_covers_{b}")),
    ("<=", ("is_{a}_at_most_{b}", "is_{a}_within_{b}")),
    ("==", ("is_{a}_equal_to_{b}", "{a}_equals_{b}", "is_{a}_same_as_{b}")),
)


def compared(scene: Scene, depth: int) -> Term:
    """A number against another."""
    left, right = scene.term("number", depth), scene.number()
    sign, names = scene.rng.choice(_COMPARED)
    name = scene.choose(*names).format(a=left.name, b=right.name)
    return compound("truth", f"compare{sign}", f"{left.inside()} {sign} {right.inside()}", name, left, right, tight=False)


def beyond(scene: Scene, depth: int) -> Term:
    """A number against the argument."""
    left, limit = scene.term("number", depth), scene.amount(2, 60)
    sign, names = scene.rng.choice(_COMPARED)
    name = scene.choose(*names).format(a=left.name, b="").rstrip("_")
    return compound("truth", f"beyond{sign}", f"{left.inside()} {sign} {limit}", name, left, tight=False)


def flags(scene: Scene, depth: int) -> Term:
    """Two flags together."""
    left, right = scene.flag(), scene.flag()
    joint, code, name = scene.rng.choice(
        (
            ("and", "{a} and {b}", "is_{x}_and_{y}"),
            ("or", "{a} or {b}", "is_{x}_or_{y}"),
            ("butnot", "{a} and not {b}", "is_{x}_but_not_{y}"),
            ("neither", "not {a} and not {b}", "is_neither_{x}_nor_{y}"),
            ("not", "not {a}", "is_not_{x}"),
            ("same", "{a} == {b}", "is_{x}_same_as_{y}"),
        )
    )
    filled = code.format(a=left.code, b=right.code)
    return compound("truth", joint, filled, name.format(x=left.name, y=right.name), left, right, tight=False)


def flag_and_number(scene: Scene, depth: int) -> Term:
    """A flag, and a number against another."""
    flag, left, right = scene.flag(), scene.number(), scene.number()
    sign, word = scene.rng.choice(((">", "above"), ("<", "below")))
    name = f"is_{flag.name}_and_{left.name}_{word}_{right.name}"
    return compound("truth", f"flag{sign}", f"{flag.code} and {left.code} {sign} {right.code}", name, flag, left, right, tight=False)


def any_or_all(scene: Scene, depth: int) -> Term:
    """Whether some, or all, of a list are above or below."""
    several, limit = scene.numbers(), scene.amount(5, 50)
    sign, word = scene.rng.choice(((">", "above"), ("<", "below"), (">", "over"), (">=", "at_least")))
    every = scene.chance(0.5)
    name = (
        scene.choose(f"all_{several.name}_{word}", f"are_all_{several.name}_{word}")
        if every
        else scene.choose(f"any_{several.singular}_{word}", f"has_{several.singular}_{word}", f"is_any_{several.singular}_{word}")
    )
    return compound(
        "truth",
        f"{'all' if every else 'any'}{sign}",
        f"{'all' if every else 'any'}(v {sign} {limit} for v in {several.code})",
        name,
        several,
    )


def texts_like(scene: Scene, depth: int) -> Term:
    """Whether some, or all, of a list of texts begin so, or hold it."""
    several, word = scene.texts(), scene.letter()
    every = scene.chance(0.4)
    test, words = scene.rng.choice(
        ((f"v.startswith({word})", "starting_with"), (f"{word} in v", "containing"), (f"v.endswith({word})", "ending_with"))
    )
    name = f"all_{several.name}_{words}" if every else scene.choose(f"any_{several.singular}_{words}", f"has_{several.singular}_{words}")
    return compound("truth", f"{every}{words}", f"{'all' if every else 'any'}({test} for v in {several.code})", name, several)


def member(scene: Scene, depth: int) -> Term:
    """Whether something is in a list or a dict."""
    several = scene.term("texts", depth) if scene.chance(0.6) else scene.ledger()
    word = scene.word(several.code)
    singular = several.singular if several.kind == "texts" else several.name
    name = scene.choose(
        f"has_{singular}", f"is_in_{several.name}", f"{several.name}_contain", f"{several.name}_include", f"is_among_{several.name}"
    )
    return compound("truth", "member", f"{word} in {several.code}", name, several, tight=False)


def text_asked(scene: Scene, depth: int) -> Term:
    """What a text begins with, ends with, holds; or whether two are the same."""
    text = scene.term("text", depth)
    match scene.rng.randrange(5):
        case 0:
            return compound("truth", "starts", f"{text.inside()}.startswith({scene.letter()})", f"{text.name}_starts_with", text)
        case 1:
            return compound("truth", "ends", f"{text.inside()}.endswith({scene.letter()})", f"{text.name}_ends_with", text)
        case 2:
            return compound(
                "truth",
                "holds",
                f"{scene.letter()} in {text.inside()}",
                scene.choose(f"{text.name}_contains", f"is_in_{text.name}"),
                text,
                tight=False,
            )
        case 3:
            compared = scene.text()
            return compound(
                "truth",
                "sametext",
                f"{text.inside()} == {compared.code}",
                scene.choose(f"is_{text.name}_same_as_{compared.name}", f"{text.name}_equals_{compared.name}"),
                text,
                compared,
                tight=False,
            )
        case _:
            return compound(
                "truth", "palindrome", f"{text.inside()} == {text.inside()}[::-1]", f"is_{text.name}_palindrome", text, tight=False
            )


def list_asked(scene: Scene, depth: int) -> Term:
    """Whether a list is empty, sorted, without repeats, or shares something with another."""
    several = scene.term(scene.rng.choice(("numbers", "texts")), depth)
    match scene.rng.randrange(4):
        case 0:
            return compound(
                "truth",
                "sorted",
                f"{several.code} == sorted({several.code})",
                scene.choose(f"are_{several.name}_sorted", f"is_sorted_{several.name}"),
                several,
                tight=False,
            )
        case 1:
            return compound(
                "truth",
                "repeats",
                f"len(set({several.code})) < len({several.code})",
                scene.choose(f"has_duplicate_{several.name}", f"are_there_duplicate_{several.name}"),
                several,
                tight=False,
            )
        case 2:
            left, right = scene.texts(), scene.texts()
            return compound(
                "truth",
                "shares",
                f"any(v in {right.code} for v in {left.code})",
                scene.choose(f"{left.name}_share_{right.name}", f"do_{left.name}_overlap_{right.name}"),
                left,
                right,
            )
        case _:
            count = scene.few()
            return compound("truth", "more", f"len({several.code}) > {count}", f"has_more_{several.name}_than", several, tight=False)


def parity(scene: Scene, depth: int) -> Term:
    """Even, odd, positive, divisible."""
    number = scene.term("number", depth)
    code, name = scene.rng.choice(
        (
            ("{a} % 2 == 0", "is_{x}_even"),
            ("{a} % 2 == 1", "is_{x}_odd"),
            ("{a} > 0", "is_{x}_positive"),
            ("{a} < 0", "is_{x}_negative"),
        )
    )
    if scene.chance(0.3):
        code, name = f"{{a}} % {scene.amount(2, 6)} == 0", "is_{x}_divisible_by"
    return compound("truth", name[6:12] + code[4:8], code.format(a=number.inside()), name.format(x=number.name), number, tight=False)


def between(scene: Scene, depth: int) -> Term:
    """A number between two others."""
    number = scene.term("number", depth)
    if scene.chance(0.5):
        low, high = scene.number(), scene.number()
        name = f"is_{number.name}_between_{low.name}_and_{high.name}"
        return compound("truth", "betweenslots", f"{low.code} <= {number.code} <= {high.code}", name, number, low, high, tight=False)
    low_word, high_word = scene.amount(1, 20), scene.amount(30, 80)
    return compound("truth", "between", f"{low_word} <= {number.code} <= {high_word}", f"is_{number.name}_between", number, tight=False)


OPERATORS: tuple[Operator, ...] = (
    compared,
    compared,
    beyond,
    beyond,
    flags,
    flag_and_number,
    any_or_all,
    any_or_all,
    texts_like,
    member,
    text_asked,
    list_asked,
    parity,
    between,
)
