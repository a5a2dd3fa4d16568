"""Booleans: set, unset, toggle, ask, combine."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method

_ON = {
    "open": "open",
    "active": "activate",
    "locked": "lock",
    "visible": "show",
    "enabled": "enable",
    "paid": "pay",
    "sold": "sell",
    "muted": "mute",
    "frozen": "freeze",
    "closed": "close",
    "approved": "approve",
    "archived": "archive",
    "pinned": "pin",
    "loaded": "load",
    "armed": "arm",
    "sealed": "seal",
    "booked": "book",
    "cancelled": "cancel",
    "signed": "sign",
    "hidden": "hide",
    "verified": "verify",
    "broken": "break_it",
    "clean": "clean",
    "busy": "occupy",
}
_OFF = {
    "open": "close",
    "active": "deactivate",
    "locked": "unlock",
    "visible": "hide",
    "enabled": "disable",
    "muted": "unmute",
    "frozen": "thaw",
    "closed": "open",
    "approved": "reject",
    "archived": "restore",
    "pinned": "unpin",
    "loaded": "unload",
    "armed": "disarm",
    "sealed": "unseal",
    "hidden": "reveal",
    "broken": "repair",
    "asleep": "wake",
    "hungry": "feed",
    "lost": "find_it",
    "dirty": "clean",
    "wet": "dry",
    "busy": "release",
}


def _slot(d: Draw) -> tuple[str, str]:
    word = d.noun(words.ADJECTIVES, 0)
    return d.slot(f"is_{word}" if d.rng.random() < 0.25 else word, values.flag), word


def switch(d: Draw) -> Method:
    """True or False, as the selector says."""
    slot, word = _slot(d)
    on = d.rng.random() < 0.55
    if on:
        selectors = [
            f"mark_{word}",
            f"make_{word}",
            f"set_{word}_true",
            f"become_{word}",
            f"mark_as_{word}",
            f"turn_{word}_on",
            f"declare_{word}",
        ] + [_ON[word] for _ in range(3) if word in _ON and _ON[word] != slot]
    else:
        selectors = [
            f"mark_not_{word}",
            f"unmark_{word}",
            f"set_{word}_false",
            f"make_not_{word}",
            f"turn_{word}_off",
            f"no_longer_{word}",
            f"unset_{word}",
        ] + [_OFF[word] for _ in range(3) if word in _OFF and _OFF[word] != slot]
    return Method(d.say(*selectors), f"self.{slot} = {on}\nreturn self.{slot}", lambda s: s.update({slot: on}) or on)


def toggle(d: Draw) -> Method:
    """The other way round."""
    slot, word = _slot(d)
    return Method(
        d.say(f"toggle_{word}", f"toggle_{word}", f"flip_{word}", f"switch_{word}", f"invert_{word}", f"toggle_{slot}"),
        f"self.{slot} = not self.{slot}\nreturn self.{slot}",
        lambda s: s.update({slot: not s[slot]}) or s[slot],
    )


def ask(d: Draw) -> Method:
    """Is it so, or not so."""
    slot, word = _slot(d)
    if d.rng.random() < 0.6:
        selectors = (
            (f"is_{word}", f"is_{word}", f"is_it_{word}", f"check_{word}", f"{word}_now", f"is_currently_{word}")
            if slot != f"is_{word}"
            else (f"is_it_{word}", f"check_{word}", f"{word}_now", f"is_currently_{word}")
        )
        return Method(d.say(*selectors), f"return self.{slot}", lambda s: s[slot])
    return Method(
        d.say(f"is_not_{word}", f"not_{word}", f"is_un{word}", f"isnt_{word}", f"is_it_not_{word}"),
        f"return not self.{slot}",
        lambda s: not s[slot],
    )


def combine(d: Draw) -> Method:
    """Two flags at once."""
    (first, singular), (second, two) = _slot(d), _slot(d)
    kind = d.rng.choice(("and", "or", "neither", "but_not"))
    selectors = {
        "and": (f"is_{singular}_and_{two}", f"both_{singular}_and_{two}", f"{singular}_and_{two}"),
        "or": (f"is_{singular}_or_{two}", f"either_{singular}_or_{two}", f"{singular}_or_{two}"),
        "neither": (f"neither_{singular}_nor_{two}", f"is_neither_{singular}_nor_{two}"),
        "but_not": (f"is_{singular}_but_not_{two}", f"{singular}_but_not_{two}", f"{singular}_and_not_{two}"),
    }[kind]
    body = {
        "and": f"self.{first} and self.{second}",
        "or": f"self.{first} or self.{second}",
        "neither": f"not self.{first} and not self.{second}",
        "but_not": f"self.{first} and not self.{second}",
    }[kind]

    def expectation(s: values.Slots) -> bool:
        x, y = bool(s[first]), bool(s[second])
        return {"and": x & y, "or": x | y, "neither": not (x | y), "but_not": x & (not y)}[kind]

    return Method(d.say(*selectors), f"return {body}", expectation)


def word_for(d: Draw) -> Method:
    """'yes' or 'no', or the word itself."""
    slot, word = _slot(d)
    if d.rng.random() < 0.5:
        return Method(
            d.say(f"{word}_text", f"{word}_label", f"{word}_status", f"{word}_word"),
            f"return '{word}' if self.{slot} else 'not {word}'",
            lambda s: ("" if s[slot] else "not ") + word,
        )
    return Method(
        d.say(f"{word}_yes_or_no", f"yes_no_{word}", f"{word}_as_yes_no", f"say_yes_if_{word}"),
        f"return 'yes' if self.{slot} else 'no'",
        lambda s: ("no", "yes")[s[slot]],
    )


def set_to(d: Draw) -> Method:
    """A flag set to the argument."""
    slot, word = _slot(d)
    a = d.arg("value", values.flag)
    return Method(
        d.say(f"set_{slot}", f"set_{word}", f"change_{word}", f"set_{word}_to"),
        f"self.{slot} = {a}\nreturn self.{slot}",
        lambda s, v: s.update({slot: v}) or v,
    )


FAMILIES = (switch, toggle, ask, combine, word_for, set_to)
