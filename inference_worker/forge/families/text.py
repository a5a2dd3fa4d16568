"""Texts made from slots and arguments."""

from inference_worker.forge import values, words
from inference_worker.forge.draw import Draw, Method
from inference_worker.forge.families.text_measured import asked, cased, domain, measured, substituted

_NAMED = words.NAMES + words.TEXTS


def _text(d: Draw, maker: values.Maker = values.short_text, pool: tuple[str, ...] = _NAMED + words.LONG_TEXTS) -> str:
    return d.slot(d.noun(pool, 0.15), maker)


def _named(d: Draw) -> str:
    """A slot with a name in it, the only one."""
    d.shunned |= set(words.NAMES)
    return d.slot("name" if d.rng.random() < 0.65 else d.rng.choice(words.NAMES), values.name)


def full_name(d: Draw) -> Method:
    """First and last name, in one order or the other."""
    first, last = d.rng.choice(
        (("first_name", "last_name"), ("given_name", "family_name"), ("first", "last"), ("forename", "surname"), ("firstname", "lastname"))
    )
    d.shunned |= set(words.NAMES)
    d.slot(first, values.person)
    d.slot(last, lambda rng, slots: rng.choice(words.FAMILY_NAMES))
    kind = d.rng.random()
    if kind < 0.6:
        return Method(
            d.say("full_name", "full_name", "whole_name", "complete_name", "display_name", "get_full_name", "fullname"),
            f"return f'{{self.{first}}} {{self.{last}}}'",
            lambda s: s[first] + " " + s[last],
        )
    if kind < 0.8:
        return Method(
            d.say("formal_name", "last_name_first", "sorted_name", "name_for_index", "sort_name"),
            f"return f'{{self.{last}}}, {{self.{first}}}'",
            lambda s: s[last] + ", " + s[first],
        )
    return Method(
        d.say("initials", "get_initials", "name_initials"), f"return self.{first}[0] + self.{last}[0]", lambda s: s[first][:1] + s[last][:1]
    )


def greet(d: Draw) -> Method:
    """Hello to the argument, or to the object's own name."""
    name = _named(d)
    word, verbs = d.rng.choice(
        (
            ("Hello", ("greet", "greet", "say_hello", "hello", "greeting", "welcome_text")),
            ("Hello", ("greet", "say_hello", "hello")),
            ("Goodbye", ("say_goodbye", "goodbye", "farewell")),
            ("Welcome", ("welcome", "say_welcome")),
            ("Good morning", ("good_morning", "say_good_morning", "wish_good_morning")),
            ("Thank you", ("thank", "say_thanks")),
        )
    )
    if d.rng.random() < 0.6:
        a = d.arg("who", values.person)
        return Method(
            d.say(*verbs, *[f"{verb}_person" for verb in verbs[:1]]), f"return f'{word}, {{{a}}}!'", lambda s, who: word + ", " + who + "!"
        )
    return Method(d.say(*verbs), f"return f'{word}, {{self.{name}}}!'", lambda s: word + ", " + s[name] + "!")


def introduce(d: Draw) -> Method:
    """I am …"""
    name = _named(d)
    kind = d.rng.random()
    if kind < 0.5:
        return Method(
            d.say("introduce_yourself", "introduce", "who_are_you", "introduction", "say_name", "present", "tell_name"),
            f"return f'I am {{self.{name}}}.'",
            lambda s: "I am " + s[name] + ".",
        )
    if kind < 0.75:
        return Method(
            d.say(f"my_{name}_is", f"say_my_{name}", f"tell_your_{name}"),
            f"return f'My {name} is {{self.{name}}}.'",
            lambda s: "My " + name + " is " + s[name] + ".",
        )
    word = d.noun(words.TEXTS, 0)
    d.slot(word, values.word)
    return Method(
        d.say(f"{name}_with_{word}", f"{name}_and_{word}_in_brackets"),
        f"return f'{{self.{name}}} ({{self.{word}}})'",
        lambda s: s[name] + " (" + s[word] + ")",
    )


def describe(d: Draw) -> Method:
    """Every plain slot with its name, in order, in one line."""
    names = d.fill(0, 7)
    for pool, maker in ((words.TEXTS, values.short_text), (words.LEVELS, values.number)):
        if d.rng.random() < 0.8 or not names:
            names.append(d.slot(d.noun(pool, 0.15), maker))
    sample = {name: maker(d.rng, {}) for name, maker in d.slots.items()}
    visible = [name for name in names if isinstance(sample[name], (str, int, float))]
    selector = d.say(
        "describe",
        "describe",
        "describe",
        "description_line",
        "describe_yourself",
        "summary_line",
        "as_text",
        "to_text",
        "to_string",
        "describe_it",
        "short_description",
        "one_line",
        "as_line",
        "state_line",
        "overview",
    )
    if selector in names or not visible:
        selector = "describe"
    inside = ", ".join(f"{name}: {{self.{name}}}" for name in visible)
    return Method(selector, f"return f'{inside}'", lambda s: ", ".join(name + ": " + str(s[name]) for name in visible))


def describe_some(d: Draw) -> Method:
    """The slots that the selector names."""
    names = [d.slot(d.noun(words.TEXTS + words.LEVELS, 0.1), values.short_text) for _ in range(d.rng.choice((1, 2, 2, 3)))]
    joined = "_and_".join(names)
    selector = d.say(
        f"describe_{joined}", f"describe_{joined}", f"{joined}_line", f"{joined}_text", f"label_{joined}", f"tell_{joined}_line"
    )
    inside = ", ".join(f"{name}: {{self.{name}}}" for name in names)
    return Method(selector, f"return f'{inside}'", lambda s: ", ".join(f"{name}: {s[name]}" for name in names))


