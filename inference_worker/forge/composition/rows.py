"""Operators over rows, dicts or objects that have the same fields: columns, conditions, the one with the most, groups; and over ledgers."""

from dataclasses import replace
from random import Random
from typing import Any

from inference_worker.forge import words
from inference_worker.forge.composition.scene import Operator, Scene
from inference_worker.forge.composition.term import Fields, Term, compound
from inference_worker.forge.values import Slots


def _fields(rows: Term) -> Fields:
    if rows.fields is None:
        raise ValueError(f"{rows.name} has no fields")
    return rows.fields


def condition(scene: Scene, rows: Term) -> tuple[str, str, str, tuple[Term, ...]]:
    """A test of a row `r`: its Python, the words after the rows' name, the words before it, and what else it reads."""
    fields = _fields(rows)
    kinds = ["number"] * 3 + ["text"] * 2 * bool(fields.texts) + ["flag"] * 2 * bool(fields.flags)
    match scene.rng.choice(kinds):
        case "number" if fields.numbers:
            field = scene.rng.choice(fields.numbers)
            sign, names = scene.rng.choice((
                (">", ("above", "over", "more_than")), ("<", ("below", "under", "less_than")), (">=", ("at_least",)), ("==", ("equal_to",)),
            ))  # fmt: skip
            word = scene.choose(*names)
            if scene.chance(0.25):
                limit = scene.number()
                return f"{fields.of('r', field)} {sign} {limit.code}", f"with_{field}_{word}_{limit.name}", "", (limit,)
            return (
                f"{fields.of('r', field)} {sign} {scene.amount(5, 30)}",
                scene.choose(f"with_{field}_{word}", f"where_{field}_{word}"),
                "",
                (),
            )
        case "text" if fields.texts:
            field = fields.texts[0]
            slot = rows.code.removeprefix("self.")

            def near(rng: Random, slots: Slots) -> Any:
                row = rng.choice(slots[slot]) if slots.get(slot) else None
                return "none" if row is None else row[field] if fields.access == "item" else getattr(row, field)

            value = scene.argument(field, near)
            return (
                f"{fields.of('r', field)} == {value}",
                scene.choose(f"with_{field}", f"of_{field}", f"by_{field}", f"where_{field}_is"),
                "",
                (),
            )
        case "flag" if fields.flags:
            flag = fields.flags[0]
            if scene.chance(0.3):
                return f"not {fields.of('r', flag)}", "", f"not_{flag}", ()
            return fields.of("r", flag), "", flag, ()
        case _:
            label = fields.label
            return f"{fields.of('r', label)}.startswith({scene.letter()})", f"with_{label}_starting_with", "", ()


def filtered(scene: Scene, depth: int) -> Term:
    """The rows that pass a test."""
    rows = scene.rows()
    test, after, before, others = condition(scene, rows)
    name = "_".join(filter(None, (before, rows.name, after)))
    singular = "_".join(filter(None, (before, rows.singular, after)))
    term = compound(
        "rows", f"where[{after[:5]}{before[:3]}]", f"[r for r in {rows.code} if {test}]", name, rows, *others, singular=singular
    )
    return replace(term, fields=rows.fields)


def ordered(scene: Scene, depth: int) -> Term:
    """The rows by a number, or the first few of them."""
    rows = scene.rows()
    fields = _fields(rows)
    if not fields.numbers:
        return rows
    field = scene.rng.choice(fields.numbers)
    by = f"key=lambda r: {fields.of('r', field)}"
    match scene.rng.randrange(3):
        case 0:
            term = compound(
                "rows",
                "sortby",
                f"sorted({rows.code}, {by})",
                scene.choose(f"{rows.name}_sorted_by_{field}", f"{rows.name}_by_{field}", f"sorted_{rows.name}_by_{field}"),
                rows,
            )
        case 1:
            term = compound(
                "rows",
                "sortbydown",
                f"sorted({rows.code}, {by}, reverse=True)",
                scene.choose(f"{rows.name}_by_{field}_descending", f"{rows.name}_with_highest_{field}_first"),
                rows,
            )
        case _:
            term = compound(
                "rows",
                "topby",
                f"sorted({rows.code}, {by}, reverse=True)[:{scene.few()}]",
                scene.choose(f"top_{rows.name}_by_{field}", f"best_{rows.name}_by_{field}"),
                rows,
            )
    return replace(term, fields=fields)


