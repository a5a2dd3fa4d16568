"""Messages that change the object, over terms: a slot set to, raised by or appended with something; lists, dicts and rows changed in place.

A method that changes one slot answers that slot's new value; one that changes two slots answers nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from inference_worker.forge import values, words
from inference_worker.forge.composition.scene import Scene
from inference_worker.forge.composition.term import Term

FLAG = "self._p_changed = True"


@dataclass(frozen=True)
class ComposedChange:
    """A body with its selector and shape; `parts`: the terms it is made of, which have to be worth something by themselves."""

    name: str
    shape: str
    body: str
    parts: tuple[Term, ...]


ChangeOperator = Callable[[Scene, int], ComposedChange]


Wording = tuple[tuple[str, tuple[str, ...]], ...]
"""Python, and the words for it."""


def _answered(slot: str, statement: str) -> str:
    return f"{statement}\nreturn {slot}"


def set_to(scene: Scene, depth: int) -> ComposedChange:
    """A slot set to a number or a text that is worked out."""
    slot = scene.number()
    term = scene.term("number", max(1, depth))
    name = scene.choose(
        f"set_{slot.name}_to_{term.name}",
        f"store_{term.name}_in_{slot.name}",
        f"update_{slot.name}_to_{term.name}",
        f"save_{term.name}_as_{slot.name}",
    )
    return ComposedChange(name, f"set({term.shape})", _answered(slot.code, f"{slot.code} = {term.code}"), (term,))


def add_to(scene: Scene, depth: int) -> ComposedChange:
    """A slot raised or lowered by what another tells."""
    slot, term = scene.number(), scene.term("number", depth)
    up = scene.chance(0.6)
    if up:
        name = scene.choose(f"add_{term.name}_to_{slot.name}", f"increase_{slot.name}_by_{term.name}", f"raise_{slot.name}_by_{term.name}")
    else:
        name = scene.choose(
            f"subtract_{term.name}_from_{slot.name}",
            f"decrease_{slot.name}_by_{term.name}",
            f"reduce_{slot.name}_by_{term.name}",
            f"deduct_{term.name}_from_{slot.name}",
        )
    sign = "+=" if up else "-="
    return ComposedChange(name, f"add{up}({term.shape})", _answered(slot.code, f"{slot.code} {sign} {term.code}"), (term,))


def scale_by(scene: Scene, depth: int) -> ComposedChange:
    """A slot multiplied or divided by another."""
    slot, factor = scene.number(), scene.number()
    up = scene.chance(0.6)
    name = (
        scene.choose(f"multiply_{slot.name}_by_{factor.name}", f"scale_{slot.name}_by_{factor.name}")
        if up
        else f"divide_{slot.name}_by_{factor.name}"
    )
    return ComposedChange(name, f"scale{up}", _answered(slot.code, f"{slot.code} {'*' if up else '/'}= {factor.code}"), (slot, factor))


def bounded(scene: Scene, depth: int) -> ComposedChange:
    """A slot kept at most, or at least, at another or at the argument."""
    slot = scene.number()
    high = scene.chance(0.5)
    parts: tuple[Term, ...] = (slot,)
    if scene.chance(0.5):
        limit = scene.number()
        bound, tail, parts = limit.code, f"_{limit.name}", (slot, limit)
    else:
        bound, tail = scene.amount(10, 60), ""
    name = scene.choose(f"cap_{slot.name}_at{tail}", f"limit_{slot.name}_to{tail}") if high else f"raise_{slot.name}_to_at_least{tail}"
    code = f"{slot.code} = {'min' if high else 'max'}({slot.code}, {bound})"
    return ComposedChange(name, f"bound{high}{len(parts)}", _answered(slot.code, code), parts)


def two_slots(scene: Scene, depth: int) -> ComposedChange:
    """Moved from one slot to another, exchanged, or both changed."""
    left, right = scene.number(), scene.number()
    match scene.rng.randrange(4):
        case 0 | 1:
            amount = scene.amount(1, 20)
            name = scene.choose(
                f"move_{left.name}_to_{right.name}", f"transfer_from_{left.name}_to_{right.name}", f"move_from_{left.name}_to_{right.name}"
            )
            return ComposedChange(name, "transfer", f"{left.code} -= {amount}\n{right.code} += {amount}", (left, right))
        case 2:
            name = scene.choose(
                f"swap_{left.name}_and_{right.name}", f"exchange_{left.name}_and_{right.name}", f"swap_{left.name}_with_{right.name}"
            )
            return ComposedChange(name, "swap", f"{left.code}, {right.code} = {right.code}, {left.code}", (left, right))
        case _:
            name = scene.choose(f"reset_{left.name}_and_{right.name}", f"clear_{left.name}_and_{right.name}")
            return ComposedChange(name, "resetboth", f"{left.code} = 0\n{right.code} = 0", (left, right))


def if_flag(scene: Scene, depth: int) -> ComposedChange:
    """A slot changed only if a flag says so."""
    slot, flag = scene.number(), scene.flag()
    off = scene.chance(0.3)
    verb, change = scene.rng.choice((("increment", "+= 1"), ("double", "*= 2"), ("reset", "= 0"), ("decrement", "-= 1"), ("halve", "/= 2")))
    name = f"{verb}_{slot.name}_{'unless' if off else 'if'}_{flag.name}"
    test = f"not {flag.code}" if off else flag.code
    return ComposedChange(name, f"if{off}{verb}", f"if {test}:\n    {slot.code} {change}\nreturn {slot.code}", (slot, flag))


def list_narrowed(scene: Scene, depth: int) -> ComposedChange:
    """Items taken out of a list by a test."""
    keep = scene.chance(0.4)
    if scene.chance(0.5):
        several = scene.numbers(3)
        sign, contrary, word = scene.rng.choice(
            ((">", "<=", "above"), ("<", ">=", "below"), (">", "<=", "greater_than"), ("==", "!=", "equal_to"))
        )
        limit = scene.amount(5, 45)
        test = f"v {sign if keep else contrary} {limit}"
    else:
        several = scene.texts()
        letter = scene.letter()
        word, call = scene.rng.choice(
            (("starting_with", f"v.startswith({letter})"), ("containing", f"{letter} in v"), ("ending_with", f"v.endswith({letter})"))
        )
        test = call if keep else (call.replace(" in ", " not in ") if " in " in call else f"not {call}")
    name = (
        scene.choose(f"keep_{several.name}_{word}", f"keep_only_{several.name}_{word}")
        if keep
        else scene.choose(f"remove_{several.name}_{word}", f"drop_{several.name}_{word}", f"delete_{several.name}_{word}")
    )
    return ComposedChange(
        name, f"narrow{keep}{word}", _answered(several.code, f"{several.code} = [v for v in {several.code} if {test}]"), (several,)
    )


_AMOUNTS: Final[Wording] = (
    ("+", ("increase_all_{}_by", "add_to_all_{}", "raise_all_{}_by")),
    ("-", ("decrease_all_{}_by", "reduce_all_{}_by")),
    ("*", ("multiply_all_{}_by", "scale_{}_by")),
)
_NUMBERS: Final[Wording] = (
    ("v * 2", ("double_all_{}", "double_{}")),
    ("v / 2", ("halve_all_{}", "halve_{}")),
    ("round(v)", ("round_all_{}", "round_{}")),
    ("abs(v)", ("make_{}_absolute",)),
    ("-v", ("negate_{}", "negate_all_{}")),
)
_TEXTS: Final[Wording] = (
    ("v.upper()", ("uppercase_all_{}", "capitalize_all_letters_of_{}")),
    ("v.lower()", ("lowercase_all_{}",)),
    ("v.title()", ("title_case_all_{}",)),
    ("v.capitalize()", ("capitalize_{}", "capitalize_all_{}")),
    ("v[::-1]", ("reverse_letters_of_{}",)),
)


def list_mapped(scene: Scene, depth: int) -> ComposedChange:
    """Each item changed in place."""
    if scene.chance(0.6):
        several = scene.numbers()
        if scene.chance(0.5):
            sign, names = scene.rng.choice(_AMOUNTS)
            code, shape = f"v {sign} {scene.amount(2, 9)}", f"all{sign}"
        else:
            code, names = scene.rng.choice(_NUMBERS)
            shape = code
    else:
        several = scene.texts()
        code, names = scene.rng.choice(_TEXTS)
        shape = code
    body = _answered(several.code, f"{several.code} = [{code} for v in {several.code}]")
    return ComposedChange(scene.choose(*names).format(several.name), f"map{shape}", body, (several,))


def list_appended(scene: Scene, depth: int) -> ComposedChange:
    """Something that is worked out put at the end of a list, or an item only in some case."""
    match scene.rng.randrange(4):
        case 0 | 1:
            several, term = scene.numbers(), scene.term("number", depth)
            name = scene.choose(
                f"append_{term.name}_to_{several.name}", f"add_{term.name}_to_{several.name}", f"record_{term.name}_in_{several.name}"
            )
            return ComposedChange(
                name, f"append({term.shape})", f"{several.code}.append({term.code})\n{FLAG}\nreturn {several.code}", (term,)
            )
        case 2:
            several = scene.numbers()
            value = scene.argument(several.singular, values.whole(1, 60))
            name = f"add_{several.singular}_if_above_average"
            test = f"{value} > sum({several.code}) / len({several.code})"
            code = f"if {test}:\n    {several.code}.append({value})\n    {FLAG}\nreturn {several.code}"
            return ComposedChange(name, "appendabove", code, (several,))
        case _:
            left, right = scene.texts(), scene.texts()
            name = scene.choose(
                f"add_{left.name}_to_{right.name}", f"append_{left.name}_to_{right.name}", f"extend_{right.name}_with_{left.name}"
            )
            return ComposedChange(name, "extend", f"{right.code}.extend({left.code})\n{FLAG}\nreturn {right.code}", (left, right))


def list_ordered(scene: Scene, depth: int) -> ComposedChange:
    """A list put in another order, shortened, or rid of repeats, in place."""
    several = scene.texts() if scene.chance(0.5) else scene.numbers()
    code, names = scene.rng.choice((
        ("sorted({0}, reverse=True)", ("sort_{}_descending", "sort_{}_in_descending_order")),
        ("[v for i, v in enumerate({0}) if v not in {0}[:i]]", ("deduplicate_{}", "remove_duplicate_{}", "make_{}_unique")),
        ("{0}[:{n}]", ("truncate_{}", "keep_first_{}", "shorten_{}_to")),
        ("{0}[-{n}:]", ("keep_last_{}", "keep_latest_{}")),
        ("{0}[1:] + {0}[:1]", ("rotate_{}", "move_first_of_{}_to_end")),
    ))  # fmt: skip
    count = scene.few() if "{n}" in code else ""
    return ComposedChange(
        scene.choose(*names).format(several.name),
        f"order{code[:9]}",
        _answered(several.code, f"{several.code} = {code.format(several.code, n=count)}"),
        (several,),
    )


def ledger_changed(scene: Scene, depth: int) -> ComposedChange:
    """A dict's entries taken out, changed, moved."""
    ledger = scene.ledger()
    match scene.rng.randrange(5):
        case 0 | 1:
            sign, word = scene.rng.choice(((">=", "below"), ("<=", "above")))
            name = scene.choose(f"remove_{ledger.name}_{word}", f"drop_{ledger.name}_{word}", f"remove_entries_of_{ledger.name}_{word}")
            code = f"{ledger.code} = {{k: v for k, v in {ledger.code}.items() if v {sign} {scene.amount(5, 40)}}}"
            return ComposedChange(name, f"entries{word}", _answered(ledger.code, code), (ledger,))
        case 2:
            change, names = scene.rng.choice(
                (("v * 2", ("double_all_{}", "double_{}")), ("v / 2", ("halve_all_{}",)), ("0", ("reset_all_{}", "zero_{}")))
            )
            return ComposedChange(
                scene.choose(*names).format(ledger.name),
                f"ledger{change}",
                _answered(ledger.code, f"{ledger.code} = {{k: {change} for k, v in {ledger.code}.items()}}"),
                (ledger,),
            )
        case 3:
            amount = scene.amount(2, 9)
            code = f"{ledger.code} = {{k: v + {amount} for k, v in {ledger.code}.items()}}"
            return ComposedChange(
                scene.choose(f"add_to_all_{ledger.name}", f"increase_all_{ledger.name}_by", f"raise_all_{ledger.name}_by"),
                "ledger+",
                _answered(ledger.code, code),
                (ledger,),
            )
        case _:
            slot = ledger.code.removeprefix("self.")
            a = scene.argument("source", lambda rng, slots: rng.choice(sorted(slots[slot])))
            b = scene.argument("target", lambda rng, slots: rng.choice(sorted(slots[slot])))
            c = scene.argument("amount", values.whole(1, 10))
            body = f"{ledger.code}[{a}] -= {c}\n{ledger.code}[{b}] += {c}\n{FLAG}\nreturn {ledger.code}"
            return ComposedChange(
                scene.choose(f"transfer_{ledger.name}", f"move_{ledger.name}", f"transfer_between_{ledger.name}"),
                "ledgertransfer",
                body,
                (ledger,),
            )


