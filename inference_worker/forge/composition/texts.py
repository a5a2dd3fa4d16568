"""Operators that answer a text."""

from inference_worker.forge.composition.scene import Operator, Scene
from inference_worker.forge.composition.term import Term, compound


def styled(scene: Scene, depth: int) -> Term:
    """In other letters, turned around, cut at its ends."""
    text = scene.term("text", depth)
    call, names = scene.rng.choice(
        (
            ("upper()", ("{}_in_capitals", "uppercase_{}", "{}_uppercase", "loud_{}", "upper_{}")),
            ("lower()", ("lowercase_{}", "{}_in_lowercase", "lower_{}")),
            ("title()", ("{}_in_title_case", "titled_{}", "title_case_{}")),
            ("capitalize()", ("capitalized_{}", "{}_capitalized")),
            ("[::-1]", ("reversed_{}", "{}_backwards", "{}_reversed")),
            ("replace(' ', '_')", ("{}_with_underscores",)),
            ("replace(' ', '')", ("{}_without_spaces", "compact_{}")),
        )
    )
    code = f"{text.inside()}{call}" if call.startswith("[") else f"{text.inside()}.{call}"
    return compound("text", call.partition("(")[0] + call[-6:], code, scene.choose(*names).format(text.name), text)


def piece(scene: Scene, depth: int) -> Term:
    """A letter, a word, the first few letters."""
    text = scene.term("text", depth)
    match scene.rng.randrange(5):
        case 0:
            return compound(
                "text", "initial", f"{text.inside()}[0]", scene.choose(f"first_letter_of_{text.name}", f"{text.name}_initial"), text
            )
        case 1:
            return compound("text", "final", f"{text.inside()}[-1]", f"last_letter_of_{text.name}", text)
        case 2:
            return compound(
                "text",
                "firstword",
                f"{text.inside()}.split()[0]",
                scene.choose(f"first_word_of_{text.name}", f"{text.name}_first_word"),
                text,
            )
        case 3:
            return compound(
                "text",
                "lastword",
                f"{text.inside()}.split()[-1]",
                scene.choose(f"last_word_of_{text.name}", f"{text.name}_last_word"),
                text,
            )
        case _:
            count = scene.few()
            return compound(
                "text",
                "head",
                f"{text.inside()}[:{count}]",
                scene.choose(f"first_letters_of_{text.name}", f"{text.name}_prefix", f"start_of_{text.name}"),
                text,
            )


def initials(scene: Scene, depth: int) -> Term:
    """The first letters of all words."""
    text = scene.text()
    return compound(
        "text",
        "initials",
        f"''.join(w[0] for w in {text.code}.split())",
        scene.choose(f"initials_of_{text.name}", f"{text.name}_initials"),
        text,
    )


def both(scene: Scene, depth: int) -> Term:
    """Two texts with something between."""
    left, right = scene.term("text", depth), scene.text()
    between, words = scene.rng.choice(
        ((" and ", "and"), (" ", "space"), (", ", "comma"), (": ", "colon"), (" - ", "dash"), ("-", "hyphen"))
    )
    if words == "and":
        name = scene.choose(f"{left.name}_and_{right.name}_as_text", f"{left.name}_and_{right.name}_in_words")
    else:
        name = scene.choose(f"{left.name}_{words}_{right.name}", f"{left.name}_and_{right.name}_with_{words}")
    code = (
        f"f'{{{left.code}}}{between}{{{right.code}}}'"
        if "'" not in left.code + right.code
        else f"{left.inside()} + '{between}' + {right.inside()}"
    )
    return compound("text", f"both{words}", code, name, left, right, tight="'" not in left.code + right.code)


def labelled(scene: Scene, depth: int) -> Term:
    """A text and a number in one."""
    text, number = scene.text(), scene.term("number", depth)
    if "'" in number.code:
        number = scene.number()
    name = scene.choose(f"{text.name}_with_{number.name}", f"{text.name}_and_{number.name}_text", f"{text.name}_{number.name}_label")
    return compound("text", "labelled", f"f'{{{text.code}}}: {{{number.code}}}'", name, text, number)


