"""Reading and setting single slots. A method that sets one slot answers its new value."""

from typing import Any

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method
from inference_worker.forge.values import Maker

_ANY = words.TEXTS + words.LEVELS + words.MONEY + words.COUNTS + words.LONG_TEXTS + words.STAMPS


def _maker(word: str) -> Maker:
    last = word.rpartition("_")[2]
    if last in words.STAMPS:
        return values.stamp
    if last in words.LEVELS or last in words.MONEY or last in words.COUNTS:
        return values.number
    return values.short_text


def getter(d: Draw) -> Method:
    """The value of a slot under another selector."""
    slot = d.noun(_ANY, 0.2)
    d.slot(slot, _maker(slot))
    selector = d.say(
        f"get_{slot}",
        f"get_{slot}",
        f"current_{slot}",
        f"read_{slot}",
        f"show_{slot}",
        f"my_{slot}",
        f"the_{slot}",
        f"what_is_{slot}",
        f"fetch_{slot}",
        f"{slot}_value",
        f"what_{slot}",
    )
    return Method(selector, f"return self.{slot}", lambda s: s[slot])


def setter(d: Draw) -> Method:
    """A slot set to the argument."""
    slot = d.noun(_ANY, 0.2)
    d.slot(slot, _maker(slot))
    a = d.arg(d.rng.choice(("value", slot.rpartition("_")[2], "to")), _maker(slot))
    selector = d.say(
        f"set_{slot}",
        f"set_{slot}",
        f"set_{slot}",
        f"change_{slot}",
        f"update_{slot}",
        f"set_{slot}_to",
        f"assign_{slot}",
        f"put_{slot}",
        f"change_{slot}_to",
        f"new_{slot}",
        f"replace_{slot}",
        f"choose_{slot}",
    )
    return Method(selector, f"self.{slot} = {a}\nreturn self.{slot}", lambda s, v: _put(s, slot, v))


def first_setting(d: Draw) -> Method:
    """A slot that the object does not have yet."""
    slot = d.noun(_ANY, 0.2)
    d.shunned.add(slot)
    a = d.arg(d.rng.choice(("value", "to")), _maker(slot))
    if not d.crowded > 0.3:
        d.slot(d.noun(_ANY, 0), values.short_text)
    return Method(
        d.say(f"set_{slot}", f"set_{slot}_to", f"assign_{slot}", f"put_{slot}"),
        f"self.{slot} = {a}\nreturn self.{slot}",
        lambda s, v: _put(s, slot, v),
    )


def _put(s: values.Slots, slot: str, value: Any) -> Any:
    s[slot] = value
    return value


def rename(d: Draw) -> Method:
    """What the object is called."""
    slot = d.slot(d.noun(words.NAMES, 0) if d.rng.random() < 0.5 else "name", values.name)
    d.shunned |= set(words.NAMES)
    a = d.arg(d.rng.choice(("name", "new_name", "to")), values.name)
    selector = (
        d.say(
            "rename",
            "rename",
            "rename_to",
            "call_it",
            f"set_{slot}",
            f"change_{slot}",
            f"rename_{slot}",
            f"new_{slot}",
            "give_name",
            f"change_{slot}_to",
        )
        if slot == "name"
        else d.say(
            f"set_{slot}",
            f"change_{slot}",
            f"rename_{slot}",
            f"new_{slot}",
            f"re{slot}",
            f"re{slot}",
            f"{slot}_it",
            f"replace_{slot}",
            "rename",
            f"give_{slot}",
        )
    )
    return Method(selector, f"self.{slot} = {a}\nreturn self.{slot}", lambda s, v: _put(s, slot, v))


def fallback(d: Draw) -> Method:
    """A slot's value, or the argument where it is None."""
    slot = d.noun(words.TEXTS + words.LEVELS, 0.1)
    d.slot(slot, lambda rng, slots: None if rng.random() < 0.5 else values.word(rng, slots))
    a = d.arg("default", values.word)
    return Method(
        d.say(f"{slot}_or", f"{slot}_or_default", f"{slot}_with_default", f"get_{slot}_or"),
        f"return {a} if self.{slot} is None else self.{slot}",
        lambda s, v: s[slot] or v,
    )


def is_set(d: Draw) -> Method:
    """Whether a slot holds something."""
    slot = d.noun(words.TEXTS + words.STAMPS + ("owner", "winner", "leader", "deadline", "partner", "backup", "teacher", "driver"), 0.1)
    d.slot(slot, lambda rng, slots: None if rng.random() < 0.5 else values.word(rng, slots))
    if d.rng.random() < 0.3:
        return Method(
            d.say(f"lacks_{slot}", f"no_{slot}", f"is_{slot}_missing", f"needs_{slot}"),
            f"return self.{slot} is None",
            lambda s: s[slot] is None,
        )
    return Method(
        d.say(f"has_{slot}", f"has_{slot}", f"has_a_{slot}", f"is_{slot}_set", f"is_{slot}_known", f"knows_{slot}"),
        f"return self.{slot} is not None",
        lambda s: s[slot] is not None,
    )


def forget(d: Draw) -> Method:
    """A slot set to None."""
    slot = d.noun(words.TEXTS + words.STAMPS, 0.1)
    d.slot(slot, values.short_text)
    return Method(
        d.say(f"forget_{slot}", f"clear_{slot}", f"unset_{slot}", f"erase_{slot}", f"remove_{slot}"),
        f"self.{slot} = None",
        lambda s: s.update({slot: None}),
    )


def constant(d: Draw) -> Method:
    """A slot set to the word that the selector says."""
    slot = d.slot(d.rng.choice(("status", "state", "mode", "phase", "condition", "mood")), values.word)
    word = d.rng.choice(
        (*words.WORDS, "draft", "final", "ready", "done", "idle", "busy", "calm", "angry", "night", "day", "manual", "automatic")
    )
    selector = d.say(
        f"set_{slot}_{word}", f"make_{slot}_{word}", f"{slot}_becomes_{word}", f"mark_{slot}_{word}", f"switch_{slot}_to_{word}"
    )
    return Method(selector, f"self.{slot} = '{word}'\nreturn self.{slot}", lambda s: _put(s, slot, word))


FAMILIES = (getter, setter, setter, first_setting, rename, rename, fallback, is_set, forget, constant)