def rows_changed(scene: Scene, depth: int) -> ComposedChange:
    """Rows taken out by a test, or a field of all of them changed."""
    rows = scene.rows()
    fields = rows.fields
    if fields is None or fields.access == "slot" or not fields.numbers:
        return list_mapped(scene, depth)
    field = scene.rng.choice(fields.numbers)
    match scene.rng.randrange(4):
        case 0 | 1:
            sign, word = scene.rng.choice(((">=", "below"), ("<=", "above")))
            name = scene.choose(
                f"remove_{rows.name}_with_{field}_{word}",
                f"drop_{rows.name}_with_{field}_{word}",
                f"delete_{rows.name}_with_{field}_{word}",
            )
            code = f"{rows.code} = [r for r in {rows.code} if r['{field}'] {sign} {scene.amount(5, 30)}]"
            return ComposedChange(name, f"rows{word}", _answered(rows.code, code), (rows,))
        case 2:
            sign, verb, tail = scene.rng.choice((("+", "increase", "by"), ("-", "reduce", "by"), ("*", "multiply", "by")))
            amount = scene.amount(2, 9)
            body = f"for r in {rows.code}:\n    r['{field}'] {sign}= {amount}\n{FLAG}\nreturn {rows.code}"
            return ComposedChange(
                scene.choose(f"{verb}_{field}_of_all_{rows.name}_{tail}", f"{verb}_all_{field}_of_{rows.name}_{tail}"),
                f"rows{sign}",
                body,
                (rows,),
            )
        case _:
            value = scene.argument(field, values.whole(1, 40))
            label = scene.argument(fields.label, _label_of(rows))
            test = f"r['{fields.label}'] == {label}"
            body = f"for r in {rows.code}:\n    if {test}:\n        r['{field}'] = {value}\n        {FLAG}\nreturn {rows.code}"
            return ComposedChange(f"set_{field}_for_{fields.label}", "rowset", body, (rows,))