def _some(scene: Scene, depth: int) -> Term:
    """Rows, at times only some of them."""
    return scene.term("rows", depth) if scene.chance(0.6) else scene.rows()


def _column(scene: Scene, rows: Term, expression: str) -> str:
    """A comprehension over rows; the test of filtered rows is not nested into another list."""
    code = rows.code
    if code.startswith("[r for r in ") and " if " in code:
        return f"{expression}{code[2:-1]}"
    return f"{expression} for r in {code}"


def numbers(scene: Scene, depth: int) -> Term:
    """A number of each row, or two of them multiplied."""
    rows = _some(scene, depth)
    fields = _fields(rows)
    if not fields.numbers:
        return scene.numbers()
    field = scene.rng.choice(fields.numbers)
    if len(fields.numbers) > 1 and scene.chance(0.3):
        first, second = fields.numbers
        code = _column(scene, rows, f"{fields.of('r', first)} * {fields.of('r', second)}")
        return compound("numbers", "columns*", f"[{code}]", f"{first}_times_{second}_of_{rows.name}", rows)
    many = words.plural(field) if not field.endswith("s") else field
    name = scene.choose(f"{many}_of_{rows.name}", f"{many}_of_all_{rows.name}" if "_" not in rows.name else f"{many}_of_{rows.name}")
    return compound("numbers", "column", f"[{_column(scene, rows, fields.of('r', field))}]", name, rows, singular=f"{field}_of_{rows.name}")


def labels(scene: Scene, depth: int) -> Term:
    """A text of each row."""
    rows = _some(scene, depth)
    fields = _fields(rows)
    field = fields.texts[0] if fields.texts and scene.chance(0.25) else fields.label
    many = words.plural(field)
    return compound(
        "texts",
        "labels",
        f"[{_column(scene, rows, fields.of('r', field))}]",
        scene.choose(f"{many}_of_{rows.name}", f"{rows.singular}_{many}" if "_" not in rows.singular else f"{many}_of_{rows.name}"),
        rows,
        singular=f"{field}_of_{rows.name}",
    )


def total(scene: Scene, depth: int) -> Term:
    """The sum of a number over rows."""
    column = numbers(scene, depth)
    if not column.code.startswith("["):
        return compound("number", "sum", f"sum({column.code})", f"total_{column.singular}", column)
    name = scene.choose(f"total_{column.singular}", f"sum_of_{column.name}", f"total_of_{column.name}")
    return compound("number", "sum", f"sum({column.code[1:-1]})", name, column)


def count(scene: Scene, depth: int) -> Term:
    """How many rows pass a test."""
    rows = filtered(scene, depth)
    name = scene.choose(f"count_{rows.name}", f"number_of_{rows.name}", f"how_many_{rows.name}")
    return compound("number", "count", f"len({rows.code})", name, rows)


def most(scene: Scene, depth: int) -> Term:
    """The text of the row with the most or the least."""
    rows = scene.rows()
    fields = _fields(rows)
    if not fields.numbers:
        return scene.text()
    field, high = scene.rng.choice(fields.numbers), scene.chance(0.55)
    word = scene.choose("highest", "largest", "most", "biggest") if high else scene.choose("lowest", "smallest", "least")
    code = fields.of(f"{'max' if high else 'min'}({rows.code}, key=lambda r: {fields.of('r', field)})", fields.label)
    name = scene.choose(
        f"{fields.label}_of_{rows.singular}_with_{word}_{field}",
        f"{fields.label}_with_{word}_{field}",
        f"{word}_{field}_{rows.singular}_{fields.label}",
    )
    return compound("text", f"most{high}", code, name, rows)


def total_for(scene: Scene, depth: int) -> Term:
    """A number of the row with this text; None if there is none."""
    rows = scene.rows()
    fields = _fields(rows)
    if not fields.numbers:
        return scene.number()
    field, slot = scene.rng.choice(fields.numbers), rows.code.removeprefix("self.")

    def near(rng: Random, slots: Slots) -> Any:
        row = rng.choice(slots[slot])
        return row[fields.label] if fields.access == "item" else getattr(row, fields.label)

    value = scene.argument(fields.label, near)
    code = f"sum({fields.of('r', field)} for r in {rows.code} if {fields.of('r', fields.label)} == {value})"
    return compound(
        "number",
        "totalfor",
        code,
        scene.choose(f"total_{field}_for_{fields.label}", f"total_{field}_of_{rows.name}_with_{fields.label}"),
        rows,
    )