def joined(scene: Scene, depth: int) -> Term:
    """All of a list in one text."""
    if scene.chance(0.3):
        several = scene.term("numbers", depth)
        inside = f"str(v) for v in {several.code}"
    else:
        several = scene.term("texts", depth)
        inside = several.code
    match scene.rng.randrange(3):
        case 0:
            between, name = (
                "', '",
                scene.choose(
                    f"{several.name}_joined", f"{several.name}_as_text", f"joined_{several.name}", f"comma_separated_{several.name}"
                ),
            )
        case 1:
            between = scene.argument(
                scene.choose("separator", "glue", "between"), lambda rng, slots: rng.choice(("-", " ", "/", " | ", ";"))
            )
            name = scene.choose(f"{several.name}_joined_with", f"join_{several.name}_with", f"{several.name}_joined_by")
        case _:
            between, word = scene.rng.choice((("' '", "spaces"), ("' / '", "slashes"), ("'-'", "dashes"), ("'\\n'", "lines")))
            name = (
                f"{several.name}_joined_with_{word}"
                if word != "lines"
                else scene.choose(f"{several.name}_in_lines", f"{several.name}_one_per_line")
            )
    return compound("text", f"join{len(between)}", f"{between}.join({inside})", name, several)


def extreme(scene: Scene, depth: int) -> Term:
    """The longest, shortest, first or last by the alphabet; None of nothing."""
    several = scene.term("texts", depth)
    call, key, words = scene.rng.choice(
        (
            ("max", "key=len, ", ("longest_{}",)),
            ("min", "key=len, ", ("shortest_{}",)),
            ("min", "", ("alphabetically_first_{}", "first_{}_in_alphabet", "{}_first_in_alphabet")),
            ("max", "", ("alphabetically_last_{}", "last_{}_in_alphabet")),
        )
    )
    slot = several.shape == "T"
    code = (
        f"{call}({several.code}{', ' * bool(key)}{key[:-2]}) if {several.code} else None"
        if slot
        else f"{call}({several.code}, {key}default=None)"
    )
    return compound("text", f"{call}{key[:7]}", code, scene.choose(*words).format(several.singular), several, tight=not slot)


def end(scene: Scene, depth: int) -> Term:
    """The first or last of a list, None of nothing."""
    several = scene.texts()
    first = scene.chance(0.5)
    name = scene.choose(
        *((f"first_{several.singular}", f"first_of_{several.name}") if first else (f"last_{several.singular}", f"last_of_{several.name}"))
    )
    code = f"{several.code}[{0 if first else -1}] if {several.code} else None"
    return compound("text", f"end{first}", code, name, several, tight=False, sentence=True)


def most_common(scene: Scene, depth: int) -> Term:
    """The one that is there most often."""
    several = scene.texts()
    name = scene.choose(f"most_common_{several.singular}", f"most_frequent_{several.singular}")
    return compound("text", "mode", f"max({several.code}, key=lambda v: {several.code}.count(v))", name, several)


def key(scene: Scene, depth: int) -> Term:
    """The key with the largest or smallest number, None of nothing where it is a slot's."""
    ledger = scene.term("ledger", depth)
    high = scene.chance(0.5)
    words = (
        ("key_with_highest_{}", "name_with_most_{}", "who_has_most_{}")
        if high
        else ("key_with_lowest_{}", "name_with_least_{}", "who_has_least_{}")
    )
    code = f"{'max' if high else 'min'}({ledger.code}, key=lambda k: {ledger.code}[k])"
    slot = ledger.shape == "D"
    if slot:
        code += f" if {ledger.code} else None"
    return compound("text", f"key{high}", code, scene.choose(*words).format(ledger.name), ledger, tight=not slot, sentence=slot)


def grade(scene: Scene, depth: int) -> Term:
    """One of two words, by a flag or a comparison that the selector names."""
    truth = scene.term("truth", min(depth, 1))
    name = scene.choose(f"yes_or_no_{truth.name}", f"{truth.name}_as_yes_or_no", f"{truth.name}_yes_or_no")
    return compound("text", "yesno", f"'yes' if {truth.code} else 'no'", name, truth, tight=False)


OPERATORS: tuple[Operator, ...] = (
    styled,
    styled,
    piece,
    piece,
    initials,
    both,
    labelled,
    joined,
    joined,
    extreme,
    extreme,
    end,
    most_common,
    key,
    key,
    grade,
)