def _label_of(rows: Term) -> values.Maker:
    slot = rows.code.removeprefix("self.")
    label = rows.fields.label if rows.fields is not None else ""
    return lambda rng, slots: rng.choice(slots[slot])[label] if slots[slot] and rng.random() < 0.85 else rng.choice(words.WORDS)


def text_changed(scene: Scene, depth: int) -> ComposedChange:
    """A text slot put in other letters, lengthened, or set from another."""
    text = scene.text()
    match scene.rng.randrange(3):
        case 0:
            call, names = scene.rng.choice(
                (
                    ("upper()", ("turn_{}_to_uppercase", "make_{}_uppercase")),
                    ("lower()", ("turn_{}_to_lowercase", "make_{}_lowercase")),
                    ("title()", ("put_{}_in_title_case",)),
                    ("strip()", ("strip_{}", "trim_{}")),
                )
            )
            return ComposedChange(
                scene.choose(*names).format(text.name), f"text{call}", _answered(text.code, f"{text.code} = {text.code}.{call}"), (text,)
            )
        case 1:
            value = scene.argument(scene.choose("suffix", "text", "word"), values.word)
            return ComposedChange(
                scene.choose(f"append_to_{text.name}", f"add_to_{text.name}", f"extend_{text.name}_with"),
                "textappend",
                _answered(text.code, f"{text.code} += {value}"),
                (text,),
            )
        case _:
            source = scene.term("text", depth)
            return ComposedChange(
                scene.choose(f"set_{text.name}_to_{source.name}", f"copy_{source.name}_to_{text.name}"),
                f"textset({source.shape})",
                _answered(text.code, f"{text.code} = {source.code}"),
                (text, source),
            )


CHANGES: tuple[ChangeOperator, ...] = (
    set_to, set_to, add_to, add_to, scale_by, bounded, two_slots, if_flag, list_narrowed, list_narrowed, list_mapped, list_mapped,
    list_appended, list_ordered, ledger_changed, rows_changed, rows_changed, text_changed,
)  # fmt: skip