def every(scene: Scene, depth: int) -> Term:
    """Whether some, or all, rows pass a test."""
    rows = scene.rows()
    test, after, before, others = condition(scene, rows)
    whole = scene.chance(0.4)
    if after:
        name = f"all_{rows.name}_{after}" if whole else scene.choose(f"any_{rows.singular}_{after}", f"has_{rows.singular}_{after}")
    else:
        name = (
            f"are_all_{rows.name}_{before}"
            if whole
            else scene.choose(f"any_{before}_{rows.singular}", f"has_{before}_{rows.singular}", f"is_any_{rows.singular}_{before}")
        )
    return compound("truth", f"rows{whole}[{after[:5]}]", f"{'all' if whole else 'any'}({test} for r in {rows.code})", name, rows, *others)


def ledger(scene: Scene, depth: int) -> Term:
    """A dict made from another: only some entries, or changed numbers; from two lists; counts of a list; sums by a field."""
    match scene.rng.randrange(7):
        case 0 | 1:
            source = scene.ledger()
            sign, word = scene.rng.choice(((">", "above"), ("<", "below"), (">=", "at_least")))
            code = f"{{k: v for k, v in {source.code}.items() if v {sign} {scene.amount(5, 40)}}}"
            return compound(
                "ledger", f"entries{sign}", code, scene.choose(f"{source.name}_{word}", f"{source.name}_entries_{word}"), source
            )
        case 2:
            source = scene.ledger()
            change, names = scene.rng.choice(
                (("v * 2", "doubled_{}"), ("v + 1", "{}_plus_one"), ("v / 2", "halved_{}"), ("round(v)", "rounded_{}"))
            )
            return compound("ledger", change, f"{{k: {change} for k, v in {source.code}.items()}}", names.format(source.name), source)
        case 3:
            left, right = scene.texts(distinct=True), scene.numbers(3)
            name = scene.choose(
                f"{left.name}_to_{right.name}", f"{right.name}_by_{left.singular}", f"{left.name}_with_{right.name}_as_dict"
            )
            return compound("ledger", "zip", f"dict(zip({left.code}, {right.code}))", name, left, right)
        case 4:
            several = scene.term("texts", min(depth, 1))
            name = scene.choose(
                f"{several.singular}_counts", f"counts_of_{several.name}", f"frequency_of_{several.name}", f"tally_of_{several.name}"
            )
            return compound("ledger", "tally", f"{{v: {several.code}.count(v) for v in {several.code}}}", name, several)
        case 5:
            several = scene.texts()
            return compound(
                "ledger",
                "lengthmap",
                f"{{v: len(v) for v in {several.code}}}",
                scene.choose(f"{several.singular}_lengths_by_{several.singular}", f"length_of_each_{several.singular}"),
                several,
            )
        case _:
            rows = scene.rows()
            fields = _fields(rows)
            if not fields.numbers:
                return scene.ledger()
            field = scene.rng.choice(fields.numbers)
            return compound(
                "ledger",
                "index",
                f"{{{fields.of('r', fields.label)}: {fields.of('r', field)} for r in {rows.code}}}",
                scene.choose(f"{field}_by_{fields.label}", f"{fields.label}_to_{field}", f"{field}_of_each_{rows.singular}"),
                rows,
            )