def joined(d: Draw) -> Method:
    """Two or three slots next to each other, with what the selector says between them."""
    names = [d.slot(d.noun(words.TEXTS, 0.1), values.word) for _ in range(d.rng.choice((2, 2, 3)))]
    separator, word = d.rng.choice(((" ", "space"), (" ", "space"), ("-", "dash"), (", ", "comma"), ("/", "slash"), ("_", "underscore")))
    shapes = ("_".join(names) + "_text", "_with_".join(names) + "_text", "_then_".join(names)) if separator == " " else ()
    selector = d.say(*shapes, f"{'_'.join(names)}_with_{word}", f"{word}ed_{'_'.join(names)}", f"{'_and_'.join(names)}_with_{word}_between")
    return Method(
        selector, f"return f'{separator.join(f'{{self.{name}}}' for name in names)}'", lambda s: separator.join(s[name] for name in names)
    )


def address(d: Draw) -> Method:
    """Street, city and what follows, as on a letter."""
    names = ["street", *d.rng.sample(("zip_code", "city", "country", "region"), d.rng.choice((1, 2, 2, 3)))]
    for name in names:
        d.slot(name, values.short_text)
    return Method(
        d.say("full_address", "address_line", "mailing_address", "address_text", "postal_address", "whole_address"),
        f"return f'{', '.join(f'{{self.{name}}}' for name in names)}'",
        lambda s: ", ".join(s[name] for name in names),
    )


def extended(d: Draw) -> Method:
    """A text with the argument added to it."""
    slot = _text(d, values.phrase, words.LONG_TEXTS)
    a = d.arg("text", values.phrase)
    kind = d.rng.choice(("append", "append", "space", "prepend"))
    if kind == "append":
        return Method(
            d.say(f"append_to_{slot}", f"extend_{slot}", f"add_to_{slot}", f"append_text_to_{slot}", f"continue_{slot}"),
            f"self.{slot} += {a}\nreturn self.{slot}",
            lambda s, v: s.update({slot: s[slot] + v}) or s[slot],
        )
    if kind == "space":
        return Method(
            d.say(f"add_word_to_{slot}", f"append_word_to_{slot}", f"add_words_to_{slot}"),
            f"self.{slot} += ' ' + {a}\nreturn self.{slot}",
            lambda s, v: s.update({slot: f"{s[slot]} {v}"}) or s[slot],
        )
    return Method(
        d.say(f"prepend_to_{slot}", f"put_before_{slot}", f"start_{slot}_with", f"prefix_{slot}_with"),
        f"self.{slot} = {a} + self.{slot}\nreturn self.{slot}",
        lambda s, v: s.update({slot: "".join((v, s[slot]))}) or s[slot],
    )


def changed(d: Draw) -> Method:
    """A text changed in place."""
    slot = _text(d, values.phrase)
    verb, text, outcome = d.rng.choice(
        (("uppercase", ".upper()", str.upper), ("lowercase", ".lower()", str.lower), ("trim", ".strip()", str.strip))
    )
    return Method(
        d.say(f"make_{slot}_{verb}", f"turn_{slot}_to_{verb}", f"change_{slot}_to_{verb}"),
        f"self.{slot} = self.{slot}{text}\nreturn self.{slot}",
        lambda s: s.update({slot: outcome(s[slot])}) or s[slot],
    )


def with_unit(d: Draw) -> Method:
    """A number with its unit, or with a word that the selector says."""
    slot = d.slot(d.noun(words.LEVELS + words.MONEY, 0.1), values.number)
    if d.rng.random() < 0.5:
        unit = d.slot(d.rng.choice(("unit", "currency", "symbol", "suffix", "measure_unit")), values.word)
        return Method(
            d.say(f"{slot}_with_{unit}", f"{slot}_text", f"{slot}_label"),
            f"return f'{{self.{slot}}} {{self.{unit}}}'",
            lambda s: str(s[slot]) + " " + s[unit],
        )
    word = d.rng.choice(("euros", "dollars", "grams", "meters", "points", "liters", "minutes", "credits", "degrees", "coins"))
    return Method(
        d.say(f"{slot}_in_words_with_{word}", f"{slot}_text_in_{word}", f"{slot}_as_{word}_text"),
        f"return f'{{self.{slot}}} {word}'",
        lambda s: f"{s[slot]} {word}",
    )


def shaped_by_example(d: Draw) -> Method:
    """A format that only the example shows."""
    slot = _text(d, values.word)
    d.exampled = 1.0
    left, right = d.rng.choice(
        (
            ("<", ">"),
            ("[", "]"),
            ("(", ")"),
            ('"', '"'),
            ("*", "*"),
            ("#", ""),
            ("@", ""),
            ("", "!"),
            ("", "?"),
            ("~ ", ""),
            ("-- ", " --"),
            ("$", ""),
            (">> ", ""),
            ("", "..."),
        )
    )
    selector = d.say(
        f"{slot}_label",
        f"{slot}_badge",
        f"{slot}_tag",
        f"{slot}_mark",
        f"decorated_{slot}",
        f"{slot}_heading",
        f"format_{slot}",
        f"pretty_{slot}",
        f"styled_{slot}",
    )
    return Method(selector, f"return f'{left}{{self.{slot}}}{right}'", lambda s: left + s[slot] + right)


FAMILIES = (
    full_name,
    greet,
    greet,
    introduce,
    describe,
    describe,
    describe,
    describe_some,
    joined,
    address,
    cased,
    cased,
    measured,
    measured,
    asked,
    asked,
    extended,
    changed,
    substituted,
    with_unit,
    shaped_by_example,
    domain,
)
