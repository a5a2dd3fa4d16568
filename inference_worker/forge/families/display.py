"""Morph trees: an object shows every slot that it has, in order."""

from collections.abc import Callable
from typing import Any

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method
from inference_worker.forge.standin import NAMES, KnownMethod, StandIn

_VERBS = ("show", "render", "draw", "display", "present", "view", "paint", "reveal")
_OBJECTS = (
    "self",
    "card",
    "panel",
    "view",
    "item",
    "summary",
    "object",
    "face",
    "it",
    "all",
    "details",
    "page",
    "slots",
    "everything",
    "state",
    "me",
)
_OTHER = (
    "as_morph",
    "to_morph",
    "morph",
    "face",
    "card",
    "panel",
    "as_card",
    "as_panel",
    "my_view",
    "ui",
    "make_view",
    "build_card",
    "build_panel",
    "morph_tree",
    "self_portrait",
    "user_interface",
    "as_view",
    "look",
    "appearance",
    "show_yourself",
    "draw_yourself",
    "render_yourself",
    "present_yourself",
    "paint_yourself",
    "view_yourself",
    "reveal_yourself",
)


def _selector(d: Draw) -> str:
    if d.rng.random() < 0.5:
        return d.say(f"{d.rng.choice(_VERBS)}_{d.rng.choice(_OBJECTS)}")
    return d.say(d.rng.choice(_OTHER))


def _is_numbers(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(isinstance(element, (int, float)) and not isinstance(element, bool) for element in value)
    )


def _morph(name: str, value: Any) -> tuple[str, Callable[[Any], Any]]:
    """The expression for one slot, and what it should make of the slot's value."""
    if isinstance(value, KnownMethod):
        text = name.replace("_", " ").capitalize()
        return f"button({text!r}, {name!r})", lambda v: {"morph": "button", "text": text, "selector": name}
    if _is_numbers(value):
        return f"graph({name!r}, self.{name})", lambda v: {"morph": "graph", "title": name, "numbers": v}
    if isinstance(value, list):
        return f"items({name!r}, self.{name})", lambda v: {"morph": "items", "title": name, "values": v}
    if isinstance(value, dict):
        return f"items({name!r}, [f'{{k}}: {{v}}' for k, v in self.{name}.items()])", lambda v: {
            "morph": "items",
            "title": name,
            "values": [f"{k}: {v[k]}" for k in v],
        }
    return f"field({name!r}, self.{name})", lambda v: {"morph": "field", "name": name, "value": v}


def _steady(d: Draw) -> dict[str, Any]:
    """One value for each slot; the makers are bound to its kind, so that other values call for the same morphs."""
    sample: dict[str, Any] = {}
    for name, maker in d.slots.items():
        value = sample[name] = maker(d.rng, sample)
        if isinstance(value, list):
            numeric = _is_numbers(value)
            empty = not value
            d.slots[name] = (
                values.constant([])
                if empty
                else values.numbers(1, 6)
                if numeric
                else values.list_of(values.reference if isinstance(value[0], StandIn) else values.short_text, 1, 6)
            )
    return sample


def _title(d: Draw, sample: dict[str, Any]) -> list[str]:
    return [name for name in sample if name in words.NAMES][:1]


def tree(d: Draw, layout: str) -> Method:
    """Every slot of the draw, under a title when one of them is a name."""
    sample = _steady(d)
    title = _title(d, sample)
    parts = [(name, *_morph(name, value)) for name, value in sample.items()]
    lines = [f"label(self.{name})" for name in title] + [text for _, text, _ in parts]
    body = f"return {layout}(\n" + "".join(f"    {line},\n" for line in lines) + ")"

    def expectation(s: values.Slots) -> Any:
        visible = [NAMES["label"](s[name]) for name in title] + [outcome(s[name]) for name, _, outcome in parts]
        return {"morph": layout, "items": visible}

    selector = _selector(d)
    if layout == "row":
        selector = d.say(f"{d.rng.choice(_VERBS)}_row", f"{d.rng.choice(_VERBS)}_as_row", "as_row", "to_row", "row_view", "in_a_row")
    return Method(selector if selector not in sample else "as_morph", body, expectation)


def whole(d: Draw) -> Method:
    """All slots in a column."""
    d.fill(2, 12)
    return tree(d, "column")


def like_a_prototype(d: Draw) -> Method:
    """All slots of an object that was made in the usual order, with one of everything."""
    d.fill(6, 9)
    for _ in range(d.rng.randint(0, 3)):
        kind = d.rng.random()
        d.slot(
            d.noun(words.MONEY + words.LEVELS + words.COUNTS if kind < 0.6 else words.TEXTS, 0.1),
            values.number if kind < 0.6 else values.short_text,
        )
    return tree(d, "column")


def small(d: Draw) -> Method:
    """Few slots, any words."""
    for _ in range(d.rng.randint(1, 5)):
        kind = d.rng.choice(("number", "text", "list", "series", "flag", "dict"))
        if kind in ("list", "series"):
            d.things(
                values.list_of(values.short_text) if kind == "list" else values.numbers(1, 6),
                words.THINGS if kind == "list" else words.SERIES,
            )
            continue
        pools = {
            "number": (words.MONEY + words.LEVELS + words.COUNTS, values.number),
            "text": (words.TEXTS + words.NAMES + words.LONG_TEXTS, values.short_text),
            "flag": (words.ADJECTIVES, values.flag),
            "dict": (words.LEDGERS, values.dict_of(values.word, values.tally, 1, 4)),
        }
        pool, maker = pools[kind]
        d.slot(d.noun(pool, 0.15), maker)
    d.complete = True
    return tree(d, "column")


def in_a_row(d: Draw) -> Method:
    """All slots in a row."""
    d.fill(1, 6)
    return tree(d, "row")


def some(d: Draw) -> Method:
    """The slots that the selector names."""
    names = [d.slot(d.noun(words.TEXTS + words.LEVELS, 0.1), values.short_text) for _ in range(d.rng.choice((1, 2, 2, 3)))]
    selector = d.say(
        "show_" + "_and_".join(names) + "_card",
        "draw_" + "_and_".join(names),
        "card_with_" + "_and_".join(names),
        "render_" + "_and_".join(names),
        "panel_of_" + "_and_".join(names),
    )
    inside = ", ".join(f"field('{name}', self.{name})" for name in names)
    return Method(
        selector,
        f"return column({inside})",
        lambda s: {"morph": "column", "items": [{"morph": "field", "name": name, "value": s[name]} for name in names]},
    )


FAMILIES = (*(whole,) * 4, *(like_a_prototype,) * 7, small, small, in_a_row, some)