def grouped(scene: Scene, depth: int) -> Term:
    """Sums, counts or texts by a field; several lines of Python, so that nothing is built on it."""
    rows = scene.rows()
    fields = _fields(rows)
    if not fields.texts or not fields.numbers:
        return ledger(scene, depth)
    key, number = fields.texts[0], scene.rng.choice(fields.numbers)
    of_key = fields.of("r", key)
    match scene.rng.randrange(3):
        case 0:
            step, name = f"groups[{of_key}] = groups.get({of_key}, 0) + {fields.of('r', number)}", f"total_{number}_by_{key}"
        case 1:
            step, name = (
                f"groups[{of_key}] = groups.get({of_key}, 0) + 1",
                scene.choose(f"count_{rows.name}_by_{key}", f"{rows.name}_per_{key}", f"number_of_{rows.name}_by_{key}"),
            )
        case _:
            step, name = (
                f"groups.setdefault({of_key}, []).append({fields.of('r', fields.label)})",
                scene.choose(
                    f"{words.plural(fields.label)}_by_{key}",
                    f"{words.plural(fields.label)}_of_{rows.name}_by_{key}",
                    f"group_{words.plural(fields.label)}_by_{key}",
                ),
            )
    return compound("pairs", f"group{step[:11]}{step[-3:]}", f"groups = {{}}\nfor r in {rows.code}:\n    {step}\nreturn groups", name, rows)


def paired(scene: Scene, depth: int) -> Term:
    """Answers of other kinds: pairs, a merged dict, what is missing, both ends, parts by size."""
    match scene.rng.randrange(8):
        case 0:
            left, right = scene.texts(), scene.numbers()
            return compound(
                "pairs",
                "ziplist",
                f"[[x, y] for x, y in zip({left.code}, {right.code})]",
                scene.choose(f"pairs_of_{left.name}_and_{right.name}", f"{left.name}_paired_with_{right.name}"),
                left,
                right,
            )
        case 1:
            left, right = scene.ledger(), scene.ledger()
            return compound(
                "pairs",
                "mergedict",
                f"{{**{left.code}, **{right.code}}}",
                scene.choose(f"{left.name}_merged_with_{right.name}", f"merged_{left.name}_and_{right.name}"),
                left,
                right,
            )
        case 2:
            source = scene.ledger()
            return compound(
                "pairs",
                "invert",
                f"{{v: k for k, v in {source.code}.items()}}",
                scene.choose(f"inverted_{source.name}", f"{source.name}_inverted", f"{source.name}_by_value"),
                source,
            )
        case 3:
            several = scene.numbers()
            return compound(
                "pairs",
                "ends",
                f"[min({several.code}), max({several.code})]",
                scene.choose(f"lowest_and_highest_{several.singular}", f"min_and_max_{several.singular}"),
                several,
            )
        case 4:
            several, size = scene.numbers(4), scene.few()
            code = f"[{several.code}[i:i + {size}] for i in range(0, len({several.code}), {size})]"
            return compound(
                "pairs",
                "chunks",
                code,
                scene.choose(f"{several.name}_in_chunks", f"{several.name}_in_groups_of", f"chunks_of_{several.name}"),
                several,
            )
        case 5:
            several = scene.texts()
            groups = f"groups = {{}}\nfor v in {several.code}:\n    groups.setdefault(v[0], []).append(v)\nreturn groups"
            return compound(
                "pairs",
                "byletter",
                groups,
                scene.choose(f"{several.name}_by_first_letter", f"{several.name}_grouped_by_first_letter"),
                several,
            )
        case 6:
            source = scene.ledger()
            return compound(
                "pairs",
                "lines",
                f"[f'{{k}}: {{v}}' for k, v in {source.code}.items()]",
                scene.choose(f"{source.name}_lines", f"{source.name}_as_lines", f"lines_of_{source.name}"),
                source,
            )
        case _:
            several = scene.texts()
            return compound(
                "pairs",
                "numbered",
                f"[f'{{i + 1}}. {{v}}' for i, v in enumerate({several.code})]",
                scene.choose(f"numbered_{several.name}", f"{several.name}_numbered"),
                several,
            )


ROWS: tuple[Operator, ...] = (filtered, filtered, filtered, ordered)
LEDGERS: tuple[Operator, ...] = (ledger,)
PAIRS: tuple[Operator, ...] = (grouped, grouped, paired, paired, paired)
IN_NUMBERS: tuple[Operator, ...] = (numbers, numbers, numbers)
IN_TEXTS: tuple[Operator, ...] = (labels, labels, labels)
IN_NUMBER: tuple[Operator, ...] = (total, total, total, total, count, count, total_for)
IN_TEXT: tuple[Operator, ...] = (most, most, most)
IN_TRUTH: tuple[Operator, ...] = (every, every)
